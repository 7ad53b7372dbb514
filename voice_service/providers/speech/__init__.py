"""The `speech` provider: any server with OpenAI's `/audio/speech`."""
