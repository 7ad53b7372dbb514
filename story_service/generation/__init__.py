"""Writes one story: writing attempts, model fallback, budget."""
