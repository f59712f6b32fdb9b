"""OpenAI's chat completions, and those who speak them with differences."""
