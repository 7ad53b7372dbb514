"""The public RPCs of the gateway: requests in, stored answers or forwarded answers out."""
