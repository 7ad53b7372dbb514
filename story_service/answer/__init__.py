"""Text from a model's answer: title, whole sentences, nothing else."""
