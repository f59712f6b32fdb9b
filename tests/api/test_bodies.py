"""What bodies may hold, and what becomes of their parts."""

import msgspec
import orjson
import pytest

from ringside_proxy.api import bodies, decode_domain
from ringside_proxy.api.decode import decode_body
from ringside_proxy.domain import messages, runs, tools
from ringside_proxy.domain.errors import InvalidRequestError, UnsupportedToolTypeError

ASSISTANT = {"model": "fc:openai/gpt-4o"}
RUN = {"assistant_id": "asst_1"}
MESSAGE = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f"}}


def decoded(body_type, body):
    return decode_body(orjson.dumps(body), body_type)


REAL_CLIENTS = {
    "litellm run": (bodies.CreateRun, RUN, {
        "model": None, "tools": None, "instructions": None, "additional_instructions": None,
        "metadata": None}),
    "autogen-ext assistant": (bodies.CreateAssistant, ASSISTANT, {
        "metadata": None, "temperature": None, "top_p": None}),
    "LangChain message": (bodies.CreateMessage, MESSAGE, {"attachments": None, "metadata": None}),
    "agency-swarm assistant": (bodies.CreateAssistant, ASSISTANT, {
        "reasoning_effort": None, "tool_resources": None}),
    "python message": (bodies.CreateMessage, MESSAGE, {}),
    "submit": (bodies.SubmitToolOutputs, {"tool_outputs": []}, {"stream": None}),
}  # fmt: skip


@pytest.mark.parametrize("client", REAL_CLIENTS)
def test_null_of_a_real_client_means_not_given(client):
    """The nulls that client libraries send change nothing."""
    body_type, plain, nulls = REAL_CLIENTS[client]

    assert decoded(body_type, plain | nulls) == decoded(body_type, plain)


ALL_BODIES = [
    (bodies.CreateAssistant, ASSISTANT), (bodies.CreateThread, {}), (bodies.ModifyThread, {}),
    (bodies.CreateMessage, MESSAGE), (bodies.ModifyMessage, {}), (bodies.CreateRun, RUN),
    (bodies.CreateThreadAndRun, RUN), (bodies.ModifyRun, {}),
    (bodies.SubmitToolOutputs, {"tool_outputs": [{"tool_call_id": "call_1"}]}),
    (bodies.ChatCompletion, {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
    (bodies.Embeddings, {"model": "m", "input": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("body_type", "required"), ALL_BODIES)
def test_every_optional_key_takes_null_for_not_given(body_type, required):
    """Null and absent are one for every optional key, also where OpenAI's schema has no null."""
    nulls = {
        field.encode_name: None for field in msgspec.structs.fields(body_type) if not field.required
    }

    assert nulls
    assert decoded(body_type, required | nulls) == decoded(body_type, required)


def test_modified_assistant_tells_null_from_absent_for_its_texts():
    """Null clears name, description and instructions; of everything else it changes nothing."""
    modify = decoded(bodies.ModifyAssistant, {"name": None, "description": "d", "model": None})

    assert modify.name is None
    assert modify.description == "d"
    assert modify.instructions is msgspec.UNSET
    assert modify.model is None


ACCEPTED = [
    (bodies.CreateAssistant, ASSISTANT | {
        "name": "n" * 256, "description": "d" * 512, "instructions": "i" * 256_000,
        "tools": [FUNCTION] * 128, "metadata": {f"{i:064}": "v" * 512 for i in range(16)},
        "temperature": 2, "top_p": 1, "response_format": "auto", "reasoning_effort": "max"}),
    (bodies.CreateAssistant, ASSISTANT | {
        "tool_resources": {"code_interpreter": {"file_ids": ["f"] * 20},
                           "file_search": {"vector_store_ids": ["v"], "vector_stores": [{}]}}}),
    (bodies.CreateThread, {"messages": [], "tool_resources": {}, "user": "u" * 256}),
    (bodies.CreateMessage, MESSAGE | {"role": "assistant", "content": "x" * 256_000}),
    (bodies.CreateMessage, MESSAGE | {"content": [
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}},
        {"type": "image_file", "image_file": {"file_id": "file-1", "detail": "high"}}]}),
    (bodies.CreateRun, RUN | {
        "tools": [FUNCTION] * 20, "additional_messages": [MESSAGE], "max_prompt_tokens": 1,
        "max_completion_tokens": 16, "parallel_tool_calls": False, "stream": False,
        "user": "u", "expires_after": 604_800, "max_tokens": 1, "seed": -1, "top_p": 0,
        "reasoning_effort": "none", "additional_instructions": ""}),
    (bodies.CreateThreadAndRun, RUN | {"thread": {"messages": [MESSAGE]}, "tool_resources": {}}),
    (bodies.SubmitToolOutputs, {"tool_outputs": [{"tool_call_id": "call_1", "output": ""}]}),
    (bodies.Embeddings, {"model": "m", "input": [[1, 2], [3]], "encoding_format": "base64"}),
]  # fmt: skip


@pytest.mark.parametrize(("body_type", "body"), ACCEPTED)
def test_values_at_the_limit_are_accepted(body_type, body):
    """Every field of a body arrives under its own name, up to its limit."""
    accepted = msgspec.to_builtins(decoded(body_type, body))

    assert without_nulls(accepted) == body


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


REFUSED = [
    (bodies.CreateAssistant, ASSISTANT, "name", "n" * 257),
    (bodies.CreateAssistant, ASSISTANT, "description", "d" * 513),
    (bodies.CreateAssistant, ASSISTANT, "instructions", "i" * 256_001),
    (bodies.CreateAssistant, {}, "model", ""),
    (bodies.CreateAssistant, {}, "model", "m" * 2_049),
    (bodies.CreateAssistant, {}, "model", None),
    (bodies.CreateAssistant, ASSISTANT, "temperature", 2.01),
    (bodies.CreateAssistant, ASSISTANT, "top_p", 1.01),
    (bodies.CreateAssistant, ASSISTANT, "reasoning_effort", "extreme"),
    (bodies.ModifyAssistant, {}, "instructions", "i" * 256_001),
    (bodies.CreateRun, RUN, "tools", [FUNCTION] * 21),
    (bodies.CreateRun, RUN, "max_prompt_tokens", 0),
    (bodies.CreateRun, RUN, "max_completion_tokens", 0),
    (bodies.CreateRun, RUN, "expires_after", 0),
    (bodies.CreateRun, RUN, "expires_after", "10 minutes"),
    (bodies.CreateRun, RUN, "expires_after", "0s"),
    (bodies.CreateRun, RUN, "expires_after", "45s\n"),
    (bodies.CreateRun, RUN, "user", ""),
    (bodies.CreateRun, RUN, "user", "u" * 257),
    (bodies.CreateThread, {}, "user", ""),
    (bodies.CreateThreadAndRun, RUN, "reasoning_effort", "low"),
    (bodies.CreateThreadAndRun, RUN, "additional_messages", []),
    (bodies.CreateThreadAndRun, RUN, "additional_instructions", "x"),
    (bodies.SubmitToolOutputs, {}, "tool_outputs", None),
]  # fmt: skip


@pytest.mark.parametrize(("body_type", "rest", "name", "value"), REFUSED)
def test_value_past_its_limit_is_refused_by_name(body_type, rest, name, value):
    """One step further than allowed is a 400 with the parameter."""
    with pytest.raises(InvalidRequestError) as refused:
        decoded(body_type, rest | {name: value})

    assert refused.value.param == name


def test_function_name_holds_no_line_end():
    """A trailing line end is part of the name, and not allowed in it."""
    with pytest.raises(InvalidRequestError) as refused:
        decoded(bodies.CreateAssistant, ASSISTANT | {
            "tools": [{"type": "function", "function": {"name": "f\n"}}]})  # fmt: skip

    assert refused.value.param == "tools[0].function.name"


def test_function_tool_gets_openais_defaults():
    """Parameters and strict are filled in; a description that was not given stays out."""
    body = decoded(bodies.CreateAssistant, ASSISTANT | {"tools": [
        FUNCTION,
        {"type": "function", "function": {"name": "g", "description": None, "strict": None}},
        {"type": "function", "function": {
            "name": "h", "description": "", "parameters": {"type": "string"}, "strict": True}},
    ]})  # fmt: skip

    shown = orjson.loads(msgspec.json.encode(decode_domain.function_tools(body.tools)))

    nothing = {"type": "object", "properties": {}}
    assert shown == [
        {"type": "function", "function": {"name": "f", "parameters": nothing, "strict": False}},
        {"type": "function", "function": {"name": "g", "parameters": nothing, "strict": False}},
        {"type": "function", "function": {
            "name": "h", "description": "", "parameters": {"type": "string"}, "strict": True}},
    ]  # fmt: skip
    assert isinstance(decode_domain.function_tools(body.tools)[0], tools.Tool)


@pytest.mark.parametrize("hosted", ["code_interpreter", "file_search"])
def test_hosted_tool_is_refused_where_it_stands(hosted):
    """The tools that OpenAI ran are 400 unsupported_tool_type, with their place and the remedy."""
    body = decoded(bodies.CreateAssistant, ASSISTANT | {"tools": [FUNCTION, {"type": hosted}]})

    with pytest.raises(UnsupportedToolTypeError, match="offer a function") as refused:
        decode_domain.function_tools(body.tools)

    error = refused.value
    assert (error.param, error.code) == ("tools[1].type", "unsupported_tool_type")
    assert f"'{hosted}'" in error.message


@pytest.mark.parametrize(
    "empty",
    [
        None,
        {},
        {"code_interpreter": {"file_ids": []}},
        {"code_interpreter": None, "file_search": {"vector_store_ids": [], "vector_stores": None}},
    ],
)
def test_empty_tool_resources_pass(empty):
    """Client libraries send empty resources by habit."""
    body = decoded(bodies.CreateThread, {"tool_resources": empty})

    decode_domain.refuse_tool_resources(body.tool_resources)


@pytest.mark.parametrize(
    ("resources", "param"),
    [
        ({"code_interpreter": {"file_ids": ["f"]}}, "tool_resources.code_interpreter.file_ids"),
        ({"file_search": {"vector_store_ids": ["v"]}},
         "tool_resources.file_search.vector_store_ids"),
        ({"file_search": {"vector_stores": [{}]}}, "tool_resources.file_search.vector_stores"),
    ],
)  # fmt: skip
def test_tool_resources_that_name_something_are_refused(resources, param):
    """A file or vector store would silently be ignored, so it is refused."""
    body = decoded(bodies.CreateThread, {"tool_resources": resources})

    with pytest.raises(UnsupportedToolTypeError) as refused:
        decode_domain.refuse_tool_resources(body.tool_resources)

    assert refused.value.param == param


def test_content_is_stored_as_parts():
    """Plain text becomes a text part; an image's detail is `auto` unless it was given."""
    plain = decoded(bodies.CreateMessage, MESSAGE | {"attachments": []})
    parts = decoded(bodies.CreateMessage, MESSAGE | {"content": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}},
    ]})  # fmt: skip

    assert decode_domain.content_parts(plain) == [messages.TextPart(text=messages.TextValue("hi"))]
    assert decode_domain.content_parts(parts) == [
        messages.TextPart(text=messages.TextValue("look")),
        messages.ImageUrlPart(image_url=messages.ImageUrl(url="https://x.test/a.png")),
        messages.ImageUrlPart(image_url=messages.ImageUrl(url="data:", detail="low")),
    ]


@pytest.mark.parametrize(
    ("message", "code", "param", "remedy"),
    [
        ({"content": [{"type": "text", "text": "x"},
                      {"type": "image_file", "image_file": {"file_id": "file-1"}}]},
         "invalid_value", "messages[2].content[1].image_file.file_id", "'image_url' part"),
        ({"attachments": [{"file_id": "file-1", "tools": [{"type": "file_search"}]}]},
         "unsupported_tool_type", "messages[2].attachments[0].tools[0].type", "a function"),
        ({"attachments": [{"file_id": "file-1"}]},
         "invalid_value", "messages[2].attachments[0].file_id", "text into the message"),
    ],
)  # fmt: skip
def test_files_of_a_message_are_refused_with_the_remedy(message, code, param, remedy):
    """There is no Files API here, so nothing could ever be read from a file."""
    body = decoded(bodies.CreateMessage, MESSAGE | message)

    with pytest.raises(InvalidRequestError, match=remedy) as refused:
        decode_domain.content_parts(body, "messages[2].")

    assert (refused.value.code, refused.value.param) == (code, param)


def test_truncation_strategy_has_its_default_and_needs_its_number():
    """Absent is `auto`; `last_messages` without a number is a missing parameter."""
    run = decoded(bodies.CreateRun, RUN | {
        "truncation_strategy": {"type": "last_messages", "last_messages": 3}})  # fmt: skip
    numberless = decoded(bodies.CreateRun, RUN | {
        "truncation_strategy": {"type": "last_messages"}})  # fmt: skip

    assert decode_domain.truncation_strategy(None) == runs.TruncationStrategy("auto", None)
    assert decode_domain.truncation_strategy(run.truncation_strategy) == (
        runs.TruncationStrategy("last_messages", 3)
    )
    with pytest.raises(InvalidRequestError) as refused:
        decode_domain.truncation_strategy(numberless.truncation_strategy)
    assert refused.value.param == "truncation_strategy.last_messages"


@pytest.mark.parametrize(
    "choice", ["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]
)
def test_tool_choice_is_echoed_as_given(choice):
    """The run shows the caller's own choice."""
    run = decoded(bodies.CreateRun, RUN | {"tool_choice": choice})

    assert decode_domain.tool_choice(run.tool_choice) == choice


def test_tool_choice_of_a_hosted_tool_is_refused():
    """A choice cannot name a tool that cannot exist."""
    run = decoded(bodies.CreateRun, RUN | {"tool_choice": {"type": "code_interpreter"}})

    with pytest.raises(UnsupportedToolTypeError) as refused:
        decode_domain.tool_choice(run.tool_choice)

    assert refused.value.param == "tool_choice.type"


@pytest.mark.parametrize(
    "given",
    [
        "auto",
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "n"}},
        {"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"$ref": "#"}, "strict": None}},
    ],
)  # fmt: skip
def test_response_format_is_echoed_as_given(given):
    """The echo is the caller's own object."""
    run = decoded(bodies.CreateRun, RUN | {"response_format": given})

    assert decode_domain.response_format(run.response_format) == given


def test_response_format_is_echoed_without_forbidden_nulls():
    """OpenAI's schema lets only `strict` be null."""
    spec = {"name": "n", "description": None, "schema": None}
    run = decoded(
        bodies.CreateRun, RUN | {"response_format": {"type": "json_schema", "json_schema": spec}}
    )

    echo = decode_domain.response_format(run.response_format)

    assert echo == {"type": "json_schema", "json_schema": {"name": "n"}}


def test_absent_choice_and_format_are_auto():
    """Where neither the run nor its assistant says anything, the wire shows `auto`."""
    assert decode_domain.tool_choice(None) == "auto"
    assert decode_domain.response_format(None) == "auto"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (45, 45), ("45s", 45), ("10m", 600), ("2h", 7_200), ("168h", 604_800)],
)
def test_expiry_is_seconds_or_a_duration(given, seconds):
    """`expires_after` is whole seconds, or a number with its unit."""
    run = decoded(bodies.CreateRun, RUN | {"expires_after": given})

    assert decode_domain.expires_after_s(run.expires_after) == seconds


def test_expiry_too_far_away_is_refused():
    """A thread cannot be locked for longer than a week."""
    run = decoded(bodies.CreateRun, RUN | {"expires_after": "169h"})

    with pytest.raises(InvalidRequestError, match="at most 604800 seconds") as refused:
        decode_domain.expires_after_s(run.expires_after)

    assert refused.value.param == "expires_after"


@pytest.mark.parametrize(
    ("param", "value"),
    [("modalities", 1), ("audio", "x"), ("top_k", "x"), ("provider", "x")],
)
def test_parameter_that_adapters_look_into_has_its_shape(param, value):
    """Not every provider takes it; those that do, or refuse it, read what is in it."""
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    with pytest.raises(InvalidRequestError) as refused:
        decoded(bodies.ChatCompletion, chat | {param: value})

    assert refused.value.param == param
