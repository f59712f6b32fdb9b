"""What differs between two configurations, said without their secrets."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ringside_proxy.settings.problems import join, shown
from ringside_proxy.settings.schema import Settings
from ringside_proxy.settings.values import Secret, TokenHash

ABSENT: Final = "(none)"
HIDDEN: Final = "(secret)"
HIDDEN_KEYS: Final = ("token_sha256",)
STORE_SCHEME: Final = "sqlite://"
"""A file's path, which opens nothing."""
DERIVED: Final = ("not_in_effect", "master_keys")
"""What is no key of the file."""


class Change(msgspec.Struct, frozen=True):
    """One key whose value is another one; `text` is such as `600 → 900`."""

    path: str
    text: str

    @property
    def section(self) -> str:
        """The section that the key stands in."""
        return self.path.partition(".")[0]


def changes(old: Settings, new: Settings) -> list[Change]:
    """Every key that differs, in the order of the file."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    paths = dict.fromkeys([*before, *after])
    return [
        Change(path, _text(path, before.get(path), after.get(path)))
        for path in paths
        if before.get(path) != after.get(path)
    ]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The values at the ends of the tree; empty branches have none."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            if path or field.name not in DERIVED:
                yield from _leaves(getattr(value, field.name), join(path, field.encode_name))
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, join(path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, join(path, getattr(item, "name", None) or str(number)))
    else:
        yield path, value


def _text(path: str, before: Any, after: Any) -> str:
    return f"{_shown(path, before)} → {_shown(path, after)}"


def _shown(path: str, value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Secret | TokenHash) or path.endswith(HIDDEN_KEYS):
        return HIDDEN
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    text = str(value)
    if "://" in text and not text.startswith(STORE_SCHEME):
        # Whatever stands beside the host and the port may be a credential.
        parts = urlsplit(text)
        place = parts.netloc.rpartition("@")[2]
        text = f"{parts.scheme}://{place}/…"
    return shown(text)
