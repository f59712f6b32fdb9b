"""What a provider's stream does not say is asked for at its end, and missed by nobody."""

from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.stream import ChatStreamDecoder
from ringside_proxy.providers.types import (
    Delta,
    Epilogue,
    Finish,
    HTTPRequest,
    TextDelta,
    UsageDelta,
)
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    Scripted,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
)
from tests.providers.conftest import Caller

DONE = b"data: [DONE]\n\n"
SAID = stream_reply(chunk({"content": "Hello"}), chunk({}, "stop"), DONE)
HELLO = [TextDelta("Hello"), Finish("stop")]
COUNTED = UsageDelta(TokenUsage(input_tokens=9, output_tokens=4))


def counting(caller: Caller) -> HTTPRequest:
    """A request whose answer is counted elsewhere."""

    def read(body: bytes, end: list[Any]) -> list[Any]:
        found = orjson.loads(body)
        counts = TokenUsage(input_tokens=found["in"], output_tokens=found["out"])
        return [*end, UsageDelta(counts)]

    asked = caller.request(is_stream=True)
    counts = HTTPRequest(
        method="GET",
        url=f"{caller.base_url}/counts",
        headers={"authorization": asked.headers["authorization"]},
    )
    return msgspec.structs.replace(asked, epilogue=Epilogue(counts, read))


async def deltas(caller: Caller, batches_max: int | None = None) -> list[Delta]:
    found: list[Delta] = []
    async with caller.client.stream(
        caller.target, counting(caller), lambda: ChatStreamDecoder("openai", lambda prefix: prefix)
    ) as batches:
        async for batch in batches:
            found += batch
            if batches_max is not None:
                break
    return found


async def test_epilogue_is_part_of_the_answer(caller: Caller, upstream: FakeUpstream) -> None:
    """It comes last, and is one attempt with the rest."""
    upstream.enqueue(SAID, json_reply({"in": 9, "out": 4}))

    assert await deltas(caller) == [*HELLO, COUNTED]
    assert [(r.method, r.path) for r in upstream.requests] == [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/counts"),
    ]
    assert caller.outcomes == ["ok"]


@pytest.mark.parametrize(
    "failure", [error_reply(500), error_reply(404), Scripted([Cut()]), Scripted([b"{", Cut()])]
)
async def test_answer_is_whole_without_it(
    caller: Caller, upstream: FakeUpstream, failure: Scripted
) -> None:
    """The count is estimated then, as for any provider that does not tell."""
    upstream.enqueue(SAID, failure, failure)

    assert await deltas(caller) == HELLO
    assert caller.outcomes == ["ok"]


async def test_it_is_not_asked_of_an_answer_that_failed(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Nor of one that nobody read to its end."""
    upstream.enqueue(
        stream_reply(chunk({"content": "Hello"}), Cut()),
        stream_reply(chunk({"content": "Hello"}), Gate()),
    )

    with pytest.raises(ProviderError):
        await deltas(caller)
    await deltas(caller, batches_max=1)

    assert [r.path for r in upstream.requests] == ["/v1/chat/completions"] * 2
