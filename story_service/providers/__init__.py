"""Adapters to what writes: OpenRouter and the embedded writer."""
