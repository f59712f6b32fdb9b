"""Object ids: prefix, underscore, 24 hex digits."""

from collections.abc import Callable
from typing import Final, Literal

Prefix = Literal[
    "asst",
    "thread",
    "conv",
    "msg",
    "run",
    "step",
    "call",
    "resp",
    "fc",
    "fco",
    "evt",
    "tok",
    "req",
    "chatcmpl",
    "hold",
    "use",
    "top",
    "chg",
    "boot",
    "wh",
    "del",
    "lease",
    "batch",
    "inst",
]
ID_BYTES: Final = 12

NewId = Callable[[Prefix], str]
"""Makes an id that never repeats; injected, so that tests can foresee it."""


def id_maker(unique_bytes: Callable[[int], bytes]) -> NewId:
    """An id maker over a source of bytes that never repeat, such as `os.urandom`."""

    def new_id(prefix: Prefix) -> str:
        return f"{prefix}_{unique_bytes(ID_BYTES).hex()}"

    return new_id


def twin(object_id: str, prefix: Prefix) -> str:
    """The id that shares another id's digits: `thread_<h>` for `conv_<h>`."""
    return f"{prefix}_{object_id.partition('_')[2]}"
