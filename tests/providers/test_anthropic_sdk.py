"""Requests and streams, judged by the types of Anthropic's own SDK; skipped where it is not."""

import typing
from typing import Any

import orjson
import pytest

from tests.providers.anthropic_rig import BUDGET, HI, F, called, result, sent, text, user
from tests.providers.streams import sdk_extras, transcripts

anthropic = pytest.importorskip("anthropic")
pydantic = pytest.importorskip("pydantic")
typing_extensions = pytest.importorskip("typing_extensions")

from anthropic.types import RawMessageStreamEvent  # noqa: E402
from anthropic.types.message_create_params import MessageCreateParamsStreaming  # noqa: E402

UNTYPED = {"temperature", "top_p", "top_k"}
"""Left out of the SDK's types with its first version; the wire of 2023-06-01 takes them."""
NOT_ANSWERS = {"unknown_events", "usage_is_cumulative"}


def problems(value: Any, kind: Any, path: str = "$") -> list[str]:
    """What `value` has that the type does not know, or lacks that it demands."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return problems(value, args[0], path)
    if origin is typing.Union:
        found = [problems(value, arg, path) for arg in args if fits(value, arg)]
        return min(found, key=len, default=[f"{path}: {value!r} fits nothing"])
    if origin is typing.Literal:
        return [] if value in args else [f"{path}: {value!r} is not one of {args}"]
    if isinstance(value, list) and args:
        return [p for i, each in enumerate(value) for p in problems(each, args[0], f"{path}[{i}]")]
    if not typing_extensions.is_typeddict(kind):
        return []
    hints = typing.get_type_hints(kind, include_extras=True)
    required = {k for k, hint in hints.items() if typing.get_origin(hint) is typing.Required}
    missing = [f"{path}: no {name}" for name in required - value.keys()]
    unknown = [f"{path}: {name}" for name in value.keys() - hints.keys()]
    inner = [
        p for k, v in value.items() if k in hints for p in problems(v, hints[k], f"{path}.{k}")
    ]
    return missing + unknown + inner


def fits(value: Any, kind: Any) -> bool:
    if typing_extensions.is_typeddict(kind):
        return isinstance(value, dict)
    if kind is type(None):
        return value is None
    origin = typing.get_origin(kind)
    if isinstance(value, list):
        return origin is not None and origin not in (typing.Literal, typing.Union, dict)
    return not isinstance(value, dict) or origin in (typing.Union, dict)


BODIES = {
    **{
        path.name: orjson.loads(path.read_bytes())["sent"]
        for path in transcripts("anthropic", "request.json")
    },
    "forced": sent(tools=[F], tool_choice="required", parallel_tool_calls=False),
    "named": sent(tools=[F], tool_choice={"type": "function", "function": {"name": "f"}}),
    "none": sent(tools=[F], tool_choice="none"),
    "disabled": sent(reasoning_effort="none"),
    "between_tools": sent(model="claude-sonnet-5-5", reasoning_effort="none"),
    "history": sent([user([text("A")]), called(), result(" ")]),
    "sampling": sent(HI, BUDGET, temperature=0.5, top_k=3),
}


@pytest.mark.parametrize("name", BODIES)
def test_request_is_known_to_the_sdk(name):
    """No field that the SDK's types do not know, none missing that they demand."""
    body = {key: value for key, value in BODIES[name].items() if key not in UNTYPED}

    assert problems(body, MessageCreateParamsStreaming) == []
    pydantic.TypeAdapter(MessageCreateParamsStreaming).validate_python(body)


def test_judge_finds_what_is_wrong():
    """A field too many, one too few and a wrong word are found, also deep inside."""
    body = sent([*HI, called(), result()], tools=[F])
    body["messages"][1]["content"][0]["extra"] = 1
    body["tools"][0].pop("name")
    body["thinking"] = {"type": "sometimes"}

    assert len(problems(body, MessageCreateParamsStreaming)) == 3


@pytest.mark.parametrize(
    "path",
    [path for path in transcripts("anthropic", "sse") if path.stem not in NOT_ANSWERS],
    ids=lambda path: path.stem,
)
def test_transcript_is_what_the_sdk_reads(path):
    """The events that were written for the tests are events to the SDK."""
    adapter = pydantic.TypeAdapter(RawMessageStreamEvent)
    lines = [line for line in path.read_bytes().split(b"\n") if line.startswith(b"data: ")]
    for line in lines:
        event = orjson.loads(line[6:])
        if event["type"] not in ("ping", "error"):
            assert sdk_extras(adapter.validate_python(event)) == []
