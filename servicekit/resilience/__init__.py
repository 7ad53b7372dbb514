"""What keeps a service well while its upstreams are not: errors, circuit breakers, retries, limits."""
