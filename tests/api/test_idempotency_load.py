"""Many keys, each sent three times at once: one call to the provider for each, and equal answers."""

import asyncio
from collections import Counter
from typing import Any, Final

import orjson
import pytest

from tests.api.rig import UPSTREAM_MODEL, Answer, Caller, Ringside, rows
from tests.fakes import Scripted, text_reply
from tests.faults.sizes import TIMEOUT_S, size

Json = dict[str, Any]

KEYS: Final = size("keys")
AT_ONCE: Final = 32
TIMES: Final = 3


def said(body: bytes) -> Any:
    """What an answer says, however many pieces it came in; its shape is looked at elsewhere."""
    if body.startswith(b"{"):
        return body
    if body.startswith(b"event: "):
        return [frame for frame in body.split(b"\n\n") if b".delta\n" not in frame]
    *frames, done, _ = body.split(b"\n\n")
    chunks = [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]
    texts = [each["choices"][0]["delta"].get("content") or "" for each in chunks]
    return chunks[0]["id"], "".join(texts), chunks[-1], done


@pytest.mark.timeout(TIMEOUT_S)
async def test_each_key_is_one_call_to_the_provider(ringside: Ringside, api: Caller) -> None:
    """Of three requests at once one is carried out; the others are told to wait, then the same."""
    assistant, calls = await api.assistant(model=UPSTREAM_MODEL), Counter[str]()

    def answer(body: Json) -> Scripted:
        question = body["messages"][-1]["content"]
        calls[question] += 1
        return text_reply(f"answer {calls.total()} to {question}")(body)

    ringside.upstream.enqueue(*[answer] * (KEYS * TIMES))
    slots = asyncio.Semaphore(AT_ONCE)

    async def use(number: int) -> None:
        path, body = request(number, assistant)
        headers = api.headers | {"Idempotency-Key": f"key-{number}"}

        async def ask() -> Answer:
            async with api.session.post(api.url + path, data=body, headers=headers) as response:
                return Answer(response.status, response.headers, await response.read())

        async with slots:
            answers = await asyncio.gather(*(ask() for _ in range(TIMES)))
            waiting = [each for each in answers if each.status == 409]
            answers = [each for each in answers if each.status == 200]
            answers += [await ask() for _ in waiting]
        assert {each.error["code"] for each in waiting} <= {"idempotency_in_progress"}
        assert [each.status for each in answers] == [200] * TIMES
        assert ["idempotent-replayed" in each.headers for each in answers].count(False) == 1
        first, *others = (said(each.body) for each in answers)
        assert others == [first] * (TIMES - 1)

    async with asyncio.TaskGroup() as tasks:
        for number in range(KEYS):
            tasks.create_task(use(number))

    assert calls == dict.fromkeys((f"question {number}" for number in range(KEYS)), 1)
    assert len(rows(ringside.home, "runs")) == len(range(2, KEYS, 3))


def request(number: int, assistant: str) -> tuple[str, bytes]:
    """A chat, a streamed chat, or a streamed run with its thread; each with its own question."""
    question = [{"role": "user", "content": f"question {number}"}]
    if number % 3 == 2:
        body = {"assistant_id": assistant, "thread": {"messages": question}, "stream": True}
        return "/v1/threads/runs", orjson.dumps(body)
    body = {"model": UPSTREAM_MODEL, "messages": question, "stream": number % 3 == 1}
    return "/v1/chat/completions", orjson.dumps(body)
