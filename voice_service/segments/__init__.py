"""The segment store: verified segments under their keys, so that nothing is paid for twice."""
