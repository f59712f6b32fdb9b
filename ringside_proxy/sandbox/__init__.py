"""An honest small model simulator on OpenAI's wire."""
