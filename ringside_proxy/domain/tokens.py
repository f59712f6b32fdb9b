"""How many tokens a text is about, without a tokenizer.

Bytes are counted by class and weighted. Fitted on documentation in 14 languages, code, JSON and
logs against o200k: most texts within 12 %, the worst 25 % low. Good enough to cut a context and
to account for a stream that broke off; never for a bill that a provider has stated.
"""

from typing import Final

_WEIGHTS: Final = (
    (bytes(range(0x61, 0x7B)), 0.22),
    (bytes(range(0x41, 0x5B)), 0.70),
    (bytes(range(0x30, 0x3A)), 0.80),
    (b" \t\r\n", 0.14),
    (b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 0.35),
)
_WIDE_WEIGHTS: Final = (
    (bytes(range(0xC2, 0xCE)), 0.60),
    (bytes((*range(0xCE, 0xD0), *range(0xD5, 0xE0))), 0.35),
    (bytes(range(0xD0, 0xD5)), 0.25),
    (b"\xe0", 0.40),
    (b"\xe1", 0.90),
    (b"\xe2", 1.0),
    (bytes(range(0xE3, 0xF0)), 0.70),
    (bytes(range(0xF0, 0xF5)), 2.0),
)
BYTES_PER_TOKEN: Final = 4
"""About how long a token is, for a text that is not looked at."""
TOKENS_PER_MESSAGE: Final = 4
"""What roles and separators add to each message, about."""


def estimate(text: str) -> int:
    """About how many tokens `text` is; 0 for an empty one."""
    data = text.encode("utf-8", "surrogatepass")
    weights = _WEIGHTS if text.isascii() else _WEIGHTS + _WIDE_WEIGHTS
    size = len(data)
    return round(sum(weight * (size - len(data.translate(None, kind))) for kind, weight in weights))
