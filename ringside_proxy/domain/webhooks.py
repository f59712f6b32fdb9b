"""Receivers of events: what their secrets look like."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final

WEBHOOKS_MAX: Final = 100
"""As many as the API may make, and as many as the configuration may name."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets begin
SECRET_BYTES: Final = 32
GIVEN_SECRET_BYTES: Final = range(24, 65)
"""What Standard Webhooks allows. Source: its specification, "Symmetric", read 2026-11-21."""
HINT_CHARS: Final = 4
HINTED_CHARS_MIN: Final = 16
"""Of a shorter secret no part is shown."""


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A secret that signs events."""
    return SECRET_PREFIX + base64.b64encode(random_bytes(SECRET_BYTES)).decode()


def is_well_formed(secret: str) -> bool:
    """Whether every library takes it: `whsec_` and 24 to 64 bytes in base64."""
    key = _decoded(secret)
    return key is not None and len(key) in GIVEN_SECRET_BYTES


def standard_key(secret: str) -> bytes:
    """The key of Standard Webhooks: what stands after `whsec_`, decoded; of any other text its bytes."""
    key = _decoded(secret)
    return secret.encode() if key is None else key


def secret_hint(secret: str) -> str:
    """As much of a secret as may be shown, to tell it from another."""
    return f"{SECRET_PREFIX}…{secret[-HINT_CHARS:] if len(secret) >= HINTED_CHARS_MIN else ''}"


def configured_id(url: str) -> str:
    """The id of a receiver of the configuration: the same as long as its URL is."""
    return f"wh_{hashlib.sha256(url.encode()).hexdigest()[:24]}"


def _decoded(secret: str) -> bytes | None:
    if not secret.startswith(SECRET_PREFIX):
        return None
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return None
