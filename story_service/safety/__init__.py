"""Checks of what is asked for and of what is written, and the critic of scenes."""
