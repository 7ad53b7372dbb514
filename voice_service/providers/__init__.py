"""The registry of speech providers, and one adapter for each kind of provider."""
