"""What events tell is short: ids, a state and numbers, and as much metadata as there is room for."""

from typing import Final

import msgspec
import pytest

from ringside_proxy.domain.outgoing import RunEventData, event_body, event_data

BODY_BYTES_MAX: Final = 20_000
PAIRS_MAX: Final = 16
KEY_CHARS_MAX: Final = 64
VALUE_CHARS_MAX: Final = 512
MODEL_CHARS_MAX: Final = 2_048


def run(metadata: dict[str, str], model: str = "fc:openai/gpt-4o") -> RunEventData:
    """What is told of a run."""
    return RunEventData(
        run_id="run_" + "0" * 24,
        thread_id="thread_" + "0" * 24,
        assistant_id="asst_" + "0" * 24,
        customer="c" * 256,
        status="completed",
        reason=None,
        model=model,
        usage={"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 2 * 10**9},
        cost_usd=12.345678901,
        metadata=metadata,
    )


def full(character: str) -> dict[str, str]:
    """As much metadata as a run may have."""
    keys = [f"{number:02}" + "k" * (KEY_CHARS_MAX - 2) for number in range(PAIRS_MAX)]
    return dict.fromkeys(keys, character * VALUE_CHARS_MAX)


def told(data: RunEventData) -> dict[str, str]:
    """The metadata of the event."""
    metadata: dict[str, str] = msgspec.json.decode(event_data(data))["metadata"]
    return metadata


@pytest.mark.parametrize("character", ["a", "é", "€", "😀", '"', "\x01"])
@pytest.mark.parametrize("model", ["fc:openai/gpt-4o", "fc:x/" + "😀" * (MODEL_CHARS_MAX - 5)])
def test_a_body_is_short_whatever_it_tells(character: str, model: str) -> None:
    """Below 20 kB, in any alphabet; what is left out of metadata is left out as whole pairs."""
    metadata = full(character)

    data = event_data(run(metadata, model))

    body = event_body("evt_" + "0" * 24, "run.requires_action", 1_763_700_000_123, 2**53, data)
    assert len(body) < BODY_BYTES_MAX
    kept = msgspec.json.decode(body)["data"]["metadata"]
    assert kept.items() <= metadata.items()
    assert kept


def test_metadata_in_ascii_is_told_whole() -> None:
    """The usual event leaves nothing out."""
    assert told(run(full("a"))) == full("a")


def test_pairs_have_room_in_their_order() -> None:
    """A long one that has none left makes way for the short ones behind it."""
    metadata = full("\x01") | {"last": "short"}

    kept = list(told(run(metadata)))

    assert kept == [*list(metadata)[: len(kept) - 1], "last"]
