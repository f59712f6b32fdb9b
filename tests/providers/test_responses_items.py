"""The conversation as the Responses dialect's items, and what the vendors' own types say of it."""

from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.responses.stream import ResponsesStreamDecoder
from ringside_proxy.providers.types import (
    StateDelta,
)
from tests.providers.responses_rig import (
    CALL,
    FORMAT,
    IMAGE,
    REASONING,
    ROWS,
    TOOLS,
    USER,
    body,
    items,
)


@pytest.mark.parametrize("name", ROWS)
def test_messages_become_items(name):
    """Roles, parts, calls and their results, in their order."""
    parts = [
        {"type": "text", "text": "See", "cache_control": {"type": "ephemeral"}},
        IMAGE,
    ]
    sent = items(
        name,
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts, "name": "bob"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "22C"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
    )

    detail = {} if name == "perplexity" else {"detail": "low"}
    function = {"name": "f"} if name == "perplexity" else {}
    assert sent == [
        {
            "type": "message",
            "role": "system" if name == "xai" else "developer",
            "content": "Be brief.",
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "https://example.com/a.png", **detail},
            ],
        },
        {"type": "message", "role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"city":1}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "22C", **function},
        {"type": "message", "role": "assistant", "content": "No."},
    ]


def test_files_go_to_openai_alone():
    """A file part is an item part there, and a refusal elsewhere."""
    message = {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}

    assert items("openai", message)[0]["content"] == [{"type": "input_file", "file_id": "file-1"}]
    with pytest.raises(InvalidRequestError):
        items("xai", message)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "custom"}]},
    ],
)
def test_what_has_no_item_is_refused(message):
    """Audio, the functions of old and custom tools."""
    with pytest.raises(InvalidRequestError) as caught:
        items("openai", message)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")


def shape(sent: list[dict[str, Any]]) -> list[str]:
    return [
        str(item.get("encrypted_content") or item.get("call_id") or item.get("content"))
        for item in sent
    ]


SECOND = CALL | {"id": "call_2"}
THOUGHTS = [REASONING, REASONING | {"id": "rs_2", "encrypted_content": "gBBB"}]


@pytest.mark.parametrize(
    ("state", "content", "calls", "expected"),
    [
        (None, "Hi", [CALL], ["Hi", "call_1"]),
        ("rubbish", "Hi", [CALL], ["Hi", "call_1"]),
        ([REASONING, {"type": "message", "chars": 2}], "Hi", [], ["gAAA", "Hi"]),
        (
            [
                THOUGHTS[0],
                {"type": "function_call", "call_id": "call_1"},
                THOUGHTS[1],
                {"type": "function_call", "call_id": "call_2"},
            ],
            None,
            [CALL, SECOND],
            ["gAAA", "call_1", "gBBB", "call_2"],
        ),
        # The second call was dropped: so is the thought that led to it.
        (
            [
                THOUGHTS[0],
                {"type": "function_call", "call_id": "call_1"},
                THOUGHTS[1],
                {"type": "function_call", "call_id": "call_2"},
            ],
            None,
            [CALL],
            ["gAAA", "call_1"],
        ),
        (
            [{"type": "message", "chars": 2}, REASONING, {"type": "message", "chars": 3}],
            "Hithe",
            [],
            ["Hi", "gAAA", "the"],
        ),
        # Another text than the state's: it stands first, and the call keeps its thought.
        (
            [
                {"type": "message", "chars": 9},
                REASONING,
                {"type": "function_call", "call_id": "call_1"},
            ],
            "Hi",
            [CALL],
            ["Hi", "gAAA", "call_1"],
        ),
        ([REASONING], "Hi", [], ["Hi"]),
    ],
)
def test_state_stands_where_the_model_put_it(state, content, calls, expected):
    """Reasoning comes right before what it led to, or not at all."""
    message = {"role": "assistant", "content": content, "tool_calls": calls}

    assert shape(items("openai", message | {"provider_state": state})) == expected


def test_state_survives_the_round_trip():
    """What a stream gives as state puts its items back as they came, phases included."""
    output = [
        REASONING,
        {
            "type": "message",
            "id": "m",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "Wait."}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "f",
            "arguments": "{}",
        },
    ]
    events = [
        {"type": "response.output_item.done", "output_index": index, "item": item}
        for index, item in enumerate(output)
    ]
    stream = ResponsesStreamDecoder("openai", lambda prefix: prefix)
    for event in [*events, {"type": "response.completed", "response": {}}]:
        deltas = stream.feed(b"data: " + orjson.dumps(event) + b"\n\n")
    [state] = [delta.state for delta in deltas if isinstance(delta, StateDelta)]
    stored = orjson.loads(orjson.dumps(state))

    message = {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}
    sent = items("openai", message | {"provider_state": stored})

    assert sent == [
        REASONING,
        {"type": "message", "role": "assistant", "content": "Wait.", "phase": "commentary"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"city":1}'},
    ]


def test_thought_signature_goes_back_with_call_and_output():
    """Perplexity wants the signature of another vendor's model with both."""
    state = [{"type": "function_call", "call_id": "call_1", "thought_signature": "c2ln"}]

    _, call, output = items(
        "perplexity",
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL], "provider_state": state},
        {"role": "tool", "tool_call_id": "call_1", "content": "22C"},
    )

    assert (call["thought_signature"], output["thought_signature"]) == ("c2ln", "c2ln")


EVERYTHING: dict[str, Any] = {
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "response_format": FORMAT,
    "reasoning_effort": "low",
    "max_tokens": 100,
    "verbosity": "low",
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "temperature": 0.5,
    "stop": ["x"],
    "user": "u",
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "See"}, IMAGE]},
    {
        "role": "assistant",
        "content": "Wait.",
        "tool_calls": [CALL],
        "provider_state": [
            REASONING,
            {"type": "message", "chars": 5, "phase": "commentary"},
            {"type": "function_call", "call_id": "call_1"},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "22C"},
]


def fits(kind: Any, value: dict[str, Any]) -> bool:
    """Whether a typed dictionary's fields are there, and no others."""
    return bool(kind.__required_keys__ <= value.keys() <= kind.__annotations__.keys())


def test_openais_own_types_take_the_request():
    """Every field that is sent is one of OpenAI's, at any depth, and none that must be is missing."""
    types = pytest.importorskip("openai.types.responses")
    create = pytest.importorskip("openai.types.responses.response_create_params")
    item_types = pytest.importorskip("openai.types.responses.response_input_item_param")
    written = body("openai", EVERYTHING, CONVERSATION)
    items_by_type = {
        "message": types.EasyInputMessageParam,
        "function_call": types.ResponseFunctionToolCallParam,
        "function_call_output": item_types.FunctionCallOutput,
        "reasoning": types.ResponseReasoningItemParam,
    }
    parts_by_type = {
        "input_text": types.ResponseInputTextParam,
        "input_image": types.ResponseInputImageParam,
    }

    assert fits(create.ResponseCreateParamsStreaming, written)
    assert all(fits(items_by_type[item["type"]], item) for item in written["input"])
    assert all(fits(parts_by_type[part["type"]], part) for part in written["input"][1]["content"])
    assert all(fits(types.FunctionToolParam, tool) for tool in written["tools"])
    assert fits(types.ResponseTextConfigParam, written["text"])
    assert fits(types.ResponseFormatTextJSONSchemaConfigParam, written["text"]["format"])
    assert fits(create.StreamOptions, written["stream_options"])


def test_perplexitys_own_types_take_the_request():
    """Unknown fields are fatal there: items, tools and format hold nothing that its types do not."""
    items_of = pytest.importorskip("perplexity.types.input_item_param")
    tool = pytest.importorskip("perplexity.types.function_tool_param")
    form = pytest.importorskip("perplexity.types.shared_params.response_format")
    written = body("perplexity", EVERYTHING, [m | {"provider_state": None} for m in CONVERSATION])
    kinds = {
        "message": items_of.InputMessage,
        "function_call": items_of.FunctionCallInput,
        "function_call_output": items_of.FunctionCallOutputInput,
    }

    assert all(fits(kinds[item["type"]], item) for item in written["input"])
    parts = written["input"][1]["content"]
    assert all(fits(items_of.InputMessageContentContentPartArray, part) for part in parts)
    assert all(fits(tool.FunctionToolParam, sent) for sent in written["tools"])
    assert fits(form.ResponseFormat, written["response_format"])
    assert fits(form.JsonSchemaFormat, written["response_format"]["json_schema"])
