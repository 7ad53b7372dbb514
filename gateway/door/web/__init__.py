"""The gateway's HTTP port: its page, and its RPCs over the Connect protocol and gRPC-Web."""
