"""Secrets of receivers: how they are made, judged and hinted at."""

import base64
import os

import pytest

from ringside_proxy.domain.webhooks import (
    configured_id,
    is_well_formed,
    new_secret,
    secret_hint,
    standard_key,
)


def secret_of(count):
    return "whsec_" + base64.b64encode(b"k" * count).decode()


def test_new_secret_is_32_random_bytes():
    """Every secret is another, and every library takes it."""
    made = {new_secret(os.urandom) for _ in range(10)}

    assert len(made) == 10
    assert all(is_well_formed(secret) and len(standard_key(secret)) == 32 for secret in made)


@pytest.mark.parametrize(
    ("secret", "is_good"),
    [
        (secret_of(24), True),
        (secret_of(64), True),
        (secret_of(23), False),
        (secret_of(65), False),
        (secret_of(32).removeprefix("whsec_"), False),
        ("whsec_" + "!" * 44, False),
        ("whsec_abcde", False),
        ("", False),
    ],
)
def test_given_secret_has_to_be_one_that_every_library_takes(secret, is_good):
    """`whsec_` and 24 to 64 bytes in base64."""
    assert is_well_formed(secret) is is_good


def test_hint_tells_secrets_apart_and_gives_none_away():
    """The last four characters; of a short secret nothing."""
    assert secret_hint("whsec_0123456789abcdef") == "whsec_…cdef"
    assert secret_hint("hunter2") == "whsec_…"


def test_receiver_of_the_configuration_has_one_id():
    """It depends on the URL alone, and looks like any other."""
    name = configured_id("https://example.com/a")

    assert name == configured_id("https://example.com/a") != configured_id("https://example.com/b")
    assert name.startswith("wh_")
    assert len(name) == len("wh_") + 24
