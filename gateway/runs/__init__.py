"""The work of making one story, under a lease: writing, narrating, checkpoints."""
