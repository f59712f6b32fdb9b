"""A request that came with an Idempotency-Key: one table says how it moves.

    new ─► running ─► acting ─► done
     ▲        │▲ └───────┼───────▲
     │        │└─────────┘ recalled
     └────────┘ refused, or lost before it did anything

It is `acting` from the moment it has changed something that a second one would change again: it has
made an object, or its call goes to a provider. From then on it is never forgotten before its time,
whatever comes of it; unless the call is recalled, because no provider could be reached with it.
Everything else here is derived from the table.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError

KEPT_MS: Final = 24 * 3600 * 1000
"""How long an answer is given again."""
KEY_CHARACTERS_MAX: Final = 255
BODY_BYTES_MAX: Final = 1024 * 1024
"""A larger answer is not kept: it is made again from what the request made."""

BARE: Final = re.compile(r"[\x21\x23-\x7e][\x20-\x7e]*")
QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
ESCAPED: Final = re.compile(r"\\(.)")


class KeyState(StrEnum):
    """Where the request is; `new`: nothing is known of it."""

    NEW = "new"
    RUNNING = "running"
    ACTING = "acting"
    DONE = "done"


class KeyEvent(StrEnum):
    """What can happen to it.

    `recall` takes back that its call goes out; `answer` is a success and `refuse` an error that it
    came to; `lose` says that nobody will answer it any more; `forget` comes after 24 hours.
    """

    BEGIN = "begin"
    ACT = "act"
    RECALL = "recall"
    ANSWER = "answer"
    REFUSE = "refuse"
    LOSE = "lose"
    FORGET = "forget"


S, E = KeyState, KeyEvent

KEY_TRANSITIONS: Final[dict[KeyState, dict[KeyEvent, KeyState]]] = {
    S.NEW: {E.BEGIN: S.RUNNING},
    S.RUNNING: {E.ACT: S.ACTING, E.ANSWER: S.DONE, E.REFUSE: S.NEW, E.LOSE: S.NEW},
    S.ACTING: {
        E.ACT: S.ACTING,
        E.RECALL: S.RUNNING,
        E.ANSWER: S.DONE,
        E.REFUSE: S.DONE,
        E.LOSE: S.DONE,
    },
    S.DONE: {E.FORGET: S.NEW},
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered. `body` is None if it is not kept."""

    status: int
    content_type: str
    headers: dict[str, str] = {}
    body: bytes | None = None

    @property
    def event(self) -> KeyEvent:
        """What it means for the request."""
        return E.REFUSE if self.status >= 400 else E.ANSWER


class Earlier(msgspec.Struct, frozen=True):
    """What became of an earlier request with the same key.

    `answer` is None if it was lost, with its process or because too many went on unheard.
    `resource` is the object that it made or changed, if there is one.
    """

    answer: Answer | None
    resource: str | None


def key_of(headers: list[str]) -> str:
    """The key that the header gives, quoted or bare. Raises InvalidRequestError."""
    given = headers[0] if len(headers) == 1 else ""
    if quoted := QUOTED.fullmatch(given):
        given = ESCAPED.sub(r"\1", quoted[1])
    elif BARE.fullmatch(given) is None:
        given = ""
    if not 1 <= len(given) <= KEY_CHARACTERS_MAX:
        raise InvalidRequestError(
            "Invalid 'Idempotency-Key': send one, of 1 to 255 printable ASCII characters, bare or "
            "in double quotes.",
            param="Idempotency-Key",
            code="invalid_idempotency_key",
        )
    return given


def scope_of(token_id: str, method: str, path: str, key: str) -> bytes:
    """What a key stands for: it is one token's, on one route."""
    return _hashed("\0".join((token_id, method, path, key)).encode(errors="surrogateescape"))


def fingerprint_of(body: bytes, query: str) -> bytes:
    """What makes two requests the same."""
    return _hashed(body, b"\0", query.encode(errors="surrogateescape"))


def _hashed(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
