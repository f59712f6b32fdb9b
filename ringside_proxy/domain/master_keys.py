"""Master keys: 32 bytes in base64, as `openssl rand -base64 32` makes them."""

import base64
import binascii
from typing import Final

KEY_BYTES: Final = 32


def decode_key(text: str) -> bytes | None:
    """The key that a text stands for; None if it is none."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None
