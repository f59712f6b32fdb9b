"""What a model says, before it is put on a vendor's wire."""

from typing import Final, Literal, NamedTuple


class Call(NamedTuple):
    """A function that the model calls; `arguments` is JSON."""

    id: str
    name: str
    arguments: str


class Count(NamedTuple):
    """Tokens: `cached` and `kept` (written to the cache) are part of `read`, `reasoned` of `written`."""

    read: int = 50
    written: int = 20
    cached: int = 0
    kept: int = 0
    reasoned: int = 0


class Say(NamedTuple):
    """One answer."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    count: Count = Count()
    end: Literal["stop", "length", "content_filter"] = "stop"

    @property
    def pieces(self) -> list[str]:
        """The text in the pieces that it comes in."""
        middle = len(self.text) // 2
        return [piece for piece in (self.text[:middle], self.text[middle:]) if piece]


WORDS: Final = Say("Sunny in Bern, says Grüße 🌞.")
