"""The audio of stories: the segment store, and the finished files composed from it."""
