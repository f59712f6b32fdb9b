"""How a request is put to a model that does not do all of it by itself, and what is checked then."""

import json
from typing import Any, Final

import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.types import Capabilities, CompletionRequest, Support
from ringside_proxy.services.answer_plan import (
    MUST_BE_JSON,
    MUST_CALL,
    MUST_CALL_ONE,
    MUST_MEET_SCHEMA,
    NOT_AN_OBJECT,
    NOT_JSON,
    Plan,
    again,
    plan,
)
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.schema_judge import SchemaJudge
from tests.services.limited import NATIVE_CHOICES, NATIVE_FORMATS, able

Json = dict[str, Any]

USER: Final[Json] = {"role": "user", "content": "Hi"}
FUNCTIONS: Final = [{"type": "function", "function": {"name": name}} for name in ("look", "tell")]
DOCUMENT: Final[Json] = {"type": "object", "required": ["größe"]}
SCHEMA: Final[Json] = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": DOCUMENT, "strict": True},
}
NO_SCHEMA: Final[Json] = {"type": "json_schema", "json_schema": {"name": "answer"}}
OBJECT: Final[Json] = {"type": "json_object"}
TELL: Final[Json] = {"type": "function", "function": {"name": "tell"}}
TOOLS: Final[Json] = {"tools": FUNCTIONS}
SCHEMA_WORDS: Final = MUST_MEET_SCHEMA + json.dumps(DOCUMENT, ensure_ascii=False)
EVERYTHING: Final = able(**NATIVE_CHOICES, **NATIVE_FORMATS)


def planned(abilities: Capabilities, *messages: Json, **params: Any) -> Plan:
    """The plan for a request with these parameters."""
    request = CompletionRequest(model="m", messages=list(messages) or [USER], params=params)
    return plan(request, abilities, Schemas(SchemaJudge()))


PLAIN: dict[str, Json] = {
    "nothing": {},
    "text": {"response_format": {"type": "text"}},
    "tools": TOOLS,
    "a choice of auto": TOOLS | {"tool_choice": "auto"},
    "parallel calls": TOOLS | {"parallel_tool_calls": True},
    "a single call of no tool": {"parallel_tool_calls": False},
    "a choice among no tools": {"tools": [], "tool_choice": "required"},
    "what the plan does not know": {"temperature": 0.5, "x": {"y": 1}},
}


@pytest.mark.parametrize("abilities", [able(), EVERYTHING], ids=["able of little", "able of all"])
@pytest.mark.parametrize("params", PLAIN.values(), ids=PLAIN)
def test_plain_request_goes_out_unchanged(abilities: Capabilities, params: Json) -> None:
    """Where nothing is asked that needs help, the answer may be passed on as it comes."""
    found = planned(abilities, **params)

    assert found.request == CompletionRequest(model="m", messages=[USER], params=params)
    assert (found.is_plain, found.has_checks) == (True, False)


NATIVE: dict[str, tuple[Json, bool]] = {
    "required": (TOOLS | {"tool_choice": "required"}, False),
    "a function": (TOOLS | {"tool_choice": TELL}, False),
    "none": (TOOLS | {"tool_choice": "none"}, False),
    "a single call": (TOOLS | {"parallel_tool_calls": False}, False),
    "an object": ({"response_format": OBJECT}, True),
    "a schema": ({"response_format": SCHEMA}, True),
    "a schema without a schema": ({"response_format": NO_SCHEMA}, True),
    "a schema and tools": (TOOLS | {"response_format": SCHEMA}, True),
}


@pytest.mark.parametrize(("params", "is_checked"), NATIVE.values(), ids=NATIVE)
def test_what_a_model_does_by_itself_is_asked_of_it(params: Json, is_checked: bool) -> None:
    """An able model gets the request as it is; only formats are checked all the same."""
    found = planned(EVERYTHING, **params)

    assert found.request == CompletionRequest(model="m", messages=[USER], params=params)
    assert found.repair == found.request
    assert found.has_checks is is_checked


# What is asked, what the model can, then: the parameters that go out, what is said, the checks.
EMULATED: dict[str, tuple[Json, Json, Json, str | None, Json]] = {
    "none": (
        TOOLS | {"tool_choice": "none", "parallel_tool_calls": False, "temperature": 1},
        {},
        {"temperature": 1},
        None,
        {"calls_max": 1},
    ),
    "required": (
        TOOLS | {"tool_choice": "required"},
        {"tool_choice_named": Support.NATIVE},
        TOOLS,
        MUST_CALL,
        {"must_call": True},
    ),
    "a function, by requiring one": (
        TOOLS | {"tool_choice": TELL},
        {"tool_choice_required": Support.NATIVE},
        {"tools": FUNCTIONS[1:], "tool_choice": "required"},
        None,
        {"must_call": True},
    ),
    "a function, by words": (
        TOOLS | {"tool_choice": TELL},
        {},
        {"tools": FUNCTIONS[1:]},
        MUST_CALL_ONE.format(name="tell"),
        {"must_call": True},
    ),
    "a single call": (
        TOOLS | {"parallel_tool_calls": False},
        {},
        TOOLS,
        None,
        {"calls_max": 1},
    ),
    "a single call, natively": (
        TOOLS | {"parallel_tool_calls": False},
        {"single_tool_call": Support.NATIVE},
        TOOLS | {"parallel_tool_calls": False},
        None,
        {"calls_max": 1},
    ),
    "an object": ({"response_format": OBJECT}, {}, {}, MUST_BE_JSON, {"must_be_json": True}),
    "an object, of a model that knows schemas": (
        {"response_format": OBJECT},
        {"json_schema": True},
        {},
        MUST_BE_JSON,
        {"must_be_json": True},
    ),
    "a schema": ({"response_format": SCHEMA}, {}, {}, SCHEMA_WORDS, {"has_schema": True}),
    "a schema, of a model that knows objects": (
        {"response_format": SCHEMA},
        {"json_object": True},
        {},
        SCHEMA_WORDS,
        {"has_schema": True},
    ),
    "a schema beside tools": (
        TOOLS | {"response_format": SCHEMA},
        {"json_schema": True},
        TOOLS,
        SCHEMA_WORDS,
        {"has_schema": True},
    ),
    "everything": (
        TOOLS
        | {"response_format": OBJECT, "tool_choice": "required", "parallel_tool_calls": False},
        {},
        TOOLS,
        f"{MUST_BE_JSON}\n\n{MUST_CALL}",
        {"must_call": True, "must_be_json": True, "calls_max": 1},
    ),
}


@pytest.mark.parametrize(
    ("params", "abilities", "sent", "said", "checks"), EMULATED.values(), ids=EMULATED
)
def test_what_a_model_cannot_is_said_and_checked(
    params: Json, abilities: Json, sent: Json, said: str | None, checks: Json
) -> None:
    """What it does not take stays out of the request; its meaning is in words and in the checks."""
    found = planned(able(**abilities), **params)

    system = [] if said is None else [{"role": "system", "content": said}]
    assert found.request == CompletionRequest(model="m", messages=[*system, USER], params=sent)
    no_checks = {"must_call": False, "must_be_json": False, "calls_max": None, "has_schema": False}
    made = {name: getattr(found, name) for name in ("must_call", "must_be_json", "calls_max")}
    assert made | {"has_schema": found.schema is not None} == no_checks | checks


@pytest.mark.parametrize("params", [params for params, *_ in EMULATED.values()], ids=EMULATED)
def test_plan_leaves_the_callers_request_alone(params: Json) -> None:
    """What the caller gave is not changed in place."""
    given, messages = json.dumps(params), [{"role": "system", "content": "Be brief."}, USER]
    request = CompletionRequest(model="m", messages=messages, params=params)

    plan(request, able(), Schemas(SchemaJudge()))

    assert json.dumps(request.params) == given
    assert request.messages == [{"role": "system", "content": "Be brief."}, USER]


SYSTEM: dict[str, tuple[list[Json], list[Json]]] = {
    "at its end": (
        [{"role": "system", "content": "Be brief."}, USER],
        [{"role": "system", "content": f"Be brief.\n\n{MUST_BE_JSON}"}, USER],
    ),
    "a developer's": (
        [{"role": "developer", "content": "Be brief.", "name": "d"}, USER],
        [{"role": "developer", "content": f"Be brief.\n\n{MUST_BE_JSON}", "name": "d"}, USER],
    ),
    "in parts": (
        [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}],
        [
            {"role": "system", "content": MUST_BE_JSON},
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        ],
    ),
    "not at the start": (
        [USER, {"role": "system", "content": "Be brief."}],
        [{"role": "system", "content": MUST_BE_JSON}, USER, {"role": "system", "content": "Be brief."}],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "told"), SYSTEM.values(), ids=SYSTEM)
def test_instruction_stands_in_the_first_system_text(
    messages: list[Json], told: list[Json]
) -> None:
    """Many models heed one system message at the start, so it is joined to what is there."""
    found = planned(able(), *messages, response_format=OBJECT)

    assert found.request.messages == told


IMAGE: Final[Json] = {
    "role": "user",
    "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "x"}}],
}
IMPOSSIBLE: dict[str, tuple[Json, list[Json], Json, str]] = {
    "tools": ({"tools": Support.UNSUPPORTED}, [USER], TOOLS, "tools"),
    "tools that it may not call": (
        {"tools": Support.UNSUPPORTED},
        [USER],
        TOOLS | {"tool_choice": "none"},
        "tools",
    ),
    "an image": ({}, [IMAGE], {}, "messages"),
    "an image long ago": ({}, [IMAGE, USER], {}, "messages"),
}


@pytest.mark.parametrize(
    ("abilities", "messages", "params", "param"), IMPOSSIBLE.values(), ids=IMPOSSIBLE
)
def test_what_a_model_can_never_do_is_refused(
    abilities: Json, messages: list[Json], params: Json, param: str
) -> None:
    """Before anything is sent, with the parameter and where to look for another model."""
    with pytest.raises(InvalidRequestError, match="GET /v1/models") as raised:
        planned(able(**abilities), *messages, **params)

    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize("sight", ["image_urls", "image_data"])
def test_images_go_to_a_model_that_sees_in_either_way(sight: str) -> None:
    """Which way it takes them is its adapter's business."""
    assert planned(able(**{sight: True}), IMAGE).request.messages == [IMAGE]


@pytest.mark.parametrize(
    "abilities", [{}, {"tool_choice_required": Support.NATIVE}], ids=["by words", "by requiring"]
)
def test_choice_of_an_unknown_function_is_refused(abilities: Json) -> None:
    """A model that cannot be told to call it would be asked in vain."""
    choice = {"type": "function", "function": {"name": "fly"}}

    with pytest.raises(InvalidRequestError, match="no function named 'fly'") as raised:
        planned(able(**abilities), tools=FUNCTIONS, tool_choice=choice)

    assert raised.value.param == "tool_choice"


ANSWERS: dict[str, tuple[Json, str, tuple[str, ...], list[str]]] = {
    "an object": ({"response_format": OBJECT}, ' {"a": 1}\n', (), []),
    "no object": ({"response_format": OBJECT}, "[1]", (), [NOT_AN_OBJECT]),
    "a fenced object": ({"response_format": OBJECT}, "```json\n{}\n```", (), [NOT_JSON]),
    "two objects": ({"response_format": OBJECT}, "{}{}", (), [NOT_JSON]),
    "NaN": ({"response_format": OBJECT}, '{"a": NaN}', (), [NOT_JSON]),
    "nothing": ({"response_format": OBJECT}, "", (), [NOT_JSON]),
    "a bottomless list": ({"response_format": OBJECT}, "[" * 100_000, (), [NOT_JSON]),
    "a call": ({"response_format": OBJECT}, "", ("look",), []),
    "words and a call": ({"response_format": SCHEMA}, "One moment.", ("look",), []),
    "what meets the schema": ({"response_format": SCHEMA}, '{"größe": 1}', (), []),
    "what does not": (
        {"response_format": SCHEMA},
        "{}",
        (),
        ['at /: "größe" is a required property'],
    ),
    "no schema to meet": ({"response_format": NO_SCHEMA}, '{"x": 1}', (), []),
    "a call that was forced": (TOOLS | {"tool_choice": "required"}, "", ("look",), []),
    "a forced call that is none": (
        TOOLS | {"tool_choice": "required"},
        "{}",
        (),
        ["it calls no tool"],
    ),
    "the call that was named": (TOOLS | {"tool_choice": TELL}, "", ("tell",), []),
    "another than was named": (
        TOOLS | {"tool_choice": TELL},
        "",
        ("look",),
        ["it calls 'look', which it may not"],
    ),
    "a call that only the history has": (
        TOOLS | {"tool_choice": "required"},
        "",
        ("look", "shout"),
        ["it calls 'shout', which it may not"],
    ),
    "one that is dropped anyway": (
        TOOLS | {"tool_choice": "required", "parallel_tool_calls": False},
        "",
        ("look", "shout"),
        [],
    ),
    "text that nobody checks": (TOOLS, "[", (), []),
}


@pytest.mark.parametrize(("params", "text", "called", "faults"), ANSWERS.values(), ids=ANSWERS)
async def test_answer_is_held_to_what_was_asked(
    params: Json, text: str, called: tuple[str, ...], faults: list[str]
) -> None:
    """Faults are told in words for the model; an answer that calls has no text to check."""
    assert await planned(able(), **params).faults(text, called) == faults


def test_repair_shows_the_answer_and_its_faults() -> None:
    """The model sees what it said, what is wrong with it, and everything it was told before."""
    found = planned(able(), response_format=SCHEMA, temperature=0)

    request = again(found, "{}", ["it is wrong", "it is late"])

    *before, said, complaint = request.messages
    assert before == found.request.messages
    assert said == {"role": "assistant", "content": "{}"}
    assert complaint["role"] == "user"
    assert "it is wrong; it is late" in complaint["content"]
    assert request.params == {"temperature": 0}


def test_repair_of_nothing_shows_no_answer() -> None:
    """Providers refuse an assistant message that says nothing."""
    found = planned(able(), response_format=OBJECT)

    assert [each["role"] for each in again(found, "", [NOT_JSON]).messages[-2:]] == ["user", "user"]


def test_repair_goes_without_the_tools_that_are_in_the_schemas_way() -> None:
    """A model that takes a schema, only not beside tools, is asked for the schema natively."""
    found = planned(
        able(json_schema=True), tools=FUNCTIONS, response_format=SCHEMA, parallel_tool_calls=False
    )

    request = again(found, "{}", [NOT_JSON])

    assert request.params == {"response_format": SCHEMA}
    assert request.messages[0] == USER


@pytest.mark.parametrize(
    ("abilities", "choice"),
    [
        ({}, "required"),
        ({}, TELL),
        ({"tool_choice_required": Support.NATIVE}, TELL),
    ],
    ids=["required by words", "named by words", "named by requiring"],
)
@pytest.mark.parametrize("has_schema", [False, True], ids=["alone", "beside a schema"])
def test_repair_of_a_missing_call_asks_just_the_same(
    abilities: Json, choice: Any, has_schema: bool
) -> None:
    """The tools stay, and nothing comes in that the first request could not have beside them."""
    wanted = {"response_format": SCHEMA} if has_schema else {}
    found = planned(
        able(json_schema=True, **abilities), tools=FUNCTIONS, tool_choice=choice, **wanted
    )

    assert again(found, "No.", ["it calls no tool"]) == found.request
    assert "response_format" not in found.request.params
