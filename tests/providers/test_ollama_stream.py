import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.ndjson import LINE_BYTES_MAX, NDJSONDecoder
from ringside_proxy.providers.ollama.stream import OllamaStreamDecoder, token_usage
from tests.providers.streams import (
    ANY_JSON,
    check_deltas,
    drained,
    mutated,
    no_new_id,
    transcripts,
)


def decoder() -> OllamaStreamDecoder:
    return OllamaStreamDecoder("ollama", no_new_id)


def minting() -> OllamaStreamDecoder:
    return OllamaStreamDecoder("ollama", lambda prefix: f"{prefix}_new")


def line(**message: Any) -> bytes:
    return orjson.dumps({"message": {"role": "assistant", **message}, "done": False}) + b"\n"


@pytest.mark.parametrize("path", transcripts("ollama", "ndjson"), ids=lambda path: path.stem)
def test_stream_cut_anywhere_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it."""
    check_deltas(path, decoder)


@pytest.mark.parametrize("path", transcripts("ollama", "ndjson"), ids=lambda path: path.stem)
def test_lines_may_end_in_crlf_and_be_blank(path):
    """A proxy on the way may have its own idea of a line's end."""
    raw = path.read_bytes().replace(b"\n", b"\r\n\r\n")

    assert drained(decoder(), [raw]) == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {"prompt_eval_count": 150, "prompt_eval_cached_count": 100, "eval_count": 40},
            TokenUsage(input_tokens=150, cached_input_tokens=100, output_tokens=40),
        ),
        ({"prompt_eval_count": 150}, TokenUsage(input_tokens=150)),
        (
            {"prompt_eval_count": 5, "prompt_eval_cached_count": 100, "eval_count": 4},
            TokenUsage(input_tokens=5, cached_input_tokens=5, output_tokens=4),
        ),
        ({"eval_count": 40}, None),
        ({"prompt_eval_count": "150", "eval_count": 40}, None),
        ({"prompt_eval_count": -1, "eval_count": 40}, None),
        ({"prompt_eval_count": True, "eval_count": 40}, None),
        ({"prompt_eval_count": 2_000_000_000, "eval_count": 40}, None),
    ],
)
def test_usage_maps_by_the_table(reported, usage):
    """Zeros are left out by the server, so a prompt without a count is an unknown one."""
    assert token_usage(reported) == usage


@pytest.mark.parametrize(
    ("status", "message", "error", "code"),
    [
        (400, "registry.ollama.ai/library/x does not support tools", ProviderRejectedError, "invalid_request"),
        (400, '"x" does not support thinking', ProviderRejectedError, "invalid_request"),
        (400, "the input length exceeds the context length", ProviderRejectedError, "context_length_exceeded"),
        (401, "unauthorized", ProviderAuthenticationError, "provider_auth_failed"),
        (404, "model 'x' not found", ProviderRejectedError, "model_not_found"),
        (429, "too many requests", ProviderRateLimitedError, "rate_limit_exceeded"),
        (500, "llama runner process has terminated", ProviderUnavailableError, "provider_unavailable"),
        (502, "upstream", ProviderUnavailableError, "provider_unavailable"),
        (503, "server busy, please try again. maximum pending requests exceeded", ProviderUnavailableError, "provider_unavailable"),
    ],
)  # fmt: skip
def test_refusals_have_their_class(status, message, error, code):
    """Ollama's `{error: text}` under each of its statuses."""
    caught = error_from_reply("ollama", status, {}, orjson.dumps({"error": message}), 0)

    assert (type(caught), caught.code) == (error, code)
    assert message in caught.message


def test_call_without_an_id_of_its_own_gets_one():
    """Older servers send none."""
    calls = [{"function": {"name": "f", "arguments": {}}}, {"id": "c", "function": {"name": "g"}}]

    opened = [delta for delta in minting().feed(line(tool_calls=calls)) if delta.name]

    assert [(delta.index, delta.id, delta.name) for delta in opened] == [
        (0, "call_new", "f"),
        (1, "c", "g"),
    ]


@pytest.mark.parametrize("call", [{}, {"function": {"name": ""}}, "f", None])
def test_call_without_a_name_is_a_bad_reply(call):
    """It cannot be made."""
    with pytest.raises(ProviderBadReplyError):
        minting().feed(line(tool_calls=[call]))


def test_arguments_too_deep_to_write_are_a_bad_reply():
    """They can be read, so nothing else stops them."""
    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    call = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + deep + b"}}]}}\n"

    items = drained(minting(), [call])

    assert list(items[-1]) == ["ProviderBadReplyError"]


def test_calls_are_bounded():
    """A model gone wrong is stopped."""
    items = drained(minting(), [line(tool_calls=[{"function": {"name": "f"}}])] * 129)

    assert sum("ToolCallDelta" in item for item in items) == 128
    assert list(items[-1]) == ["ProviderBadReplyError"]


def test_lines_are_bounded():
    """An endless line ends in an error, however it comes."""
    frames = NDJSONDecoder("ollama")
    assert frames.feed(b"x" * LINE_BYTES_MAX) == []
    with pytest.raises(ProviderBadReplyError):
        frames.feed(b"x")
    with pytest.raises(ProviderBadReplyError):
        NDJSONDecoder("ollama").feed(b"{}\n" + b"x" * (LINE_BYTES_MAX + 1))


LINES = [
    json.loads(text)
    for path in transcripts("ollama", "ndjson")
    for text in path.read_text("utf-8").strip().split("\n")
]


@given(
    st.lists(
        st.tuples(st.sampled_from(LINES), st.lists(st.integers(0, 9), max_size=5), ANY_JSON),
        max_size=6,
    )
)
def test_mutated_lines_raise_only_provider_errors(changes):
    """Whatever stands where."""
    drained(minting(), [json.dumps(mutated(*change)).encode() + b"\n" for change in changes])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_raise_only_provider_errors(pieces):
    """A stream that is none of Ollama's ends in an error that says so."""
    items = drained(minting(), [*pieces, b"\n["])

    assert "Error" in next(iter(items[-1]))


def test_ollama_s_own_types_know_what_comes_back():
    """Every line in the transcripts, judged by the vendor's SDK."""
    ollama = pytest.importorskip("ollama")
    newer = {"prompt_eval_cached_count"}
    judged = [said for said in LINES if "error" not in said]

    assert len(judged) > 15
    for said in judged:
        ollama.ChatResponse.model_validate(said)
        assert set(said) - newer <= set(ollama.ChatResponse.model_fields)
