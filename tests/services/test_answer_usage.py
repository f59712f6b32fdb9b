"""What each upstream attempt consumed, booked once when it ends, however it ends."""

from typing import Final

import pytest

from ringside_proxy.domain.errors import (
    ProviderError,
    ProviderUnavailableError,
    ResponseSchemaValidationFailedError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.client import Timeouts
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    usage,
)
from tests.services.asker import Asker
from tests.services.limited import NATIVE_FORMATS, able, row
from tests.services.rig import Json

SCHEMA: Final[Json] = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "required": ["a"]}},
}
GOOD, BAD = '{"a": 1}', '{"b": 2}'
DONE: Final = b"data: [DONE]\n\n"
STATED: Final = (TokenUsage(input_tokens=9, output_tokens=4), usage(9, 4), None)


async def test_stated_usage_is_booked_with_the_providers_own_words(
    asker: Asker, upstream: FakeUpstream
) -> None:
    """The counts in our form, the object they were read from, and the tier."""
    last = chunk(None, usage=usage(9, 4), service_tier="flex")
    upstream.enqueue(stream_reply(chunk({"content": "Hi"}, "stop"), last, DONE))

    await asker.ask(row())

    assert asker.told == [(STATED[0], usage(9, 4), "flex")]


async def test_each_repair_is_an_attempt_of_its_own(asker: Asker, upstream: FakeUpstream) -> None:
    """The deltas tell the sum, the ledger each call's own."""
    upstream.enqueue(text_reply(BAD), text_reply(BAD), text_reply(GOOD))

    await asker.ask(row(able(**NATIVE_FORMATS)), response_format=SCHEMA)

    assert asker.told == [STATED] * 3
    assert asker.used == TokenUsage(input_tokens=27, output_tokens=12)


async def test_answer_that_never_passes_is_told(asker: Asker, upstream: FakeUpstream) -> None:
    """What is thrown away was consumed all the same."""
    upstream.enqueue(text_reply(BAD))

    with pytest.raises(ResponseSchemaValidationFailedError):
        await asker.ask(row(able(**NATIVE_FORMATS)), repairs_max=0, response_format=SCHEMA)

    assert asker.told == [STATED]


async def test_silent_provider_is_estimated(asker: Asker, upstream: FakeUpstream) -> None:
    """A whole answer without usage is counted by its words, and marked."""
    upstream.enqueue(stream_reply(chunk({"content": "four words or so"}, "stop"), DONE))

    await asker.ask(row())

    [(used, raw, tier)] = asker.told
    assert used.is_estimated
    assert used.input_tokens > 0
    assert 3 <= used.output_tokens <= 5
    assert (raw, tier) == (None, None)
    assert asker.used == used


async def test_answer_that_breaks_off_is_estimated(asker: Asker, upstream: FakeUpstream) -> None:
    """What came before the break was consumed."""
    upstream.enqueue(stream_reply(chunk({"content": "four words or so"}), Cut()))

    with pytest.raises(ProviderError):
        await asker.ask(row())

    [(used, _, _)] = asker.told
    assert used.is_estimated
    assert 3 <= used.output_tokens <= 5


async def test_caller_that_leaves_is_told(asker: Asker, upstream: FakeUpstream) -> None:
    """Closing the answer in its middle ends the attempt, with what had come."""
    upstream.enqueue(stream_reply(chunk({"content": "four words or so"}), Gate()))

    await asker.ask(row(), batches_max=1)

    [(used, _, _)] = asker.told
    assert used.is_estimated
    assert 3 <= used.output_tokens <= 5


async def test_early_count_is_raised_to_what_was_written(
    asker: Asker, upstream: FakeUpstream
) -> None:
    """Some count as they begin: an answer cut later has written more than that."""
    early = chunk({"content": "four words or so"}, usage=usage(9, 1))
    upstream.enqueue(stream_reply(early, Gate()))

    await asker.ask(row(), batches_max=1)

    [(used, raw, _)] = asker.told
    assert (used.input_tokens, used.is_estimated, raw) == (9, True, usage(9, 1))
    assert 3 <= used.output_tokens <= 5


async def test_refused_call_consumes_nothing(asker: Asker, upstream: FakeUpstream) -> None:
    """An error before the first word is an attempt that ended, at no cost."""
    upstream.enqueue(error_reply(500))

    with pytest.raises(ProviderUnavailableError):
        await asker.ask(row())

    assert (asker.told, asker.held) == ([], 0)


async def test_call_that_ran_out_of_time_may_have_been_read(
    asker: Asker, upstream: FakeUpstream
) -> None:
    """A provider that was at work, silently, is taken to have read what it was sent."""
    upstream.enqueue(stream_reply(Gate()))
    asker.timeouts = Timeouts(first_byte_s=0.01)

    with pytest.raises(ProviderError):
        await asker.ask(row())

    [(used, _, _)] = asker.told
    assert used.is_estimated
    assert (used.input_tokens > 0, used.output_tokens) == (True, 0)
