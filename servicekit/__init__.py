"""What every server of the cluster needs and that knows nothing of stories."""

import os

# Read by grpc's core when it is first imported, and nothing here forks: without this every process that a service
# starts makes grpc print lines of its own on standard error, between the JSON ones.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
