"""Calls to providers that fail: errors, circuit breakers, retries, limits, metrics. Imports no transport."""
