"""What callers are told about requests that do not fit."""

import re
from collections.abc import Iterator
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict

from ringside_proxy.api import bodies
from ringside_proxy.api.decode import (
    INT64_MAX,
    INT64_MIN,
    IncludeQuery,
    ListQuery,
    MessageListQuery,
    StepListQuery,
    ThreadListQuery,
    decode_body,
    decode_json,
    decode_open_body,
    decode_query,
)
from ringside_proxy.api.decode_explain import shape_of
from ringside_proxy.domain.errors import InvalidRequestError

ASSISTANT = {"model": "fc:openai/gpt-4o"}
RUN = {"assistant_id": "asst_1"}
MESSAGE = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f"}}

GRAMMAR = [
    (bodies.CreateRun, {}, "missing_required_parameter", "assistant_id",
     "Missing required parameter: 'assistant_id'."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [{"type": "function", "function": {}}]},
     "missing_required_parameter", "tools[0].function.name",
     "Missing required parameter: 'tools[0].function.name'."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [{}]},
     "missing_required_parameter", "tools[0].type",
     "Missing required parameter: 'tools[0].type'."),
    (bodies.CreateRun, RUN | {"stop": "x"}, "unknown_parameter", "stop",
     "Unknown parameter: 'stop'."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [FUNCTION, FUNCTION | {"x": 1}]},
     "unknown_parameter", "tools[1].x", "Unknown parameter: 'tools[1].x'."),
    (bodies.ModifyRun, {"k" * 70: 1}, "unknown_parameter", "kkk...kkk",
     "Unknown parameter: 'kkk...kkk'."),
    (bodies.ModifyRun, {"metadata": {"modified": True}}, "invalid_type", "metadata.modified",
     "Invalid type for 'metadata.modified': expected a string, but got a boolean instead."),
    (bodies.ModifyRun, {"metadata": {"k": None}}, "invalid_type", "metadata.k",
     "Invalid type for 'metadata.k': expected a string, but got null instead."),
    (bodies.CreateRun, RUN | {"seed": 1.5}, "invalid_type", "seed",
     "Invalid type for 'seed': expected an integer, but got a decimal number instead."),
    (bodies.CreateRun, RUN | {"temperature": "hot"}, "invalid_type", "temperature",
     "Invalid type for 'temperature': expected a decimal, but got a string instead."),
    (bodies.CreateRun, RUN | {"stream": 1}, "invalid_type", "stream",
     "Invalid type for 'stream': expected a boolean, but got an integer instead."),
    (bodies.CreateRun, RUN | {"metadata": []}, "invalid_type", "metadata",
     "Invalid type for 'metadata': expected an object, but got an array instead."),
    (bodies.CreateRun, RUN | {"tools": "none"}, "invalid_type", "tools",
     "Invalid type for 'tools': expected an array of objects, but got a string instead."),
    (bodies.CreateMessage, MESSAGE | {"content": 7}, "invalid_type", "content",
     "Invalid type for 'content': expected one of a string or array of objects, "
     "but got an integer instead."),
    (bodies.CreateRun, RUN | {"tool_choice": 7}, "invalid_type", "tool_choice",
     "Invalid type for 'tool_choice': expected one of one of 'none', 'auto', or 'required' "
     "or object, but got an integer instead."),
    (bodies.CreateMessage, MESSAGE | {"role": 7}, "invalid_type", "role",
     "Invalid type for 'role': expected one of 'user' or 'assistant', "
     "but got an integer instead."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [{"type": 7}]}, "invalid_type",
     "tools[0].type",
     "Invalid type for 'tools[0].type': expected a string, but got an integer instead."),
    (bodies.Embeddings, {"model": "m", "input": {}}, "invalid_type", "input",
     "Invalid type for 'input': expected one of a string or array, but got an object instead."),
    (bodies.CreateMessage, MESSAGE | {"role": "system"}, "invalid_value", "role",
     "Invalid value: 'system'. Supported values are: 'user' and 'assistant'."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [{"type": "retrieval"}]}, "invalid_value",
     "tools[0].type",
     "Invalid value: 'retrieval'. "
     "Supported values are: 'code_interpreter', 'function', and 'file_search'."),
    (bodies.CreateRun, RUN | {"tool_choice": "any" * 30}, "invalid_value", "tool_choice",
     "Invalid value: 'any...any'. Supported values are: 'none', 'auto', and 'required'."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [{"type": "function", "function": {"name": "a b"}}]},
     "invalid_value", "tools[0].function.name",
     "Invalid 'tools[0].function.name': string does not match pattern. "
     "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."),
    (bodies.CreateMessage, MESSAGE | {"content": "x" * 256_001}, "string_above_max_length",
     "content",
     "Invalid 'content': string too long. Expected a string with maximum length 256000, "
     "but got a string with length 256001 instead."),
    (bodies.CreateThread, {"messages": [MESSAGE | {"metadata": {"k": "x" * 513}}]},
     "string_above_max_length", "messages[0].metadata.k",
     "Invalid 'messages[0].metadata.k': string too long. Expected a string with maximum length "
     "512, but got a string with length 513 instead."),
    (bodies.CreateMessage, MESSAGE | {"content": ""}, "empty_string", "content",
     "Invalid 'content': empty string. Expected a string with minimum length 1, "
     "but got an empty string instead."),
    (bodies.CreateMessage, MESSAGE | {"content": []}, "empty_array", "content",
     "Invalid 'content': empty array. Expected an array with minimum length 1, "
     "but got an empty array instead."),
    (bodies.CreateAssistant, ASSISTANT | {"tools": [FUNCTION] * 129}, "array_above_max_length",
     "tools",
     "Invalid 'tools': array too long. Expected an array with maximum length 128, "
     "but got an array with length 129 instead."),
    (bodies.ModifyThread, {"metadata": {f"k{i}": "v" for i in range(17)}},
     "object_above_max_properties", "metadata",
     "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
     "but got an object with 17 properties instead."),
    (bodies.ModifyThread, {"metadata": {"k" * 70: "v"}}, "property_name_above_max_length",
     "metadata",
     "Invalid property name in 'metadata': 'kkk...kkk' is too long. Expected a string with "
     "maximum length 64, but got a string with length 70 instead."),
    (bodies.CreateRun, RUN | {"expires_after": 604_801}, "integer_above_max_value",
     "expires_after",
     "Invalid 'expires_after': integer above maximum value. Expected a value <= 604800, "
     "but got 604801 instead."),
    (bodies.CreateRun, RUN | {"max_tokens": 0}, "integer_below_min_value", "max_tokens",
     "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, "
     "but got 0 instead."),
    (bodies.CreateRun, RUN | {"temperature": 3}, "decimal_above_max_value", "temperature",
     "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, "
     "but got 3 instead."),
    (bodies.CreateRun, RUN | {"top_p": -0.5}, "decimal_below_min_value", "top_p",
     "Invalid 'top_p': decimal below minimum value. Expected a value >= 0, "
     "but got -0.5 instead."),
]  # fmt: skip


@pytest.mark.parametrize(("body_type", "body", "code", "param", "message"), GRAMMAR)
def test_refusal_has_openais_words(body_type, body, code, param, message):
    """Message, param and code are what OpenAI's validator says, row by row."""
    with pytest.raises(InvalidRequestError) as refused:
        decode_body(orjson.dumps(body), body_type)

    error = refused.value
    assert (error.message, error.param, error.code) == (message, param, code)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"zzz": 1, "temperature": 3}, "assistant_id"),
        ({"temperature": 3, "assistant_id": "a", "zzz": 1, "yyy": 1}, "zzz"),
        ({"top_p": 3, "temperature": 3, "assistant_id": "a"}, "temperature"),
    ],
)
def test_first_problem_is_missing_then_unknown_then_by_field(body, param):
    """A body with several problems is refused for the first, in OpenAI's order."""
    with pytest.raises(InvalidRequestError) as refused:
        decode_body(orjson.dumps(body), bodies.CreateRun)

    assert refused.value.param == param


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"7", b"null"])
def test_body_that_is_no_object_is_an_invalid_type(raw):
    """A body is an object; anything else is named for what it is."""
    with pytest.raises(
        InvalidRequestError, match="the request body: expected an object"
    ) as refused:
        decode_body(raw, bodies.CreateThread)

    assert (refused.value.param, refused.value.code) == (None, "invalid_type")


def test_no_body_at_all_is_an_empty_object():
    """`POST /v1/threads` without a body makes an empty thread; other bodies miss a parameter."""
    assert decode_body(b"", bodies.CreateThread) == bodies.CreateThread()
    with pytest.raises(InvalidRequestError, match="Missing required parameter: 'model'"):
        decode_body(b"", bodies.CreateAssistant)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "line 1 column 2"),
        (b'{"a": 1,}', "line 1 column 8"),
        (b" ", "parse"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\udc00"}', "surrogate"),
        (b'{"a": NaN}', "column 7"),
        (b'{"a": 1e999}', "infinity"),
        (b'{"a": "\x00"}', "control character"),
        (b'{"a": "\\u0000"}', r"NUL character \(byte 7\)"),
        (b'{"a\\\\\\u0000": 1}', "NUL character"),
        (b'{"a": 18446744073709551616}', "integer at byte 6"),
        (b'{"a": [1, -9223372036854775809]}', "integer at byte 10"),
        (b'{"a": 9223372036854775808}', "64 bits"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "parse"),
        (b'{"a":' * 64 + b"{}" + b"}" * 64, "more than 64 levels"),
        (b"[" * 100_000, "parse"),
        (b"[" * 2_000 + b"]" * 2_000, "depth limit"),
    ],
)
def test_json_that_could_not_be_stored_or_sent_on_is_refused(raw, reason):
    """Broken or hostile JSON is a 400 that says where and why, never a surprise later on."""
    with pytest.raises(InvalidRequestError, match=reason) as refused:
        decode_json(raw)

    assert refused.value.message.startswith("We could not parse the JSON body of your request: ")
    assert (refused.value.param, refused.value.code) == (None, None)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[-9223372036854775808, 9223372036854775807]", [INT64_MIN, INT64_MAX]),
        (b'["18446744073709551616", "\\"18446744073709551616"]',
         ["18446744073709551616", '"18446744073709551616']),
        (b"[0.12345678901234567890123, 1e30, 12345678901234567890.5]",
         [0.12345678901234567890123, 1e30, 12345678901234567890.5]),
        (b'["\\\\u0000", "\\u00001"]'.replace(b"\\u00001", b"\\u0001"), ["\\u0000", "\x01"]),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b"[" + b"{}," * 100 + b"{}]", [{}] * 101),
        (b'{"a":' * 63 + b"{}" + b"}" * 63, None),
    ],
)  # fmt: skip
def test_json_that_only_looks_hostile_passes(raw, value):
    """Long digits and brackets in strings, decimals, escaped backslashes, 64 levels: all fine."""
    assert decode_json(raw) == (orjson.loads(raw) if value is None else value)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(raw):
    """No input makes the decoder fail in any other way."""
    with suppress(InvalidRequestError):
        assert decode_json(raw) == orjson.loads(raw)


@given(st.integers(-(2**70), 2**70))
def test_integers_pass_exactly_or_not_at_all(number):
    """An integer arrives as it was sent, or is refused when it does not fit 64 bits."""
    raw = b'{"seed": %d}' % number

    if INT64_MIN <= number <= INT64_MAX:
        assert decode_json(raw) == {"seed": number}
    else:
        with pytest.raises(InvalidRequestError, match="64 bits"):
            decode_json(raw)


ALL_BODIES = [
    bodies.CreateAssistant, bodies.ModifyAssistant, bodies.CreateThread, bodies.ModifyThread,
    bodies.CreateMessage, bodies.ModifyMessage, bodies.CreateRun, bodies.CreateThreadAndRun,
    bodies.ModifyRun, bodies.SubmitToolOutputs, bodies.ChatCompletion, bodies.Embeddings,
]  # fmt: skip

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers(INT64_MIN, INT64_MAX)
    | st.floats(allow_nan=False, allow_infinity=False) | WORDS
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda some: st.lists(some, max_size=3) | st.dictionaries(WORDS, some, max_size=3)
)


def nearly(annotation: Any, meta: msgspec.Meta | None = None) -> st.SearchStrategy[Any]:
    """JSON that mostly fits a type, so that deep problems are found behind valid surroundings."""
    fits = fitting(annotation, meta)
    return st.integers(0, 19).flatmap(lambda roll: fits if roll else JSON)


def fitting(annotation: Any, meta: msgspec.Meta | None) -> st.SearchStrategy[Any]:
    arguments = get_args(annotation)
    kind = get_origin(annotation) or annotation
    if kind is Annotated:
        return fitting(*arguments)
    if kind in (Union, UnionType):
        options = [option for option in arguments if option is not msgspec.UnsetType]
        return st.one_of([nearly(option) for option in options])
    if kind is Literal:
        return st.sampled_from(arguments)
    if kind is list:
        return st.lists(nearly(arguments[0]), max_size=3)
    if kind is dict:
        return st.dictionaries(WORDS | st.just("k" * 65), nearly(arguments[1]), max_size=2)
    if kind in SIMPLE:
        return SIMPLE[kind]
    return struct_like(kind) if issubclass(kind, msgspec.Struct) else JSON


SIMPLE = {
    str: st.sampled_from(["f", "", "a b", "f\n", "x" * 70, "x" * 600, "45s"]) | WORDS,
    int: st.sampled_from([0, 1, 20, 256, 10**6]),
    float: st.sampled_from([0, 1, 1.0, 0.5, 2.5, -1]),
    bool: st.booleans(),
    NoneType: st.none(),
    Any: JSON,
}


def struct_like(struct: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    tag_field = struct.__struct_config__.tag_field
    given_keys = {name: nearly(field.type) for name, field in fields.items() if field.required}
    if tag_field:
        given_keys[tag_field] = st.just(struct.__struct_config__.tag) | nearly(str)
    others = {name: nearly(field.type) for name, field in fields.items() if not field.required}
    whole = st.fixed_dictionaries(given_keys, optional=others)
    broken = st.fixed_dictionaries({}, optional=given_keys | others | {"surplus": JSON})
    return st.integers(0, 9).flatmap(lambda roll: whole if roll else broken)


def paths(value: Any, path: str) -> Iterator[str]:
    """Every path that leads into a document."""
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, f"{path}[{index}]")


@pytest.mark.parametrize("body_type", ALL_BODIES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_json_is_a_body_or_refused_at_a_place_that_exists(body_type, data):
    """A refusal points into the document, or at a key missing from it; nothing else is raised.

    And both readings of the type agree: what msgspec accepts, the explainer accepts.
    """
    document = data.draw(struct_like(body_type) | st.dictionaries(WORDS, JSON))

    error = refusal(orjson.dumps(document), body_type)

    if error is None:
        shape_of(body_type).refuse(document, "")
    elif error.code == "missing_required_parameter":
        assert error.param not in set(paths(document, ""))
        assert error.param.rpartition(".")[0] in set(paths(document, ""))
    else:
        assert error.param in set(paths(document, ""))


def refusal(raw: bytes, body_type: type[msgspec.Struct]) -> InvalidRequestError | None:
    try:
        decode_body(raw, body_type)
    except InvalidRequestError as error:
        return error
    return None


class EvenNumber(msgspec.Struct):
    """A body with a limit that no request body of ours has."""

    number: Annotated[int, msgspec.Meta(multiple_of=2)]


def test_refusal_without_openais_words_still_says_what_and_where():
    """A limit that the explainer does not know is refused in msgspec's words, not let pass."""
    error = refusal(b'{"number": 3}', EvenNumber)

    assert error is not None
    assert "multiple of 2 - at `$.number`" in error.message


CONTENT = "step_details.tool_calls[*].file_search.results[*].content"


@pytest.mark.parametrize(
    ("query", "query_type", "expected"),
    [
        ({}, ListQuery, ListQuery(limit=20, order="desc")),
        ({"limit": "1", "order": "asc"}, ListQuery, ListQuery(limit=1, order="asc")),
        ({"limit": "100", "after": "a", "before": "b"}, ListQuery,
         ListQuery(limit=100, after="a", before="b")),
        ({"limit": "", "after": "", "order": ""}, ListQuery, ListQuery()),
        ({"after": "7"}, ListQuery, ListQuery(after="7")),
        ({"api-version": "1", "limit[]": "3"}, ListQuery, ListQuery()),
        ({"run_id": "run_1"}, MessageListQuery, MessageListQuery(run_id="run_1")),
        ({"include[]": CONTENT}, StepListQuery, StepListQuery(include=[CONTENT])),
        (MultiDict([("include", CONTENT), ("include[]", CONTENT)]), IncludeQuery,
         IncludeQuery(include=[CONTENT, CONTENT])),
        ({"metadata[user]": "u", "metadata[a.b]": "", "metadata": "x"}, ThreadListQuery,
         ThreadListQuery(metadata={"user": "u", "a.b": ""})),
    ],
)  # fmt: skip
def test_query_is_read(query, query_type, expected):
    """Parameters arrive typed, defaults are filled in, and unknown parameters are ignored."""
    assert decode_query(query, query_type) == expected


@pytest.mark.parametrize(
    ("query", "query_type", "code", "param", "message"),
    [
        ({"limit": "101"}, ListQuery, "integer_above_max_value", "limit",
         "Invalid 'limit': integer above maximum value. Expected a value <= 100, "
         "but got 101 instead."),
        ({"limit": "0"}, ListQuery, "integer_below_min_value", "limit",
         "Invalid 'limit': integer below minimum value. Expected a value >= 1, "
         "but got 0 instead."),
        ({"limit": "abc"}, ListQuery, "invalid_type", "limit",
         "Invalid type for 'limit': expected an integer, but got a string instead."),
        ({"limit": "9" * 5000}, ListQuery, "invalid_type", "limit",
         "Invalid type for 'limit': expected an integer, but got a string instead."),
        ({"order": "up"}, ListQuery, "invalid_value", "order",
         "Invalid value: 'up'. Supported values are: 'asc' and 'desc'."),
        ({"include[]": "x"}, IncludeQuery, "invalid_value", "include[0]",
         f"Invalid value: 'x'. Supported values are: '{CONTENT}'."),
        ({"metadata[k]": "v" * 513}, ThreadListQuery, "string_above_max_length", "metadata.k",
         "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, "
         "but got a string with length 513 instead."),
    ],
)  # fmt: skip
def test_query_is_refused_in_openais_words(query, query_type, code, param, message):
    """A query answers for its values like a body."""
    with pytest.raises(InvalidRequestError) as refused:
        decode_query(query, query_type)

    error = refused.value
    assert (error.message, error.param, error.code) == (message, param, code)


def test_open_body_keeps_unknown_keys_as_parameters():
    """What a provider may understand goes on as it came; nulls and the proxy's own keys do not."""
    messages = [{"role": "user", "content": "hi", "x": 1}]
    raw = orjson.dumps(
        {"model": "m", "messages": messages, "stream": True, "user": "u",
         "stream_options": {"include_usage": True, "y": 1}, "n": None, "max_tokens": 5,
         "reasoning": {"deep": [None]}, "params": 1}
    )  # fmt: skip

    body, params = decode_open_body(raw, bodies.ChatCompletion)

    assert (body.user, body.max_tokens) == ("u", 5)
    assert body.stream_options == bodies.StreamOptions(include_usage=True)
    expected = {"messages": messages, "max_tokens": 5, "reasoning": {"deep": [None]}, "params": 1}
    assert params == expected


HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages[0]"),
        ({"model": "m", "messages": HI, "max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"model": "", "messages": HI}, "model"),
        ({"model": "m", "messages": HI, "user": "u" * 257}, "user"),
        ({"model": "m", "messages": HI, "tools": True}, "tools"),
        ({"model": "m", "messages": HI, "tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"model": "m", "messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
        ),
    ],
)
def test_open_body_is_checked_where_routing_and_money_depend_on_it(body, param):
    """The keys that the proxy reads itself are held to their types."""
    with pytest.raises(InvalidRequestError) as refused:
        decode_open_body(orjson.dumps(body), bodies.ChatCompletion)

    assert re.search(rf"'{re.escape(param)}'", refused.value.message)
    assert refused.value.param == param
