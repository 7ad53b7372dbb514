"""Clients of the story, voice and storage services."""
