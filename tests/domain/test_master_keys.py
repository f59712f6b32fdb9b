"""Master keys: which texts are one."""

import base64

import pytest

from ringside_proxy.domain.master_keys import decode_key


def test_master_key_is_32_bytes_in_base64():
    """As `openssl rand -base64 32` writes them."""
    assert decode_key(base64.b64encode(b"k" * 32).decode()) == b"k" * 32


@pytest.mark.parametrize(
    "text", ["", "abc", "hunter2 hunter2", "ü" * 44, base64.b64encode(b"k" * 31).decode()]
)
def test_anything_else_is_no_master_key(text):
    """Too short, no base64, no ASCII."""
    assert decode_key(text) is None
