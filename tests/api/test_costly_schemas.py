"""Schemas that would keep the proxy busy for ever: one caller's error, and nobody else's wait."""

from typing import Any, Final

import orjson
import pytest

from tests.api.rig import UPSTREAM_MODEL, Caller, Ringside, rows
from tests.api.test_spending import nothing_is_held
from tests.fakes import FakeUpstream, text_reply

NEVER: Final[Any] = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"items": {"pattern": "(?=(a*)*)b"}}},
}
ANSWER: Final = orjson.dumps(["a" * 4_000] * 99).decode()
MESSAGES: Final = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_answer_that_cannot_be_judged_in_time_is_refused(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, is_stream: bool
) -> None:
    """The caller is told which of its parameters it was; what the model wrote is booked."""
    upstream.enqueue(text_reply(ANSWER))
    body = {"model": UPSTREAM_MODEL, "messages": MESSAGES, "response_format": NEVER}

    answer = await api.post("/v1/chat/completions", body | {"stream": is_stream})

    assert (answer.status, answer.error["code"]) == (400, "schema_too_complex")
    assert answer.error["param"] == "response_format.json_schema.schema"
    await nothing_is_held(ringside)
    assert [row["output_tokens"] > 0 for row in rows(ringside.home, "usage_records")] == [True]


async def test_run_whose_answer_cannot_be_judged_in_time_fails(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """It says why, and its thread is free."""
    upstream.enqueue(text_reply(ANSWER))
    thread = await api.thread("hi")

    run = await api.run(thread, await api.assistant(model=UPSTREAM_MODEL), response_format=NEVER)

    assert run["status"] == "failed"
    assert run["last_error"]["code"] == "invalid_prompt"
    assert "takes too long" in run["last_error"]["message"]
    upstream.enqueue(text_reply("fine"))
    assert (await api.run(thread, run["assistant_id"]))["status"] == "completed"
    await nothing_is_held(ringside)
