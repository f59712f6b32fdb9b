"""What the commands do that look into a store, or ask the proxy that runs on it."""
