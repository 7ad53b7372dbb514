"""Keeps verified segments, so that what was paid for once is never paid for again."""
