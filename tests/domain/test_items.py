import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.items import (
    BODY_DECODER,
    FunctionCallBody,
    FunctionCallOutputBody,
    InputImage,
    InputText,
    Item,
    MessageBody,
    OutputText,
    Refusal,
    message_object,
    parts_of,
)
from ringside_proxy.domain.messages import (
    ImageUrl,
    ImageUrlPart,
    MessageStatus,
    RefusalPart,
    TextPart,
    TextValue,
)

CITATION = {"type": "file_path", "text": "a", "start_index": 0, "end_index": 1}
PLAIN = TextPart(text=TextValue("Hi"))
NOTED = TextPart(text=TextValue("Hi", [CITATION]))
IMAGE = ImageUrlPart(image_url=ImageUrl(url="https://example.com/a.png", detail="low"))
REFUSED = RefusalPart(refusal="No.")


def message_item(**changes):
    values = {
        "id": "msg_1",
        "role": "assistant",
        "created_ms": 1_700_000_000_999,
        "body": MessageBody([OutputText("Hi")]),
    }
    return Item(**(values | changes))


@pytest.mark.parametrize(
    ("role", "parts"),
    [
        ("user", []),
        ("user", [PLAIN]),
        ("user", [PLAIN, IMAGE, PLAIN]),
        ("assistant", [PLAIN]),
        ("assistant", [NOTED, REFUSED]),
        ("assistant", [REFUSED]),
        ("assistant", [IMAGE]),
    ],
)
def test_parts_come_back_as_they_were_given(role, parts):
    """What a caller writes into a message is what the message shows, in the same order."""
    body = MessageBody(parts_of(role, parts))

    shown = message_object(message_item(role=role, body=body), "thread_1")

    assert (shown.role, shown.content) == (role, parts)


@pytest.mark.parametrize(
    ("role", "part", "kept"),
    [
        ("user", PLAIN, InputText("Hi")),
        ("assistant", PLAIN, OutputText("Hi")),
        ("assistant", NOTED, OutputText("Hi", [CITATION])),
        ("user", IMAGE, InputImage("https://example.com/a.png", "low")),
        ("assistant", REFUSED, Refusal("No.")),
    ],
)
def test_parts_are_kept_in_the_shape_of_responses(role, part, kept):
    """Text is input or output by who wrote it, so that a later surface shows the same rows."""
    assert parts_of(role, [part]) == [kept]


@pytest.mark.parametrize(
    ("status", "reason", "ended_ms", "times", "details"),
    [
        ("in_progress", None, None, (None, None), None),
        ("completed", None, 1_700_000_005_999, (1_700_000_005, None), None),
        (
            "incomplete",
            "max_tokens",
            1_700_000_005_000,
            (None, 1_700_000_005),
            {"reason": "max_tokens"},
        ),
        (
            "incomplete",
            "run_cancelled",
            1_700_000_004_999,
            (None, 1_700_000_004),
            {"reason": "run_cancelled"},
        ),
    ],
)
def test_message_shows_how_it_ended(status, reason, ended_ms, times, details):
    """The end stands under `completed_at` or `incomplete_at`, in whole seconds, with its reason."""
    item = message_item(status=MessageStatus(status), incomplete_reason=reason, ended_ms=ended_ms)

    shown = message_object(item, "thread_1")

    assert shown.status == status
    assert (shown.completed_at, shown.incomplete_at) == times
    assert msgspec.to_builtins(shown.incomplete_details) == details


def test_message_has_every_key_of_the_wire():
    """All keys are written, in the documented order, with nulls where there is nothing."""
    shown = message_object(message_item(run_id="run_1", assistant_id="asst_1"), "thread_1")

    assert json.loads(msgspec.json.encode(shown), object_pairs_hook=list) == [
        ("id", "msg_1"),
        ("object", "thread.message"),
        ("created_at", 1_700_000_000),
        ("assistant_id", "asst_1"),
        ("thread_id", "thread_1"),
        ("run_id", "run_1"),
        ("status", "completed"),
        ("incomplete_details", None),
        ("incomplete_at", None),
        ("completed_at", None),
        ("role", "assistant"),
        ("content", [[("type", "text"), ("text", [("value", "Hi"), ("annotations", [])])]]),
        ("attachments", []),
        ("metadata", []),
    ]


@pytest.mark.parametrize(
    "item",
    [
        message_item(body=FunctionCallBody("f", "{}")),
        message_item(body=FunctionCallOutputBody("x")),
        message_item(role=None),
    ],
)
def test_only_messages_are_shown_as_messages(item):
    """A call, an output or a message of nobody is a mistake of ours, and is told by its id."""
    with pytest.raises(TypeError, match="msg_1 is not a message"):
        message_object(item, "thread_1")


text = st.text(max_size=20)
parts = st.one_of(
    st.builds(InputText, text),
    st.builds(OutputText, text, st.lists(st.just(CITATION), max_size=2)),
    st.builds(InputImage, text, st.sampled_from(["auto", "low", "high"])),
    st.builds(Refusal, text),
)
bodies = st.one_of(
    st.builds(MessageBody, st.lists(parts, max_size=4)),
    st.builds(FunctionCallBody, text, text),
    st.builds(FunctionCallOutputBody, text),
)


@given(bodies)
def test_body_survives_its_column(body):
    """A stored body is read back equal, under the type name that its row carries."""
    stored = msgspec.json.encode(body)

    assert BODY_DECODER.decode(stored) == body
    assert json.loads(stored)["type"] == body.__struct_config__.tag
