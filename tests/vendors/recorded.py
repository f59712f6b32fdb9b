"""The recorded answers of the nineteen, on their own wires, and the deltas that they mean."""

import json
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.providers.test_bedrock_stream import framed

Deltas = list[tuple[str, Any]]
TRANSCRIPTS: Final = Path(__file__).parent.parent / "providers" / "transcripts"
FOLDERS: Final = {"xai": "responses/xai", "perplexity": "responses/perplexity"}
TYPES: Final = {
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".frames": "application/vnd.amazon.eventstream",
}
PAYLOAD: Final = re.compile(r"(?P<before>(?:data: |\w+ )?)(?P<json>\{.*\})")


def folder(provider: str) -> Path:
    """Where a provider's transcripts are."""
    return TRANSCRIPTS / FOLDERS.get(provider, provider)


def recorded(provider: str, case: str) -> tuple[bytes, str]:
    """The bytes of an answer on the provider's wire, and their content type."""
    [path] = [p for end in TYPES if (p := folder(provider) / f"{case}{end}").exists()]
    if path.suffix == ".frames":
        return framed(path.read_text().splitlines()), TYPES[path.suffix]
    return path.read_bytes(), TYPES[path.suffix]


def transcript(provider: str, case: str) -> Deltas:
    """The deltas of a recorded answer: each one's kind and fields."""
    path = folder(provider) / f"{case}.json"
    return [next(iter(delta.items())) for delta in json.loads(path.read_text())]


def cases(wanted: Callable[[Deltas], bool]) -> list[tuple[str, str]]:
    """Every provider's recorded answers whose deltas are `wanted`."""
    return [
        (provider, path.stem)
        for provider in TYPICAL_MODELS
        for path in sorted(folder(provider).glob("*.json"))
        if not path.name.endswith(".request.json") and wanted(transcript(provider, path.stem))
    ]


def of_kind(deltas: Deltas, kind: str) -> list[Any]:
    return [fields for name, fields in deltas if name == kind]


def finish(deltas: Deltas) -> str | None:
    """Why the model stopped; None for an answer that is not whole."""
    return next((fields["reason"] for fields in of_kind(deltas, "Finish")), None)


def text_of(deltas: Deltas) -> str:
    return "".join(fields["text"] for fields in of_kind(deltas, "TextDelta"))


def said(provider: str, text: str) -> tuple[bytes, str]:
    """The provider's plain answer with other words in it, on its own wire."""
    raw, content_type = recorded(provider, "plain")
    if provider == "replicate":  # its words stand in no JSON
        return f"event: output\ndata: {text}\n\nevent: done\ndata: {{}}\n\n".encode(), content_type
    pieces = [fields["text"] for fields in of_kind(transcript(provider, "plain"), "TextDelta")]
    whole, left = "".join(pieces), deque(pieces)

    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: other(item) for key, item in value.items()}
        if isinstance(value, list):
            return [other(item) for item in value]
        if left and value == left[0]:
            left.popleft()
            return text if len(left) == len(pieces) - 1 else ""
        if left and isinstance(value, str) and value.endswith(f"</think>\n\n{left[0]}"):
            return value.removesuffix(left.popleft()) + text
        return text if value == whole else value

    def line(found: re.Match[str]) -> str:
        return found["before"] + json.dumps(other(json.loads(found["json"])))

    if content_type == TYPES[".frames"]:
        path = folder(provider) / "plain.frames"
        return framed([PAYLOAD.sub(line, row) for row in path.read_text().splitlines()]), (
            content_type
        )
    return PAYLOAD.sub(line, raw.decode()).encode(), content_type
