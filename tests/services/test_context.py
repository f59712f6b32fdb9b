"""The thread as the model is shown it: pure, so cases are items in and chat messages out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.items import (
    FunctionCallBody,
    FunctionCallOutputBody,
    InputImage,
    InputText,
    Item,
    ItemPart,
    MessageBody,
    OutputText,
    Refusal,
)
from ringside_proxy.domain.messages import MessageStatus
from ringside_proxy.services.context import (
    IMAGE_TOKENS,
    UNANSWERED,
    chat_messages,
    estimate,
    estimate_request,
    newest_turns,
    turns,
)

ITEM = {"id": "item", "created_ms": 0}


def user(*parts: str | ItemPart) -> Item:
    content: list[ItemPart] = [InputText(part) if isinstance(part, str) else part for part in parts]
    return Item(**ITEM, role="user", body=MessageBody(content))


def assistant(*parts: str | ItemPart) -> Item:
    content: list[ItemPart] = [
        OutputText(part) if isinstance(part, str) else part for part in parts
    ]
    return Item(**ITEM, role="assistant", body=MessageBody(content))


def call(call_id: str, *, step: str | None = "step_1", **fields: Any) -> Item:
    body = FunctionCallBody("f", fields.pop("arguments", "{}"))
    return Item(**ITEM, call_id=call_id, step_id=step, body=body, **fields)


def output(call_id: str, text: str = "done") -> Item:
    return Item(**ITEM, call_id=call_id, body=FunctionCallOutputBody(text))


def chat_call(call_id: str, arguments: str = "{}") -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
    }


def tool(call_id: str, text: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


IMAGE = InputImage("https://example.com/a.png", "low")

CASES: dict[str, tuple[list[Item], list[dict[str, Any]]]] = {
    "nothing": ([], []),
    "one text stays a string": ([user("Hi")], [{"role": "user", "content": "Hi"}]),
    "several parts become a list": (
        [user("See", "this")],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "See"}, {"type": "text", "text": "this"}],
            }
        ],
    ),
    "an image keeps its place and detail": (
        [user("What is it?", IMAGE)],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://example.com/a.png", "detail": "low"},
                    },
                ],
            }
        ],
    ),
    "an image alone is a list": (
        [user(IMAGE)],
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://example.com/a.png", "detail": "low"},
                    }
                ],
            }
        ],
    ),
    "an assistant's parts are joined": (
        [assistant("Hel", "lo")],
        [{"role": "assistant", "content": "Hello"}],
    ),
    "text and calls of a turn are one message": (
        [assistant("Wait."), call("a", arguments='{"x":1}'), call("b"), output("a"), output("b")],
        [
            {
                "role": "assistant",
                "content": "Wait.",
                "tool_calls": [chat_call("a", '{"x":1}'), chat_call("b")],
            },
            tool("a"),
            tool("b"),
        ],
    ),
    "calls without text have no content": (
        [user("Go"), call("a"), output("a", "42")],
        [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
            tool("a", "42"),
        ],
    ),
    "missing arguments are an empty object": (
        [call("a", arguments=""), output("a")],
        [{"role": "assistant", "content": None, "tool_calls": [chat_call("a")]}, tool("a")],
    ),
    "rounds of calls are messages of their own": (
        [call("a"), output("a"), call("b", step="step_2"), output("b")],
        [
            {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
            tool("a"),
            {"role": "assistant", "content": None, "tool_calls": [chat_call("b")]},
            tool("b"),
        ],
    ),
    "a call that nobody answered gets a stub": (
        [call("a"), user("Never mind.")],
        [
            {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
            tool("a", UNANSWERED),
            {"role": "user", "content": "Never mind."},
        ],
    ),
    "an open call at the end gets a stub": (
        [call("a"), call("b"), output("a")],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [chat_call("a"), chat_call("b")],
            },
            tool("a"),
            tool("b", UNANSWERED),
        ],
    ),
    "a run's open call stays apart from the next run's calls": (
        [call("a"), call("b", step="step_2"), output("b"), call("c", step="step_3"), output("c")],
        [
            {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
            tool("a", UNANSWERED),
            {"role": "assistant", "content": None, "tool_calls": [chat_call("b")]},
            tool("b"),
            {"role": "assistant", "content": None, "tool_calls": [chat_call("c")]},
            tool("c"),
        ],
    ),
    "a call that broke off is left out, with its output": (
        [user("Go"), call("a", status=MessageStatus.INCOMPLETE), output("a")],
        [{"role": "user", "content": "Go"}],
    ),
    "an output without its call is left out": (
        [output("a"), user("Hi")],
        [{"role": "user", "content": "Hi"}],
    ),
    "an output that comes twice counts once": (
        [call("a"), output("a", "first"), output("a", "second")],
        [
            {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]},
            tool("a", "first"),
        ],
    ),
    "a refusal stays a refusal": (
        [assistant(Refusal("I "), Refusal("won't."))],
        [{"role": "assistant", "content": None, "refusal": "I won't."}],
    ),
    "text beside a refusal is what is kept": (
        [assistant("Well:", Refusal("no."))],
        [{"role": "assistant", "content": "Well:"}],
    ),
    "an empty answer is left out": (
        [user("Hi"), assistant(), assistant(""), user("Hello?")],
        [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hello?"}],
    ),
}


@pytest.mark.parametrize(("items", "expected"), CASES.values(), ids=CASES)
def test_chat_messages_are_openais(items: list[Item], expected: list[dict[str, Any]]) -> None:
    """Items become the chat that OpenAI's API takes."""
    assert chat_messages(None, items) == expected


@pytest.mark.parametrize("instructions", [None, ""])
def test_chat_messages_without_instructions_have_no_system(instructions: str | None) -> None:
    """No instructions, no system message."""
    assert chat_messages(instructions, [user("Hi")]) == [{"role": "user", "content": "Hi"}]


def test_chat_messages_begin_with_the_instructions() -> None:
    """Instructions are the system message, before everything else."""
    assert chat_messages("Be brief.", [user("Hi")]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


CALL_IDS = st.sampled_from(["a", "b", "c"])
ANY_ITEM = st.one_of(
    st.builds(user, st.sampled_from(["Hi", "Go", ""])),
    st.builds(assistant, st.sampled_from(["Yes", "", Refusal("No")])),
    st.builds(
        call,
        CALL_IDS,
        step=st.sampled_from([None, "step_1", "step_2"]),
        status=st.sampled_from(MessageStatus),
    ),
    st.builds(output, CALL_IDS, st.text(max_size=3)),
)
ANY_ITEMS = st.lists(ANY_ITEM, max_size=12)


@given(ANY_ITEMS)
def test_chat_messages_answer_every_call_once_right_after(items: list[Item]) -> None:
    """Whatever a thread holds, each call is answered exactly once before anybody speaks again."""
    waiting: list[str] = []
    for message in chat_messages(None, items):
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, f"{message} before the answers to {waiting}"
        waiting = [each["id"] for each in message.get("tool_calls", [])]
        assert len(set(waiting)) == len(waiting)
        assert message.get("tool_calls") != []
    assert not waiting


@given(ANY_ITEMS)
def test_chat_messages_keep_the_order(items: list[Item]) -> None:
    """Users' messages and complete calls come through all, in the thread's order."""
    expected: list[str] = []
    for item in items:
        if item.role == "user":
            expected.append("user")
        elif isinstance(item.body, FunctionCallBody) and item.status is MessageStatus.COMPLETED:
            expected.append(item.call_id or "")

    found: list[str] = []
    for message in chat_messages(None, items):
        found += ["user"] if message["role"] == "user" else []
        found += [each["id"] for each in message.get("tool_calls", [])]

    assert found == expected


def test_turns_begin_with_a_message() -> None:
    """Calls and outputs belong to the message before them; what precedes all is a turn too."""
    stray, first, second = output("x"), [user("Hi")], [assistant("Wait."), call("a"), output("a")]

    assert turns([stray, *first, *second]) == [[stray], first, second]


def test_newest_turns_are_those_that_fit() -> None:
    """Old turns go, whole, as soon as the next one would be too much."""
    old, middle, new = user("o" * 400), user("m" * 400), user("n" * 400)
    room = estimate([middle, new])

    assert newest_turns([old, middle, new], room) == [middle, new]
    assert newest_turns([old, middle, new], room - 1) == [new]


def test_newest_turns_always_hold_the_last() -> None:
    """A last turn that is too long by itself is still shown."""
    assert newest_turns([user("old"), user("n" * 4000)], 1) == [user("n" * 4000)]


@given(ANY_ITEMS, st.integers(min_value=0, max_value=60))
def test_newest_turns_never_split_a_turn(items: list[Item], room: int) -> None:
    """What is kept is a tail of whole turns: a call never loses its output."""
    kept = newest_turns(items, room)

    tails = [
        [item for turn in turns(items)[start:] for item in turn]
        for start in range(len(turns(items)) + 1)
    ]
    assert kept in tails
    assert bool(kept) == bool(items)
    assert estimate(kept) <= room or kept == (turns(items) or [[]])[-1]


def test_image_is_about_as_large_however_it_is_given():
    """The bytes of an image are no text: twenty megabytes are not millions of tokens."""

    def asking(url: str) -> list[Any]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}] * 2}]

    by_address = estimate_request(asking("https://example.com/a.png"), [])
    as_data = estimate_request(asking("data:image/png;base64," + "A" * 10**6), [])

    assert by_address == as_data
    assert 2 * IMAGE_TOKENS < as_data < 2 * IMAGE_TOKENS + 50
