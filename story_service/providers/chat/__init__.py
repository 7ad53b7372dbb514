"""Chat models of any server with OpenAI's `/chat/completions`."""
