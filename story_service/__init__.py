"""Turns a request into the text of a story."""
