"""The outbound wire to models."""
