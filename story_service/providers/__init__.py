"""Adapters to OpenRouter and to the embedded writer."""
