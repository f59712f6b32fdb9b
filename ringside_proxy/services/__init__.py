"""Use cases: the only floor that combines store and providers."""
