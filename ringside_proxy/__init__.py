"""Ringside Proxy: the OpenAI Assistants API on your own machine, on any model."""

__version__ = "0.1.0"
