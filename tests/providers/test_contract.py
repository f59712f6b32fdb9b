"""What every row keeps, shown on transcripts written after the vendors' own pages.

A new row needs no test code: a directory with at least the exchanges of `REQUIRED` is enough.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.chat.relay import Relay
from ringside_proxy.providers.chat.rows import ROWS
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    EmbeddingsRequest,
    StreamDecoder,
    UsageDelta,
)

TRANSCRIPTS = Path(__file__).parent / "transcripts"
REQUIRED = {"plain", "tool_call", "error_in_stream"}
PROVIDERS = {row.name: row for row in ROWS}
STREAMS = sorted(path for name in PROVIDERS for path in TRANSCRIPTS.glob(f"{name}/*.sse"))
RELAYED = [path for path in STREAMS if PROVIDERS[path.parent.name].speaks_openai]
REQUESTS = sorted(path for name in PROVIDERS for path in TRANSCRIPTS.glob(f"{name}/*.request.json"))
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/v1/", api_key="sk-test-key")
BEARER = {"authorization": "Bearer sk-test-key"}
ANY_REQUEST = CompletionRequest(model="m", messages=[{"role": "user", "content": "Hi."}])


def case_id(path: Path) -> str:
    return f"{path.parent.name}-{path.name.partition('.')[0]}"


def decoder(name: str) -> StreamDecoder[Any]:
    def no_new_id(prefix: str) -> str:
        raise AssertionError(f"a {prefix} id was minted although the transcript names its own")

    return PROVIDERS[name].stream_decoder(ANY_REQUEST, no_new_id)


def drain(stream: StreamDecoder[Any], pieces: list[bytes]) -> list[Any]:
    """Every item, then the error if there is one; as the client reads."""
    items: list[Any] = []
    try:
        for piece in pieces:
            items += stream.feed(piece)
            if stream.is_done:
                break
        items += stream.close()
    except ProviderError as error:
        items.append(error)
    return items


def shown(item: Any) -> dict[str, Any]:
    if isinstance(item, ProviderError):
        fields = {"code": item.code, "is_retryable": item.is_retryable}
        return {type(item).__name__: fields}
    return {type(item).__name__: msgspec.to_builtins(item)}


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_has_its_transcripts(name):
    """A row comes with a plain, a tool-call and an error exchange, and with a request for two."""
    cases = {path.stem for path in STREAMS if path.parent.name == name}
    requests = {path.name for path in REQUESTS if path.parent.name == name}

    assert cases >= REQUIRED
    assert requests >= {"plain.request.json", "tool_call.request.json"}


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it."""
    items = drain(decoder(path.parent.name), [path.read_bytes()])

    assert [shown(item) for item in items] == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_cut_anywhere_gives_the_same_deltas(path):
    """Where the network cuts a stream does not matter, at any byte and at all of them."""
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())

    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw))]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        items = drain(decoder(path.parent.name), pieces)
        assert [shown(item) for item in items] == expected, f"first piece {len(pieces[0])} bytes"


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_stream_may_use_any_line_ending(path, newline):
    """CRLF and CR end lines as LF does, also where a cut parts the two."""
    raw = path.read_bytes().replace(b"\n", newline)
    expected = json.loads(path.with_suffix(".json").read_text())

    items = drain(decoder(path.parent.name), [raw[i : i + 1] for i in range(len(raw))])

    assert [shown(item) for item in items] == expected


@pytest.mark.parametrize("path", RELAYED, ids=case_id)
def test_relay_agrees_with_the_decoder(path):
    """Passing a stream on cuts it at the same frames, ends it alike and counts the same usage."""
    raw = path.read_bytes()
    decoded = drain(decoder(path.parent.name), [raw])

    relay = Relay(path.parent.name, include_usage=True)
    relayed = drain(relay, [raw[i : i + 7] for i in range(0, len(raw), 7)])

    ends = [(type(i), i.code) for i in decoded[-1:] if isinstance(i, ProviderError)]
    assert ends == [(type(i), i.code) for i in relayed[-1:] if isinstance(i, ProviderError)]
    usages = [item.usage for item in decoded if isinstance(item, UsageDelta)]
    assert relay.usage == (usages[-1] if usages else None)
    frames = b"".join(item for item in relayed if isinstance(item, bytes))
    assert drain(decoder(path.parent.name), [frames])[: len(decoded) - len(ends)] == [
        item for item in decoded if not isinstance(item, ProviderError)
    ]


@pytest.mark.parametrize("path", REQUESTS, ids=case_id)
def test_request_is_what_the_provider_takes(path):
    """The body that goes out equals the recorded one, key for key."""
    provider = PROVIDERS[path.parent.name]
    recorded = json.loads(path.read_text())
    asked = msgspec.convert(recorded["asked"], CompletionRequest)

    request = provider.build_request(asked, CREDENTIALS)

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded.get("dropped", [])
    assert request.method == "POST"
    assert request.url == "http://127.0.0.1:1/v1/chat/completions"
    assert request.headers == {
        "content-type": "application/json",
        **({"api-key": "sk-test-key"} if provider.name == "azure" else BEARER),
    }


@pytest.mark.parametrize("name", PROVIDERS)
def test_user_stays_here(name):
    """The caller's end-customer is never told to a provider, in no kind of call."""
    provider = PROVIDERS[name]
    params = {"user": "customer_42", "metadata": {"user": "customer_42"}, "dimensions": 3}
    chat = CompletionRequest(model="m", messages=[{"role": "user", "content": "x"}], params=params)
    embeddings = EmbeddingsRequest(model="m/e", input=["x"], params=params)

    bodies = [provider.build_request(chat, CREDENTIALS).body]
    if provider.has_embeddings:
        bodies += [r.body for r in provider.build_embeddings_requests(embeddings, CREDENTIALS)]

    assert not [body for body in bodies if b"customer_42" in body]
