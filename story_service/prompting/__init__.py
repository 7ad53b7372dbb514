"""The prompt for a model, and the expected length of its answer."""
