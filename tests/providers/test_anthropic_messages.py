"""How a conversation is put to Anthropic: turns, parts, calls, thinking, marks for the cache."""

import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from tests.providers.anthropic_rig import (
    BUDGET,
    EPHEMERAL,
    HI,
    STATE,
    THOUGHT,
    F,
    built,
    call,
    called,
    result,
    sent,
    text,
    turns,
    user,
)


@pytest.mark.parametrize(
    ("messages", "system", "roles"),
    [
        ([{"role": "system", "content": "A"}, *HI], ["A"], ["user"]),
        ([{"role": "developer", "content": [text("A"), text("B")]}, *HI], ["A", "B"], ["user"]),
        ([{"role": "system", "content": " "}, *HI], None, ["user"]),
        ([*HI, {"role": "system", "content": "A"}], ["A"], ["user"]),
        ([{"role": "system", "content": "A"}], ["A"], ["user"]),
    ],
)
def test_system_stands_apart(messages, system, roles):
    """What the system says is hoisted, wherever it stands; blank texts are left out."""
    body = sent(messages)

    assert [turn["role"] for turn in body["messages"]] == roles
    assert body.get("system") == (None if system is None else [text(words) for words in system])


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        ("claude-opus-4-8", ["user", "system", "user"]),
        ("claude-opus-5", ["user", "system", "user"]),
        ("claude-opus-5-5", ["user", "system", "user"]),
        ("claude-fable-5", ["user", "system", "user"]),
        ("claude-sonnet-5", ["user"]),
        ("claude-haiku-5-5", ["user"]),
        ("claude-sonnet-5-5", ["user"]),
        ("claude-opus-4-7", ["user"]),
        ("claude-unheard-of-9", ["user"]),
    ],
)
def test_later_system_message_stays_in_place_where_the_model_takes_it(model, roles):
    """Some models take a system message after the user's; for the others it is hoisted."""
    said = [*HI, {"role": "system", "content": "A"}, user("Go on.")]

    assert [role for role, _ in turns(*said, model=model)] == roles


def test_system_message_never_parts_a_call_from_its_results():
    """Between a call and its results, and between results, there is no place for the system."""
    system = {"role": "system", "content": "A"}
    calls = called(call("a"), call("b"))
    said = [*HI, calls, system, result(call_id="a"), system, result(call_id="b")]

    body = sent(said, "claude-opus-5")

    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["system"] == [text("A"), text("A")]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (text("A"), text("A")),
        (text("A", cache_control=EPHEMERAL), text("A", cache_control=EPHEMERAL)),
        (
            {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "high"}},
            {"type": "image", "source": {"type": "url", "url": "https://h/a.png"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AA=="}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="},
            },
        ),
        (
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
                "cache_control": EPHEMERAL,
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                "title": "a.pdf",
                "cache_control": EPHEMERAL,
            },
        ),
    ],
)
def test_user_parts_become_blocks(part, block):
    """Texts, images by address or as data, and PDFs; the mark for the cache is kept."""
    assert turns(user([text(" "), part])) == [("user", [block])]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "file:///a.png"}},
        {"no": "type"},
    ],
)
def test_part_that_cannot_be_sent_is_refused(part):
    """Dropping a part would change the question: it is refused, with its parameter."""
    with pytest.raises(InvalidRequestError) as refusal:
        built([user([part])])

    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", "messages")


def test_turns_begin_and_end_with_the_user_and_alternate():
    """An answer in front gets a question, one at the end is not to be completed, doubles merge."""
    answer = {"role": "assistant", "content": "A"}

    assert turns(answer, user("B"), user("C"), answer) == [
        ("user", [text(".")]),
        ("assistant", [text("A")]),
        ("user", [text("B"), text("C")]),
        ("assistant", [text("A")]),
        ("user", [text("Continue.")]),
    ]


def test_results_stand_together_before_everything_else():
    """All results of a turn's calls are in the message that follows it, before any text."""
    calls = called(call("a"), call("b", "")) | {"content": "I ask."}

    said = turns(
        *HI, calls, result(call_id="a"), result([text("5")], "b"), user("Well?"), model=BUDGET
    )

    assert said[1:] == [
        (
            "assistant",
            [
                text("I ask."),
                {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "b", "name": "f", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "4C"},
                {"type": "tool_result", "tool_use_id": "b", "content": [text("5")]},
                text("Well?"),
            ],
        ),
    ]


@pytest.mark.parametrize("arguments", ["{", "[1]", "1"])
def test_arguments_that_are_no_object_are_wrapped(arguments):
    """What another model wrote as arguments is told as it is, inside an object."""
    said = turns(*HI, called(call(arguments=arguments)), result())

    assert said[1][1][0]["input"] == {"_raw": arguments}


def test_foreign_call_ids_are_mapped_alike_in_call_and_result():
    """An id that is not taken becomes one that is, the same on both sides."""
    said = turns(*HI, called(call("a.b:c")), result(call_id="a.b:c"))

    call_id = said[1][1][0]["id"]
    assert call_id.startswith("call_")
    assert said[2][1][0]["tool_use_id"] == call_id


def test_empty_result_and_refusal_are_told_without_blank_text():
    """A result may be empty; a refusal is what was said; an answer without words is none."""
    refused = {"role": "assistant", "content": None, "refusal": "No."}
    silent = {"role": "assistant", "content": ""}

    said = turns(*HI, refused, user("Do."), silent, called(), result(" "))

    assert said[1] == ("assistant", [text("No.")])
    assert said[3][1][0]["type"] == "tool_use"
    assert said[4] == ("user", [{"type": "tool_result", "tool_use_id": "call_1"}])


def test_history_with_calls_brings_its_tools():
    """Without tools, calls in the history would be refused: theirs stand in, not to be called."""
    body = sent([*HI, called(), result()])

    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_marks_for_the_cache_are_kept_verbatim():
    """On system, tools, parts, messages, calls and results, with their time to live."""
    hour = {"type": "ephemeral", "ttl": "1h"}
    body = sent(
        [
            {"role": "system", "content": "A", "cache_control": hour},
            user([text("B"), text("C")], cache_control=EPHEMERAL),
            called(call(cache_control=EPHEMERAL)),
            result([text("D", cache_control=hour)]),
        ],
        tools=[F],
    )

    assert body["system"] == [text("A", cache_control=hour)]
    first, second, third = (turn["content"] for turn in body["messages"])
    assert first == [text("B"), text("C", cache_control=EPHEMERAL)]
    assert second[0]["cache_control"] == EPHEMERAL
    assert third[0]["cache_control"] == hour
    assert third[0]["content"] == [text("D")]


def test_no_more_marks_than_may_be_sent():
    """Of too many marks the last four stay; one for the whole request counts too."""
    parts = [text(str(i), cache_control=EPHEMERAL) for i in range(6)]

    plain = sent([user(parts)])["messages"][0]["content"]
    whole = sent([user(parts)], cache_control=EPHEMERAL)["messages"][0]["content"]

    assert [block["text"] for block in plain if "cache_control" in block] == ["2", "3", "4", "5"]
    assert [block["text"] for block in whole if "cache_control" in block] == ["3", "4", "5"]


def test_same_question_makes_the_same_bytes():
    """The cache knows prefixes by their bytes: the same request is the same body."""
    asked = {"messages": [*HI, called(), result()], "tools": [F], "reasoning_effort": "low"}

    assert built(**asked).body == built(**asked).body


def test_thinking_goes_back_while_its_turn_goes_on():
    """The thinking that led to a call stands in front of it again."""
    said = turns(*HI, called(provider_state=STATE), result())

    assert [block["type"] for block in said[1][1]] == ["thinking", "tool_use"]
    assert said[1][1][0] == THOUGHT


def test_budget_goes_on_once_its_thinking_is_back():
    """With the thinking of every call of the turn, a budget may be given again."""
    history = [*HI, called(provider_state=STATE), result()]

    body = sent(history, BUDGET, reasoning_effort="low", tools=[F])

    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}


def test_thinking_of_a_turn_that_is_over_stays_here():
    """After the user has spoken again, earlier thinking is not sent."""
    said = turns(*HI, called(provider_state=STATE), result(), user("And now?"))

    assert [block["type"] for block in said[1][1]] == ["tool_use"]


@pytest.mark.parametrize(
    "state",
    [
        {"blocks": [{"type": "text", "chars": 99}, THOUGHT, {"type": "tool_use"}]},
        {"blocks": [{"type": "tool_use"}, THOUGHT, {"type": "tool_use"}]},
    ],
)
def test_thinking_of_a_message_that_has_changed_stands_in_front(state):
    """Where the words or calls are not those that were kept, the order is the usual one."""
    said = turns(*HI, called(provider_state=state, content="I ask."), result())

    assert [block["type"] for block in said[1][1]] == ["thinking", "text", "tool_use"]


@pytest.mark.parametrize("state", [None, 1, [], {}, {"blocks": 1}, {"blocks": [1, {}]}])
def test_state_that_is_none_of_ours_says_nothing(state):
    """Whatever comes back in its place, the message itself goes out."""
    said = turns(*HI, called(provider_state=state, content="I ask."), result())

    assert [block["type"] for block in said[1][1]] == ["text", "tool_use"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([THOUGHT | {"cache_control": EPHEMERAL}], [THOUGHT]),
        (
            [{"type": "redacted_thinking", "data": "x"}],
            [{"type": "redacted_thinking", "data": "x"}],
        ),
        ([{"type": "thinking", "thinking": "unsigned", "signature": ""}], []),
        ([None, {"type": "text", "text": "x"}, {"type": "thinking"}], []),
        ("x", []),
    ],
)
def test_thinking_may_be_given_back_by_the_caller(given, told):
    """In `thinking_blocks`, the public field for it: whole and signed blocks, before the call."""
    answer = called(call()) | {"thinking_blocks": given}

    [*_, (_, blocks), _] = turns(*HI, answer, result())

    assert blocks[:-1] == told
    assert blocks[-1]["type"] == "tool_use"


def test_thinking_that_was_kept_here_wins():
    """It is the same, with the places in which its blocks stood."""
    answer = called(call()) | {"provider_state": STATE, "thinking_blocks": []}

    [*_, (_, blocks), _] = turns(*HI, answer, result())

    assert THOUGHT in blocks
