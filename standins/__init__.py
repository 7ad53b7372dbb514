"""Shared by tests and benchmarks: the paid upstreams as a process, a cluster of processes, and callers."""
