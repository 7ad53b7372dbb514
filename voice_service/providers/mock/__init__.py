"""A voice that makes no sound, always the same, and fails on request: for tests and demonstrations."""
