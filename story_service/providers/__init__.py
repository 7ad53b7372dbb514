"""Adapters to servers of chat models and to the embedded writer."""
