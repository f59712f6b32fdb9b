"""OpenAI's Responses, and those who speak them with differences."""
