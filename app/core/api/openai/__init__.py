"""OpenAI's dialect: chat completions, completions, embeddings, models."""
