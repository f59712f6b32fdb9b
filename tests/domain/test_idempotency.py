"""Idempotency keys: which are valid, what they stand for, and how a request with one moves."""

from itertools import combinations

import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.idempotency import (
    KEY_TRANSITIONS,
    KeyEvent,
    KeyState,
    fingerprint_of,
    key_of,
    scope_of,
)

LONGEST = "k" * 255


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k", "k"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"8e03978e"', "8e03978e"),
        ("a b~!", "a b~!"),
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r"a\"b\\c".replace('\\"', '"').replace("\\\\", "\\")),
        (r"a\b", r"a\b"),
        ('a"b', 'a"b'),
        (LONGEST, LONGEST),
        (f'"{LONGEST}"', LONGEST),
    ],
)
def test_a_key_is_quoted_or_bare(header: str, key: str) -> None:
    """1 to 255 printable ASCII characters; quotes around them are not part of the key."""
    assert key_of([header]) == key


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", '""', '"', '"a', 'a\t"', '"a"b"', r'"a\"', r'"a\b"', '"a"; p=1'),
        *("ä", "a\x00b", "a\tb", "a\x7f", "🥊", LONGEST + "k", f'"{LONGEST}k"'),
    ],
)
def test_anything_else_is_refused(header: str) -> None:
    """The error names the header and says what a key is."""
    with pytest.raises(InvalidRequestError) as refusal:
        key_of([header])

    assert refusal.value.code == "invalid_idempotency_key"
    assert refusal.value.param == "Idempotency-Key"


def test_two_keys_are_none() -> None:
    """Which of them was meant cannot be known."""
    with pytest.raises(InvalidRequestError):
        key_of(["a", "b"])


def test_a_key_is_one_token_s_on_one_route() -> None:
    """Whatever part differs, the scope does; no part can pretend to be another."""
    scopes = [
        scope_of("tok_1", "POST", "/v1/threads", "k"),
        scope_of("tok_2", "POST", "/v1/threads", "k"),
        scope_of("tok_1", "PUT", "/v1/threads", "k"),
        scope_of("tok_1", "POST", "/v1/threads/", "k"),
        scope_of("tok_1", "POST", "/v1/thread", "sk"),
        scope_of("tok_1", "POST", "/v1/threads", "K"),
    ]

    assert all(a != b for a, b in combinations(scopes, 2))
    assert {len(scope) for scope in scopes} == {32}
    assert scope_of("tok_1", "POST", "/v1/threads", "k") == scopes[0]


def test_two_requests_are_the_same_if_their_bytes_are() -> None:
    """Equal JSON in other bytes is another request, and so is another query."""
    prints = [
        fingerprint_of(b'{"a":1}', ""),
        fingerprint_of(b'{"a": 1}', ""),
        fingerprint_of(b'{"a":1}', "x=1"),
        fingerprint_of(b'{"a":1}x=1', ""),
        fingerprint_of(b"", ""),
    ]

    assert all(a != b for a, b in combinations(prints, 2))
    assert fingerprint_of(b'{"a":1}', "") == prints[0]


def test_what_has_acted_is_not_forgotten_before_its_time() -> None:
    """From `acting` no event leads back but `recall`, and from `done` only `forget`."""
    ends = [state for event, state in KEY_TRANSITIONS[KeyState.ACTING].items() if event != "recall"]
    assert set(ends) == {KeyState.ACTING, KeyState.DONE}
    assert KEY_TRANSITIONS[KeyState.DONE] == {KeyEvent.FORGET: KeyState.NEW}


def test_every_state_has_a_row() -> None:
    """The table is whole."""
    assert set(KEY_TRANSITIONS) == set(KeyState)
    assert {event for row in KEY_TRANSITIONS.values() for event in row} == set(KeyEvent)
