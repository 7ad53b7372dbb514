"""Starts the four services on one machine: `tale up` and `tale demo`."""
