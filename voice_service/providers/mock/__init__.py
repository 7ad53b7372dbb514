"""A voice that makes no sound, always the same, and fails when it is told to: for tests and demonstrations."""
