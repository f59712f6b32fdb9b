"""Transcripts of providers with a wire of their own: read as the client reads, cut anywhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.types import StreamDecoder

TRANSCRIPTS = Path(__file__).parent / "transcripts"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def no_new_id(prefix: str) -> str:
    """For transcripts that name their calls."""
    raise AssertionError(f"a {prefix} id was minted although the transcript names its own")


def transcripts(provider: str, ending: str) -> list[Path]:
    return sorted((TRANSCRIPTS / provider).glob(f"*.{ending}"))


def drained(stream: StreamDecoder[Any], pieces: list[bytes]) -> list[dict[str, Any]]:
    """Every delta, then the error if there is one, as JSON."""
    items: list[Any] = []
    try:
        for piece in pieces:
            items += stream.feed(piece)
            if stream.is_done:
                break
        items += stream.close()
    except ProviderError as error:
        items.append(error)
    return [_shown(item) for item in items]


def check_deltas(path: Path, decoder: Callable[[], StreamDecoder[Any]]) -> None:
    """The transcript gives the deltas that stand beside it, wherever the network cuts it."""
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())

    assert drained(decoder(), [raw]) == expected
    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw))]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        assert drained(decoder(), pieces) == expected, f"first piece {len(pieces[0])} bytes"


def mutated(value: Any, path: list[int], new: Any) -> Any:
    """`value` with `new` somewhere inside."""
    if not path or not isinstance(value, dict) or not value:
        return new
    key = sorted(value)[path[0] % len(value)]
    return value | {key: mutated(value[key], path[1:], new)}


def sdk_extras(model: Any) -> list[str]:
    """The fields that a vendor's own pydantic types hold without knowing them."""
    found = list(getattr(model, "model_extra", None) or ())
    values = vars(model).values() if hasattr(model, "model_fields_set") else ()
    for value in values:
        for item in value if isinstance(value, list) else [value]:
            found += sdk_extras(item)
    return found


def _shown(item: Any) -> dict[str, Any]:
    if isinstance(item, ProviderError):
        fields = {"code": item.code, "is_retryable": item.is_retryable}
        return {type(item).__name__: fields}
    return {type(item).__name__: msgspec.to_builtins(item)}
