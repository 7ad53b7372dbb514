"""Chat models of OpenRouter, or of any server with the same dialect of OpenAI's API."""
