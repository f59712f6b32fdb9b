"""Idempotency-Key: a POST that comes again is not carried out again."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from ringside_proxy.api.routes import ROUTES, Route
from ringside_proxy.services.idempotency import UNHEARD_MAX
from ringside_proxy.settings.schema import ProviderSettings, SlotSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import (
    ANSWER_S_MAX,
    CLIENT_A,
    FUNCTION,
    UPSTREAM_MODEL,
    Answer,
    Caller,
    Ringside,
    path_of,
    rows,
    serving,
)
from tests.api.tenants import WEBHOOK
from tests.conformance.stream import check_chat_stream
from tests.fakes import (
    FakeClock,
    FakeUpstream,
    Gate,
    Reset,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
)

Json = dict[str, Any]

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "hi"}]
BODY: Final = {"model": UPSTREAM_MODEL, "messages": MESSAGES}
REFUSAL: Final = stream_reply(
    chunk({"role": "assistant", "content": None, "refusal": "I "}),
    chunk({"refusal": "won't"}),
    chunk({}, "stop"),
    b"data: [DONE]\n\n",
)
STREAM: Final = BODY | {"stream": True}
MIB: Final = 1024 * 1024
POSTS: Final = [route for route in ROUTES if route.method == "POST"]
EVERY_POST: Final = pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)


def keyed(key: str = "key-1") -> dict[str, str]:
    """The header."""
    return {"Idempotency-Key": key}


async def twice(api: Caller, path: str, body: Any = None, key: str = "key-1") -> list[Answer]:
    """The same request two times, the second when the first is answered."""
    return [await api.post(path, body, headers=keyed(key)) for _ in range(2)]


def is_replayed(answer: Answer) -> bool:
    """Whether the answer says that it is not a new one."""
    return answer.headers.get("idempotent-replayed") == "true"


def forget_answers(home: Path, boot: str = "boot_of_before") -> None:
    """Leave every key as a process that died before it answered would have left it."""
    with closing(sqlite3.connect(home / "ringside.db", timeout=5)) as connection, connection:
        connection.execute(
            "UPDATE idempotency_keys SET state = 'running', boot = ?, status = NULL, "
            "content_type = NULL, headers = NULL, body = NULL",
            (boot,),
        )


# ------------------------------------------------------------------------------ what makes a key


@pytest.mark.parametrize("key", ["", '""', '"open', "k" * 256, "a\tb", "k\xe4y", '"a"b"'])
async def test_a_key_that_is_none_is_400_and_nothing_happens(
    ringside: Ringside, api: Caller, key: str
) -> None:
    """It has 1 to 255 printable ASCII characters, bare or in double quotes."""
    answer = await api.post("/v1/threads", {}, headers=keyed(key))

    assert (answer.status, answer.error["code"]) == (400, "invalid_idempotency_key")
    assert answer.error["type"] == "invalid_request_error"
    assert rows(ringside.home, "conversations") == []


async def test_a_key_may_be_quoted(api: Caller) -> None:
    """With quotes, as the header's draft standard writes it, or without: it is the same key."""
    bare = await api.post("/v1/threads", {}, headers=keyed("a b"))
    quoted = await api.post("/v1/threads", {}, headers=keyed('"a b"'))

    assert quoted.body == bare.body
    assert is_replayed(quoted)


async def test_a_key_counts_for_one_token_and_one_path(api: Caller, client_a: Caller) -> None:
    """Another caller, and another route, may use the same key for what is theirs."""
    thread = await api.thread()
    answers = [
        await api.post("/v1/threads", {}, headers=keyed()),
        await client_a.post("/v1/threads", {}, headers=keyed()),
        await api.post(f"/v1/threads/{thread}", {}, headers=keyed()),
        await api.post("/v1/threads", {}, headers=keyed("key-2")),
    ]

    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 4
    assert not any(map(is_replayed, answers))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/threads", b'{"metadata": {"a": "c"}}'),
        ("/v1/threads", b'{"metadata":{"a":"b"}}'),
        ("/v1/threads", b""),
        ("/v1/threads?x=1", b'{"metadata": {"a": "b"}}'),
    ],
)
async def test_a_key_with_another_request_is_422(api: Caller, path: str, body: bytes) -> None:
    """Other bytes or another query under a known key are a mistake of the caller, and not done."""
    await api.post("/v1/threads", data=b'{"metadata": {"a": "b"}}', headers=keyed())

    answer = await api.post(path, data=body, headers=keyed())

    assert (answer.status, answer.error["code"]) == (422, "idempotency_key_reused")
    assert answer.error["type"] == "idempotency_error"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_other_methods_do_not_mind_the_header(
    ringside: Ringside, api: Caller, method: str
) -> None:
    """Whatever it holds: they change nothing when they are repeated."""
    thread = await api.thread()

    answer = await api.call(method, f"/v1/threads/{thread}", headers=keyed(""))

    assert answer.status == 200
    assert rows(ringside.home, "idempotency_keys") == []


async def test_only_who_sends_a_key_pays_for_it(ringside: Ringside, api: Caller) -> None:
    """A request without the header is one write, as ever; one with it is three."""

    async def writes(headers: dict[str, str]) -> int:
        before = await committed(ringside)
        await api.post("/v1/threads", {}, headers=headers)
        return await committed(ringside) - before

    # The sweeper writes too, now and then: not every time.
    without = min([await writes({}) for _ in range(5)])
    with_key = min([await writes(keyed(f"key-{number}")) for number in range(5)])

    assert (without, with_key) == (1, 3)


async def committed(ringside: Ringside) -> int:
    """How many writes were made so far."""
    metrics = (await ringside.admin("/metrics")).body.decode()
    [line] = [line for line in metrics.splitlines() if line.startswith("ringside_store_tx_total")]
    return round(float(line.split()[1]))


# ------------------------------------------------------------------------------------- in flight


async def test_while_it_is_answered_the_key_is_409(api: Caller, upstream: FakeUpstream) -> None:
    """The SDK is asked to come again in a second, and does by itself; the model is asked once."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "x"}, "stop")))
    first = asyncio.ensure_future(api.post(CHAT, STREAM, headers=keyed()))
    await gate.reached.wait()

    answer = await api.post(CHAT, STREAM, headers=keyed())
    gate.release()
    await first

    assert (answer.status, answer.error["code"]) == (409, "idempotency_in_progress")
    assert answer.error["type"] == "idempotency_error"
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "1000")
    assert "x-should-retry" not in answer.headers
    assert len(upstream.requests) == 1


async def test_of_many_at_once_one_is_carried_out(api: Caller, upstream: FakeUpstream) -> None:
    """However many come together, one is answered and the others wait for it."""
    upstream.enqueue(text_reply("Hello"))

    answers = await asyncio.gather(*(api.post(CHAT, BODY, headers=keyed()) for _ in range(20)))
    again = await api.post(CHAT, BODY, headers=keyed())

    served = [answer for answer in answers if answer.status == 200]
    assert {answer.body for answer in served} == {again.body}
    assert [is_replayed(answer) for answer in served].count(False) == 1
    assert {a.error["code"] for a in answers if a.status != 200} <= {"idempotency_in_progress"}
    assert len(upstream.requests) == 1


# ------------------------------------------------------------------------------------- done


@pytest.fixture
async def ids(api: Caller, upstream: FakeUpstream) -> dict[str, str]:
    """Objects to call routes on; the run waits for the outputs of its call."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "look_up", "{}")]))
    assistant = await api.assistant(model=UPSTREAM_MODEL, tools=[FUNCTION])
    thread = await api.thread("hello")
    run = await api.run(thread, assistant)
    webhook = await api.make("/v1/webhooks", WEBHOOK)
    ping = await api.make(f"/v1/webhooks/{webhook['id']}/test")
    return {
        "webhook_id": webhook["id"],
        "delivery_id": ping["id"],
        "assistant_id": assistant,
        "thread_id": thread,
        "run_id": run["id"],
        "customer_id": "customer_2",
        "free_thread": await api.thread("hello"),
        "message_id": (await api.get(f"/v1/threads/{thread}/messages")).json["data"][0]["id"],
    }


def call_on(route: Route, ids: dict[str, str]) -> tuple[str, Any]:
    """A path and a body that the route accepts."""
    assistant = {"assistant_id": ids["assistant_id"]}
    bodies: dict[str, Any] = {
        "/v1/assistants": {"model": UPSTREAM_MODEL},
        "/v1/threads/runs": assistant | {"thread": {"messages": MESSAGES}},
        "/v1/threads/{thread_id}/messages": MESSAGES[0],
        "/v1/threads/{thread_id}/runs": assistant,
        "/v1/chat/completions": BODY,
        "/v1/embeddings": {"model": "fc:sandbox/embed", "input": "x"},
        "/v1/tokens": {"name": "new"},
        "/v1/customers": {"id": "customer_1"},
        "/v1/customers/{customer_id}": {"metadata": {"changed": "yes"}, "name": "Ada"},
        "/v1/wallet/top_ups": {"amount_usd": 5},
        "/v1/webhooks": WEBHOOK,
        "/v1/webhooks/{webhook_id}/replay": {"from": 0},
    }
    is_new = route.path in (
        "/v1/threads/{thread_id}/messages",
        "/v1/threads/{thread_id}/runs",
    )
    if is_new:
        ids = ids | {"thread_id": ids["free_thread"]}
    if route.path.endswith("/submit_tool_outputs"):
        return path_of(route, ids), {
            "tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": "1"}]
        }
    if route.path.endswith("/cancel"):
        return path_of(route, ids), None
    return path_of(route, ids), bodies.get(route.path, {"metadata": {"changed": "yes"}})


@EVERY_POST
async def test_every_post_is_carried_out_once(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, ids: dict[str, str], route: Route
) -> None:
    """The second answer is the first one, and nothing happened in between."""
    upstream.enqueue(text_reply("one"), text_reply("two"))
    path, body = call_on(route, ids)
    first = await api.post(path, body, headers=keyed())
    await idle(ringside)
    counted = tables(ringside.home)

    again = await api.post(path, body, headers=keyed())

    assert first.status == 200
    if route.shows_secret:
        assert (again.status, again.error["code"]) == (409, "idempotency_answer_not_kept")
        assert f" ({first.json['id']})," in again.error["message"]
    else:
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers.get("x-ringside-model") == first.headers.get("x-ringside-model")
        assert (is_replayed(first), is_replayed(again)) == (False, True)
    assert tables(ringside.home) == counted


@EVERY_POST
async def test_every_post_that_was_cut_off_is_not_carried_out_again(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, ids: dict[str, str], route: Route
) -> None:
    """Its object is shown as it is now; what only a provider knows is lost, and said to be."""
    upstream.enqueue(text_reply("one"), text_reply("two"))
    path, body = call_on(route, ids)
    first = await api.post(path, body, headers=keyed())
    await idle(ringside)
    forget_answers(ringside.home)
    counted = tables(ringside.home)

    again = await api.post(path, body, headers=keyed())

    if route.path in (CHAT, "/v1/embeddings"):
        assert (again.status, again.error["code"]) == (409, "idempotency_outcome_unknown")
        assert again.headers["x-should-retry"] == "false"
    elif route.shows_secret or route.path.endswith("/replay"):
        assert (again.status, again.error["code"]) == (409, "idempotency_answer_not_kept")
    else:
        assert (again.status, is_replayed(again)) == (200, True)
        assert again.json["id"] == first.json["id"]
        assert again.json["object"] == first.json["object"]
    assert tables(ringside.home) == counted


def tables(home: Path) -> dict[str, int]:
    """How many rows everything has that calls make."""
    names = ("assistants", "conversations", "items", "runs", "api_tokens", "idempotency_keys")
    names += ("customers", "wallet_transactions", "webhooks", "events", "deliveries")
    return {name: len(rows(home, name)) for name in names}


async def idle(ringside: Ringside) -> None:
    """Until nothing is worked on."""
    services = ringside.proxy.services
    async with asyncio.timeout(ANSWER_S_MAX):
        await services.idempotency.idle.wait()
        await services.live_runs.idle.wait()


async def test_a_secret_is_never_stored(ringside: Ringside, api: Caller) -> None:
    """The second answer says which token was made, and that it cannot be shown again."""
    made, again = await twice(api, "/v1/tokens", {"name": "x"})

    [row] = rows(ringside.home, "idempotency_keys")
    assert (row["state"], row["body"], row["resource"]) == ("done", None, made.json["id"])
    assert made.json["id"] in again.error["message"]
    assert again.headers["x-should-retry"] == "false"
    assert len((await api.get("/v1/tokens")).json["data"]) == 4


async def test_an_answer_is_given_again_for_24_hours(tmp_path: Path) -> None:
    """From then on the key is a new one."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        first = await ringside.developer.post("/v1/threads", {}, headers=keyed())
        clock.advance(24 * 3600 - 1)
        last = await ringside.developer.post("/v1/threads", {}, headers=keyed())
        clock.advance(1)
        new = await ringside.developer.post("/v1/threads", {}, headers=keyed())

    assert last.body == first.body
    assert new.json["id"] != first.json["id"]


async def test_a_large_answer_is_made_again(api: Caller) -> None:
    """An object of more than 1 MiB is not stored twice: it is shown as it is."""
    thread = await api.thread()
    body = {"role": "user", "content": [{"type": "text", "text": "x" * 250_000}] * 5}
    raw, path = orjson.dumps(body), f"/v1/threads/{thread}/messages"
    first = await api.post(path, data=BytesIO(raw), headers=keyed())
    await api.post(f"{path}/{first.json['id']}", {"metadata": {"a": "b"}})

    again = await api.post(path, data=BytesIO(raw), headers=keyed())

    assert len(first.body) > MIB
    assert again.json == first.json | {"metadata": {"a": "b"}}
    assert is_replayed(again)


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_a_large_completion_is_not_kept(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, body: Json
) -> None:
    """Nothing can make it again but the model, which is not asked twice under one key."""
    upstream.enqueue(text_reply(" ".join(["x" * (MIB // 4)] * 4)))

    first, again = await twice(api, CHAT, body)

    assert first.status == 200
    assert (again.status, again.error["code"]) == (409, "idempotency_answer_not_kept")
    assert again.headers["x-should-retry"] == "false"
    assert [row["body"] for row in rows(ringside.home, "idempotency_keys")] == [None]
    assert len(upstream.requests) == 1


async def test_what_is_gone_since_is_not_found(ringside: Ringside, api: Caller) -> None:
    """An object that has to be shown as it is, and was deleted, is 404 in OpenAI's words."""
    first = await api.post("/v1/assistants", {"model": UPSTREAM_MODEL}, headers=keyed())
    forget_answers(ringside.home)
    await api.delete(f"/v1/assistants/{first.json['id']}")

    again = await api.post("/v1/assistants", {"model": UPSTREAM_MODEL}, headers=keyed())

    assert again.status == 404
    assert again.error["message"] == f"No assistant found with id '{first.json['id']}'."


async def test_a_run_is_shown_as_it_is_after_a_crash(ringside: Ringside, api: Caller) -> None:
    """The run that was made is the one that is answered, whatever it has come to."""
    thread, assistant = await api.thread("hi"), await api.assistant()
    path, body = f"/v1/threads/{thread}/runs", {"assistant_id": assistant}
    first = await api.post(path, body, headers=keyed())
    await idle(ringside)
    forget_answers(ringside.home)

    again = await api.post(path, body, headers=keyed())

    assert (first.json["status"], again.json["status"]) == ("queued", "completed")
    assert again.headers["x-ringside-model"] == first.headers["x-ringside-model"]


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (error_reply(400, "context_length_exceeded"), 400),
        (error_reply(401, "invalid_api_key"), 502),
        (error_reply(429, "rate_limit_exceeded"), 429),
        (error_reply(500), 503),
        (error_reply(504), 504),
    ],
)
async def test_an_error_from_a_provider_is_given_again(
    api: Caller, upstream: FakeUpstream, reply: Any, status: int, body: Json
) -> None:
    """The call went out and may have been paid for: it is not made a second time under its key."""
    upstream.enqueue(reply)

    first, again = await twice(api, CHAT, body)

    assert (first.status, again.status) == (status, status)
    assert again.body == first.body
    assert is_replayed(again)
    for name in ("x-should-retry", "retry-after", "retry-after-ms"):
        assert again.headers.get(name) == first.headers.get(name)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, {"model": "gpt-4o", "messages": MESSAGES}, 400),
        (CHAT, BODY | {"n": "many"}, 400),
        ("/v1/threads", {"metadata": 1}, 400),
        ("/v1/threads/thread_x/runs", {"assistant_id": "asst_x"}, 404),
        ("/v1/threads/{busy}/runs", {"assistant_id": "{assistant}"}, 409),
        ("/v1/threads/{busy}/messages", MESSAGES[0], 400),
    ],
)
async def test_what_was_refused_before_anything_happened_is_asked_anew(
    ringside: Ringside, api: Caller, path: str, body: Json, status: int
) -> None:
    """No row is left: the caller may mend what was wrong and use the key again."""
    assistant, thread = await api.assistant(model="fc:sandbox/hang"), await api.thread("hi")
    await api.begin(thread, assistant)
    if body.get("assistant_id") == "{assistant}":
        body = body | {"assistant_id": assistant}

    answers = await twice(api, path.replace("{busy}", thread), body)

    assert [answer.status for answer in answers] == [status, status]
    assert not any(map(is_replayed, answers))
    assert rows(ringside.home, "idempotency_keys") == []


async def test_a_refused_body_leaves_the_key_unused(tmp_path: Path) -> None:
    """What is not read whole (too large, too slow, no token) never had a key."""
    async with serving(tmp_path, body_s_max=0.05) as ringside:
        api = ringside.developer

        async def never() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(1)

        slow = await api.post("/v1/threads", data=never(), headers=keyed())
        nobody = await api.using(None).post("/v1/threads", {}, headers=keyed())
        after = await api.post("/v1/threads", {}, headers=keyed())

    assert (slow.status, nobody.status, after.status) == (408, 401, 200)
    assert not is_replayed(after)


@contextmanager
def nobody_there() -> Iterator[str]:
    """An address where every connection is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


GROQ: Final = "fc:groq/llama-3.3-70b-versatile"


@pytest.mark.parametrize("body", [BODY, STREAM, BODY | {"tools": [FUNCTION], "n": 1}])
@pytest.mark.parametrize(
    ("models", "status", "is_kept"),
    [
        ([GROQ], 503, False),
        ([GROQ, UPSTREAM_MODEL], 503, True),
        ([UPSTREAM_MODEL, GROQ], 503, True),
    ],
)
async def test_an_error_of_a_call_that_never_went_out_is_not_kept(
    tmp_path: Path, models: list[str], status: int, is_kept: bool, body: Json
) -> None:
    """No provider could be reached with it: it is tried anew, unless one of a slot's models was."""
    with nobody_there() as address:
        nobody = ProviderSettings(api_key=Secret("k"), base_url=address, max_retries=0)
        slot = SlotSettings(model=models[0], fallbacks=tuple(models[1:]))
        async with serving(
            tmp_path, slots={"s": slot}, more_providers={"groq": nobody}
        ) as ringside:
            ringside.upstream.enqueue(error_reply(500), text_reply("hi"))

            first, again = await twice(ringside.developer, CHAT, body | {"model": "slot:s"})

            assert (first.status, again.status) == (status, status)
            assert is_replayed(again) is is_kept
            assert bool(rows(ringside.home, "idempotency_keys")) is is_kept


async def test_what_a_breaker_did_not_let_through_is_asked_anew(tmp_path: Path) -> None:
    """Its 503 says when to try again: then the provider has to be asked."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        api, upstream = ringside.developer, ringside.upstream
        upstream.enqueue(*[error_reply(500)] * 10, text_reply("hi"))
        for _ in range(10):
            await api.post(CHAT, BODY)
        refused = await api.post(CHAT, BODY, headers=keyed())
        assert (refused.status, len(upstream.requests)) == (503, 10)
        clock.advance(float(refused.headers["retry-after"]))

        again = await api.post(CHAT, BODY, headers=keyed())

    assert (again.status, is_replayed(again)) == (200, False)


async def test_an_error_of_ours_after_the_call_is_given_again(
    api: Caller, upstream: FakeUpstream
) -> None:
    """An answer that meets no schema was paid for: the 422 stands, with what was said."""
    upstream.enqueue(*[text_reply("not json")] * 3)
    schema = {"name": "s", "schema": {"type": "object"}}
    body = BODY | {"response_format": {"type": "json_schema", "json_schema": schema}}

    first, again = await twice(api, CHAT, body)

    assert (first.status, first.error["content"]) == (422, "not json")
    assert again.body == first.body
    assert len(upstream.requests) == 3


# ------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("asks_for_usage", [True, False])
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (text_reply("Hello to you"), {"content": "Hello to you"}),
        (tool_reply([("call_aaaaaaaa", "f", '{"a":1}')], "One moment"), {"content": "One moment"}),
        (
            REFUSAL,
            {"refusal": "I won't"},
        ),
    ],
)
async def test_a_streamed_completion_is_told_again_in_short(
    api: Caller, upstream: FakeUpstream, reply: Any, said: Json, asks_for_usage: bool
) -> None:
    """Role, everything it said in one chunk, end, usage if asked for, and `[DONE]`."""
    upstream.enqueue(reply)
    options = {"stream_options": {"include_usage": True}} if asks_for_usage else {}

    first, again = await twice(api, CHAT, STREAM | options)

    told, chunks = check_chat_stream(first.body), check_chat_stream(again.body)
    has_usage = any(each.get("usage") for each in told)
    assert len(chunks) == 4 if has_usage else 3
    assert chunks[1]["choices"][0]["delta"].items() >= said.items()
    assert chunks[-1] == told[-1]
    assert {each["id"] for each in chunks} == {each["id"] for each in told}
    assert is_replayed(again)
    for name in ("content-type", "cache-control", "x-accel-buffering", "x-ringside-model"):
        assert again.headers[name] == first.headers[name]
    assert len(upstream.requests) == 1


async def test_a_key_changes_nothing_about_the_first_answer(
    api: Caller, upstream: FakeUpstream
) -> None:
    """Streamed with a key or without: the same frames, byte for byte."""
    upstream.enqueue(text_reply("Hello to you"), text_reply("Hello to you"))

    without = await api.post(CHAT, STREAM)
    with_key = await api.post(CHAT, STREAM, headers=keyed())

    assert with_key.body == without.body


async def test_a_stream_that_broke_breaks_again(api: Caller, upstream: FakeUpstream) -> None:
    """What came of it is given again: what was said, and the error; not a second call."""
    upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": "Hel"}), Reset()))

    first, again = await twice(api, CHAT, STREAM)

    assert first.body.splitlines()[-2].startswith(b'data: {"error"')
    assert again.body.splitlines()[-2] == first.body.splitlines()[-2]
    assert b"Hel" in again.body
    assert b"[DONE]" not in again.body
    assert len(upstream.requests) == 1


# ------------------------------------------------------------------------------ clients that leave


@asynccontextmanager
async def listening(api: Caller, body: Json, key: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A call whose client leaves at the end of the block."""
    async with api.session.post(
        api.url + CHAT, data=orjson.dumps(body), headers=api.headers | keyed(key)
    ) as response:
        yield response
        response.close()


async def test_a_stream_that_nobody_hears_is_read_to_its_end(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Its client finds the whole answer when it comes again; the provider was asked once."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(
            chunk({"role": "assistant", "content": "Hel"}), gate, chunk({"content": "lo"}, "stop")
        )
    )
    async with listening(api, STREAM, "key-1") as response:
        await response.content.readany()
        await gate.reached.wait()
    await left(ringside)
    meanwhile = await api.post(CHAT, STREAM, headers=keyed())
    gate.release()
    await idle(ringside)

    again = await api.post(CHAT, STREAM, headers=keyed())

    assert meanwhile.error["code"] == "idempotency_in_progress"
    assert check_chat_stream(again.body)[1]["choices"][0]["delta"]["content"] == "Hello"
    assert not upstream.requests[0].gone.is_set()
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_a_call_that_nobody_waits_for_is_answered(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, body: Json
) -> None:
    """Also a client that left before the first byte finds its answer."""
    gate = Gate()
    upstream.enqueue(lambda asked: held(text_reply("Hello"), gate, asked))
    calling = asyncio.ensure_future(api.post(CHAT, body, headers=keyed()))
    await gate.reached.wait()
    calling.cancel()
    await left(ringside)
    gate.release()
    await idle(ringside)

    again = await api.post(CHAT, body, headers=keyed())

    assert (again.status, is_replayed(again)) == (200, True)
    assert b"Hello" in again.body
    assert len(upstream.requests) == 1


def held(reply: Any, gate: Gate, asked: Json) -> Any:
    """A reply that waits for the test before it begins."""
    scripted = reply(asked)
    scripted.steps = [gate, *scripted.steps]
    return scripted


async def test_only_so_many_go_on_unheard(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The next one is cut off like any other call, and its key says that its outcome is unknown."""
    gates = [Gate() for _ in range(UNHEARD_MAX + 1)]
    for number, gate in enumerate(gates):
        upstream.enqueue(
            stream_reply(chunk({"content": "x"}), gate, chunk({"content": "y"}, "stop"))
        )
        async with listening(api, STREAM, f"key-{number}") as response:
            await response.content.readany()
            await gate.reached.wait()
        await left(ringside)
    async with asyncio.timeout(ANSWER_S_MAX):
        await upstream.requests[-1].gone.wait()
    for gate in gates:
        gate.release()
    await idle(ringside)

    answers = [
        await api.post(CHAT, STREAM, headers=keyed(f"key-{number}")) for number in range(len(gates))
    ]

    *heard, unknown = answers
    assert {(answer.status, is_replayed(answer)) for answer in heard} == {(200, True)}
    assert (unknown.status, unknown.error["code"]) == (409, "idempotency_outcome_unknown")
    assert not any(request.gone.is_set() for request in upstream.requests[:-1])
    assert len(upstream.requests) == len(gates)


async def test_a_stop_ends_what_nobody_hears(tmp_path: Path) -> None:
    """It does not outlive the process; the next one says that the outcome is unknown."""
    async with serving(tmp_path) as ringside:
        gate = Gate()
        ringside.upstream.enqueue(stream_reply(chunk({"content": "x"}), gate))
        async with listening(ringside.developer, STREAM, "key-1") as response:
            await response.content.readany()
        await left(ringside)

    async with serving(tmp_path) as ringside:
        answer = await ringside.developer.post(CHAT, STREAM, headers=keyed())

    assert (answer.status, answer.error["code"]) == (409, "idempotency_outcome_unknown")


async def left(ringside: Ringside) -> None:
    """Until the proxy has noticed that its clients have left."""
    async with asyncio.timeout(ANSWER_S_MAX):
        await ringside.proxy.traffic.idle.wait()


async def test_a_client_s_key_is_not_another_s(api: Caller) -> None:
    """The same key and body by two callers are two threads, each its owner's."""
    ours = await api.post("/v1/threads", {}, headers=keyed())
    theirs = await api.using(CLIENT_A).post("/v1/threads", {}, headers=keyed())

    assert ours.json["id"] != theirs.json["id"]
