"""Carries all that is kept from one set-up to another, by way of a file."""
