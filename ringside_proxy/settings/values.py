"""How single values are written in the file, and what they are held as.

A `Leaf` knows both directions: text in, value out, and back for the reference and the editors'
schema. Numbers with a unit are held in the unit that their attribute's name ends in.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.domain.model_ref import PROVIDER_SCHEME, parse
from ringside_proxy.domain.money import NANO_PER_USD
from ringside_proxy.settings.problems import nearest

TEXT_CHARS_MAX: Final = 8192
UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
NUMERAL: Final = r"[0-9]{1,12}(?:\.[0-9]{1,9})?(?:[eE][-+]?[0-9]{1,2})?"
FROM_ELSEWHERE: Final = r"\$\{|^file:/"
"""Marks a value that is only known when the file is loaded."""

UNITS: Final[dict[str, dict[str, Decimal]]] = {
    "number": {"": Decimal(1)},
    "duration": {
        "s": Decimal(1),
        "ms": Decimal("0.001"),
        "m": Decimal(60),
        "h": Decimal(3600),
    },
    "size": {"B": Decimal(1), "KiB": Decimal(1 << 10), "MiB": Decimal(1 << 20)},
    "usd": {"": Decimal(NANO_PER_USD)},
    "percent": {"": Decimal(10**4)},
    "factor": {"": Decimal(10**6)},
}
"""Suffix → how many of the held unit it is: seconds, bytes, nano-USD, parts per million."""

EXPECTED: Final = {
    "integer": "a whole number",
    "number": "a number",
    "duration": "a duration",
    "size": "a size",
    "usd": "an amount in USD",
    "percent": "a percentage",
    "factor": "a factor",
}


class UnknownWordError(ValueError):
    """A value that names something unknown: what kind of thing, the word, what would be right."""

    def __init__(self, noun: str, word: str, known: Collection[str]) -> None:
        super().__init__(word)
        self.noun = noun
        self.word = word
        self.remedy = nearest(word, known)


class Secret(str):
    """A secret that is text to whoever uses it, and never shows in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class TokenHash(str):
    """The SHA-256 of a token, as hex: what is kept of a token that the file gives."""

    __slots__ = ()

    @classmethod
    def of(cls, token: str) -> "TokenHash":
        """The hash of `token`."""
        return cls(hashlib.sha256(token.encode()).hexdigest())


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of value. `read` raises ValueError; `expects` says what would be right."""

    expects: str
    read: Callable[[str], Any]
    write: Callable[[Any], Any] = str
    schema: dict[str, Any]
    is_secret: bool = False

    @property
    def editor_schema(self) -> dict[str, Any]:
        """The JSON schema of the value as it is written, variables and secret files included."""
        if self.schema == {"type": "string"}:
            return self.schema
        return {"anyOf": [self.schema, {"type": "string", "pattern": FROM_ELSEWHERE}]}


def truth() -> Leaf:
    """True or false, in the words of YAML 1.2 alone."""
    words = {"true": True, "false": False}

    def read(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]

    return Leaf(expects="true or false", read=read, write=bool, schema={"type": "boolean"})


def choice(words: tuple[str, ...], noun: str = "value") -> Leaf:
    """One of the given words."""

    def read(text: str) -> str:
        if text not in words:
            raise UnknownWordError(noun, text, words)
        return text

    return Leaf(expects=f"one of {', '.join(words)}", read=read, schema={"enum": list(words)})


def text_like(pattern: str | None, expects: str) -> Leaf:
    """Printable text, as a whole like `pattern`."""

    def read(text: str) -> str:
        if not text or len(text) > TEXT_CHARS_MAX or UNPRINTABLE.search(text):
            raise ValueError(text)
        if pattern is not None and not re.search(pattern, text):
            raise ValueError(text)
        return text

    schema = {"type": "string"} | ({"pattern": pattern} if pattern is not None else {})
    return Leaf(expects=expects, read=read, schema=schema)


def model_name(providers: tuple[str, ...]) -> Leaf:
    """A model as callers name it; a slot cannot stand for another slot."""
    expects = "a model: fc:<provider>/<model>"
    plain = text_like("^fc:[^/]+/.+$", expects)

    def read(text: str) -> str:
        provider = text.removeprefix(PROVIDER_SCHEME).partition("/")[0]
        if text.startswith(PROVIDER_SCHEME) and provider not in providers:
            raise UnknownWordError("provider", provider, providers)
        try:
            parse(plain.read(text), providers, slots=())
        except InvalidModelError as error:
            raise ValueError(text) from error
        return text

    return Leaf(expects=expects, read=read, schema=plain.schema)


def secret(held_as: Callable[[str], str]) -> Leaf:
    """A credential: it goes into a header, so it is visible ASCII without spaces."""
    visible = text_like("^[!-~]+$", "printable ASCII without spaces")
    return Leaf(
        expects=visible.expects,
        read=lambda text: held_as(visible.read(text)),
        schema=visible.schema,
        is_secret=True,
    )


def number(unit: str, *, is_whole: bool, least: float, most: float) -> Leaf:
    """A number of a unit, held whole or as a float; the bounds are in the held unit."""
    suffixes = UNITS[unit]
    pattern = rf"^({NUMERAL})({'|'.join(suffixes)})$"

    def read(text: str) -> float | int:
        found = re.search(pattern, text)
        if found is None or UNPRINTABLE.search(text):
            raise ValueError(text)
        held = Decimal(found[1]) * suffixes[found[2]]
        if not least <= held <= most or (is_whole and held != held.to_integral_value()):
            raise ValueError(text)
        return int(held) if is_whole else float(held)

    def write(held: float) -> str | float | int:
        return _written(held, suffixes)

    kind = "integer" if is_whole and unit == "number" else "number"
    bounds = {"minimum": write(least), "maximum": write(most)}
    return Leaf(
        expects=f"{EXPECTED[kind if unit == 'number' else unit]} from {write(least)} to {write(most)}",
        read=read,
        write=write,
        schema={"type": kind, **bounds}
        if "" in suffixes
        else {"type": "string", "pattern": pattern},
    )


def _written(held: float, suffixes: dict[str, Decimal]) -> str | float | int:
    """The held number, with the largest suffix that leaves it whole."""
    exact = Decimal(str(held))
    whole = [item for item in suffixes.items() if held and exact % item[1] == 0]
    suffix, size = max(whole or [next(iter(suffixes.items()))], key=lambda item: item[1])
    count = exact / size
    plain = int(count) if count == count.to_integral_value() else float(count)
    return f"{plain}{suffix}" if suffix else plain
