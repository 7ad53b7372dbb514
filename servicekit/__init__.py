"""What every server needs and that knows nothing of stories."""
