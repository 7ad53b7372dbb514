"""StoryService on the wire: requests validated, results as messages."""
