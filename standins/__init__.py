"""What tests and benchmarks share: the paid upstreams as a process, a cluster of processes, and callers to drive it."""
