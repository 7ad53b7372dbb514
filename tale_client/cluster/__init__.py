"""Runs the four services on one machine: what `tale up` and `tale demo` stand on."""
