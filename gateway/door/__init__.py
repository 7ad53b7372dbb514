"""The public RPCs of the gateway: requests in, responses of storage and of the forwarded services out."""
