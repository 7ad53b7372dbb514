"""What OpenRouter adds to OpenAI's API."""
