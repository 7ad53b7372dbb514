"""The rules of stored stories: states, checkpoints, following, retention."""
