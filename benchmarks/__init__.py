"""Measures the cluster against stand-in upstreams: `make bench`."""
