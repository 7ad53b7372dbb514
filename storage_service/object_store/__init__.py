"""Audio in an object store: any that speaks S3."""
