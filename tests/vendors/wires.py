"""Any answer on any of the nineteen wires."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.vendors import chat_wire, native_wire
from tests.vendors.asked import Asked
from tests.vendors.chat_rules import RULES
from tests.vendors.speech import Say

Encoder = Callable[[Say, str], bytes]
SSE: Final = "text/event-stream"
ENCODERS: Final[dict[str, tuple[Encoder, str]]] = {
    **{vendor: (partial(chat_wire.stream, vendor), SSE) for vendor in RULES},
    "xai": (partial(native_wire.responses, "xai"), SSE),
    "perplexity": (partial(native_wire.responses, "perplexity"), SSE),
    "anthropic": (native_wire.anthropic, SSE),
    "google": (native_wire.google, SSE),
    "cohere": (native_wire.cohere, SSE),
    "bedrock": (native_wire.bedrock, "application/vnd.amazon.eventstream"),
    "ollama": (native_wire.ollama, "application/x-ndjson"),
    "replicate": (native_wire.replicate, SSE),
}


def says(vendor: str, say: Say) -> Callable[[Asked], tuple[bytes, str]]:
    """The vendor's answer, streamed or whole and in the dialect that it was asked in."""

    def answer(asked: Asked) -> tuple[bytes, str]:
        model = str((asked.body or {}).get("model", "m"))
        if asked.path == "/responses":
            return native_wire.responses(vendor, say, model), SSE
        if vendor in RULES and not asked.body.get("stream"):
            return chat_wire.whole(vendor, say, model), "application/json"
        encoder, content_type = ENCODERS[vendor]
        return encoder(say, model), content_type

    return answer
