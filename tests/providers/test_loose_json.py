"""JSON is read deeper than it is written: what is nested beyond that goes no further, anywhere."""

import orjson
import pytest

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.providers.anthropic.stream import MessageStreamDecoder
from ringside_proxy.providers.chat.relay import Relay
from ringside_proxy.providers.chat.stream import ChatStreamDecoder
from ringside_proxy.providers.loose_json import DEPTH_MAX
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.responses.stream import ResponsesStreamDecoder
from ringside_proxy.providers.types import CompletionRequest, Credentials
from tests.providers.streams import no_new_id

DEEP = '{"a":' * 300 + "1" + "}" * 300
"""Read, and not written."""

MODELS = [
    *((name, "m") for name in PROVIDERS if name not in ("bedrock", "replicate")),
    ("bedrock", "anthropic.claude-sonnet-4-5"),
    ("bedrock", "mistral.mistral-large-2407-v1:0"),
    ("replicate", "meta/x"),
]
CREDENTIALS = Credentials(
    base_url="http://provider.test",
    api_key="k",
    options={"region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"},
)


def called(arguments: str) -> list[dict[str, object]]:
    """A conversation in which a model called a function."""
    call = {
        "id": "call_abcd",
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
    }
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_abcd", "content": DEEP},
    ]


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_call_that_a_model_nested_too_deeply_can_be_told_to_every_provider(provider, model):
    """Its arguments are text that nobody has to be able to read, and so is its result."""
    request = CompletionRequest(
        model=model,
        messages=called(DEEP),
        params={"tools": [{"type": "function", "function": {"name": "f"}}]},
    )

    assert orjson.loads(PROVIDERS[provider].build_request(request, CREDENTIALS).body)


@pytest.mark.parametrize(
    ("decoder", "frame"),
    [
        (
            ChatStreamDecoder("acme", no_new_id),
            '{"choices":[{"delta":{"tool_calls":[{"id":"call_a","function":'
            '{"name":"f","arguments":%s}}]}}]}',
        ),
        (Relay("acme", include_usage=True), '{"choices":[],"obfuscation":"x","usage":%s}'),
        (
            MessageStreamDecoder("acme", no_new_id),
            '{"type":"content_block_start","index":0,"content_block":'
            '{"type":"tool_use","id":"call_a","name":"f","input":%s}}',
        ),
        (
            ResponsesStreamDecoder("acme", no_new_id),
            '{"type":"response.output_item.done","output_index":0,"item":'
            '{"type":"reasoning","id":"r","encrypted_content":"x","summary":%s}}',
        ),
    ],
    ids=["chat", "relay", "anthropic", "responses"],
)
def test_frame_that_is_nested_too_deeply_is_a_bad_reply(decoder, frame):
    """What of it is kept and told would have to be written again."""
    with pytest.raises(ProviderBadReplyError, match="nested too deeply"):
        decoder.feed(f"data: {frame % DEEP}\n\n".encode())


def test_frame_may_be_nested_as_far_as_it_can_be_written():
    """The bound counts levels, not brackets."""
    levels = DEPTH_MAX - 7 - 2  # those of the frame itself, and of the lists
    arguments = '{"a":' * levels + str([1] * 500 + [[]] * 500) + "}" * levels
    frame = (
        '{"choices":[{"delta":{"tool_calls":[{"id":"call_a","function":'
        '{"name":"f","arguments":%s}}]}}]}'
    )

    deltas = ChatStreamDecoder("acme", no_new_id).feed(f"data: {frame % arguments}\n\n".encode())

    assert orjson.loads(deltas[-1].arguments) == orjson.loads(arguments)
