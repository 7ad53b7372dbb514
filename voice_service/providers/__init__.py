"""The registry of voice providers, and one adapter for each kind of provider."""
