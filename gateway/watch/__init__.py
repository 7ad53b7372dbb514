"""Follows stories for watchers and listeners, whichever gateway runs them."""
