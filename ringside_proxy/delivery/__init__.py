"""What leaves on its own: events to webhooks, usage to an upstream, from the store's outbox."""
