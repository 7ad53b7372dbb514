"""The models that can be chosen: their facts, prices and state."""
