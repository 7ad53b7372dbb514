"""One segment of speech: found in the segment store, or made by a provider, verified and stored."""
