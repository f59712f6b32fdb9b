"""What all tests share."""

import os

from hypothesis import settings

# In CI the examples are the same at every run: a change must not fail for what another one did.
# Everywhere else the search goes on at random, and what it finds becomes a case of its own.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
