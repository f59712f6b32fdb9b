"""What the proxy makes up for over HTTP: formats, forced calls, single calls, and providers' state."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Provider, Support
from ringside_proxy.services.sweeper import Sweeper
from ringside_proxy.settings.schema import StructuredOutputSettings
from tests.api.rig import CLIENT_A, CLIENT_B, UPSTREAM_MODEL, Answer, Ringside, rows, serving
from tests.conformance.stream import check_chat_stream
from tests.fakes import (
    FakeClock,
    FakeUpstream,
    Scripted,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
)
from tests.services.limited import Stateful, able, row, state

Json = dict[str, Any]

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "hi"}]
OPENAI: Final = PROVIDERS["openai"]
SCHEMA: Final[Json] = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "required": ["a"]}},
}
OBJECT: Final[Json] = {"type": "json_object"}
GOOD, BAD, WORSE = '{"a": 1}', '{"b": 2}', "I am not JSON"
DONE: Final = b"data: [DONE]\n\n"
FUNCTIONS: Final = [{"type": "function", "function": {"name": name}} for name in ("look", "tell")]
LOOK: Final = ("call_aaaaaaaa", "look", '{"x": 1}')
TELL: Final = ("call_bbbbbbbb", "tell", "{}")
IS_STREAM: Final = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ringside]:
    """A proxy whose provider can call tools and nothing else by itself."""
    monkeypatch.setitem(PROVIDERS, "openai", row())
    async with serving(tmp_path) as proxy:
        yield proxy


@pytest.fixture
async def stateful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ringside]:
    """A proxy whose provider leaves a state with every answer."""
    monkeypatch.setitem(PROVIDERS, "openai", Stateful())
    async with serving(tmp_path, FakeClock()) as proxy:
        yield proxy


async def asked(
    ringside: Ringside, is_stream: bool = False, token: str = "", **params: Any
) -> Answer:
    """The answer to a chat; a stream tells its usage."""
    how: Json = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    caller = ringside.developer.using(token or ringside.developer.token)
    return await caller.post(CHAT, {"model": UPSTREAM_MODEL, "messages": MESSAGES} | params | how)


def read(answer: Answer, is_stream: bool) -> tuple[Json, str, int]:
    """The message, why it ended, and all tokens it cost, of a completion however it came."""
    assert answer.status == 200, answer.body
    if not is_stream:
        [choice] = answer.json["choices"]
        return choice["message"], choice["finish_reason"], answer.json["usage"]["total_tokens"]
    *chunks, last = check_chat_stream(answer.body)
    choices = [each["choices"][0] for each in chunks]
    deltas = [choice["delta"] for choice in choices]
    message: Json = {"role": "assistant"} | {
        name: "".join(delta.get(name) or "" for delta in deltas) or None
        for name in ("content", "refusal")
    }
    calls: list[Json] = []
    for fragment in [each for delta in deltas for each in delta.get("tool_calls", [])]:
        if "id" in fragment:
            calls.append(
                {"id": fragment["id"], "type": "function", "function": fragment["function"]}
            )
        else:
            calls[fragment["index"]]["function"]["arguments"] += fragment["function"]["arguments"]
    message |= {"tool_calls": calls} if calls else {}
    return message, choices[-1]["finish_reason"], last["usage"]["total_tokens"]


def ids_of(message: Json) -> list[str]:
    """The ids of its calls."""
    return [call["id"] for call in message.get("tool_calls", [])]


def sent(ringside: Ringside) -> list[Json]:
    """The bodies that the provider got."""
    return [request.body for request in ringside.upstream.requests]


async def counted(ringside: Ringside) -> float:
    """All input tokens in the metrics."""
    text = (await ringside.admin("/metrics")).body.decode()
    name = "ringside_gen_ai_client_token_usage_sum"
    found = [line for line in text.splitlines() if line.startswith(name) and 'type="input"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


@IS_STREAM
@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("wanted", [SCHEMA, OBJECT], ids=["schema", "object"])
@pytest.mark.parametrize("provider", [OPENAI, row()], ids=["natively", "by words"])
async def test_answer_is_repaired_until_it_passes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: Provider,
    wanted: Json,
    attempts: int,
    is_stream: bool,
) -> None:
    """On every provider, OpenAI too: the caller sees one answer, and what all of them cost."""
    monkeypatch.setitem(PROVIDERS, "openai", provider)
    async with serving(tmp_path) as ringside:
        ringside.upstream.enqueue(*[text_reply(WORSE)] * (attempts - 1), text_reply(GOOD))

        answer = await asked(ringside, is_stream, response_format=wanted)

        message, reason, tokens = read(answer, is_stream)
        assert (message["content"], reason, tokens) == (GOOD, "stop", 13 * attempts)
        assert b"not JSON" not in answer.body
        assert answer.headers["x-ringside-model"] == UPSTREAM_MODEL
        is_native = [body.get("response_format") == wanted for body in sent(ringside)]
        assert is_native == [provider is OPENAI] * attempts
        assert await counted(ringside) == 9 * attempts


@IS_STREAM
async def test_answer_that_never_passes_is_422(ringside: Ringside, is_stream: bool) -> None:
    """The last answer comes along; nothing of a stream has gone out before, so it has a status."""
    ringside.upstream.enqueue(text_reply(WORSE), text_reply(WORSE), text_reply(BAD))

    answer = await asked(ringside, is_stream, response_format=SCHEMA)

    assert answer.status == 422
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-should-retry"] == "false"
    message = answer.error["message"]
    assert '"a" is a required property' in message
    assert answer.error == {
        "message": message,
        "type": "invalid_request_error",
        "param": "response_format",
        "code": "response_schema_validation_failed",
        "content": BAD,
    }
    assert await counted(ringside) == 9 * 3


@pytest.mark.parametrize("repairs", [0, 1, 4])
async def test_configuration_says_how_often_an_answer_is_repaired(
    tmp_path: Path, repairs: int
) -> None:
    """`structured_output.max_retries` is how many repairs follow the first answer."""
    settings = StructuredOutputSettings(max_retries=repairs)
    async with serving(tmp_path, structured_output=settings) as ringside:
        ringside.upstream.enqueue(*[text_reply(BAD)] * (repairs + 1))

        answer = await asked(ringside, response_format=SCHEMA)

        assert answer.status == 422
        assert len(ringside.upstream.requests) == repairs + 1


REFUSAL: Final = stream_reply(
    chunk({"role": "assistant", "refusal": "I can't."}), chunk({}, "stop"), DONE
)
UNFINISHED: dict[str, tuple[Any, Json, str]] = {
    "a refusal": (REFUSAL, {"content": None, "refusal": "I can't."}, "stop"),
    "cut": (text_reply('{"a"', finish_reason="length"), {"content": '{"a"', "refusal": None}, "length"),
    "filtered": (
        text_reply("{", finish_reason="content_filter"), {"content": "{", "refusal": None}, "content_filter",
    ),
}  # fmt: skip


@IS_STREAM
@pytest.mark.parametrize(("reply", "said", "ending"), UNFINISHED.values(), ids=UNFINISHED)
async def test_answer_the_model_did_not_end_itself_passes(
    ringside: Ringside, reply: Any, said: Json, ending: str, is_stream: bool
) -> None:
    """Refusals and cut answers meet no schema, at OpenAI neither: they come as they are."""
    ringside.upstream.enqueue(reply)

    answer = await asked(ringside, is_stream, response_format=SCHEMA)

    message, reason, _ = read(answer, is_stream)
    assert (message.items() >= said.items(), reason) == (True, ending)
    assert len(ringside.upstream.requests) == 1


@IS_STREAM
async def test_provider_that_fails_during_a_repair_is_its_own_error(
    ringside: Ringside, is_stream: bool
) -> None:
    """The caller is told of the provider, and what the first answer cost is counted."""
    ringside.upstream.enqueue(text_reply(BAD), error_reply(503))

    answer = await asked(ringside, is_stream, response_format=SCHEMA)

    assert (answer.status, answer.error["type"]) == (503, "provider_error")
    assert await counted(ringside) == 9


@IS_STREAM
@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ({"type": "objekt"}, "invalid_json_schema"),
        ({"$ref": "http://127.0.0.1:1/a"}, "invalid_json_schema"),
        ({"$ref": "#"}, "schema_too_complex"),
        ({"enum": ["x" * 40_000]}, "schema_too_complex"),
    ],
    ids=["no schema", "an address", "a circle", "too long"],
)
async def test_schema_that_cannot_be_used_is_refused(
    ringside: Ringside, schema: Json, code: str, is_stream: bool
) -> None:
    """With its parameter, before the provider is asked."""
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    answer = await asked(ringside, is_stream, response_format=wanted)

    assert (answer.status, answer.error["code"]) == (400, code)
    assert answer.error["param"] == "response_format.json_schema.schema"
    assert ringside.upstream.requests == []


@IS_STREAM
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
async def test_forced_call_is_made_up_for(limited: Ringside, choice: Any, is_stream: bool) -> None:
    """A model that cannot be forced is told to, and asked again when it only talks."""
    limited.upstream.enqueue(text_reply("I look"), tool_reply([LOOK]))

    answer = await asked(limited, is_stream, tools=FUNCTIONS, tool_choice=choice)

    message, reason, tokens = read(answer, is_stream)
    assert (ids_of(message), message["content"], reason) == (["call_aaaaaaaa"], None, "tool_calls")
    assert tokens == 13 * 2
    for body in sent(limited):
        assert "tool_choice" not in body
        assert "calling" in body["messages"][0]["content"]
        assert len(body["tools"]) == (2 if choice == "required" else 1)


@IS_STREAM
async def test_forced_call_that_never_comes_is_422(limited: Ringside, is_stream: bool) -> None:
    """The error names the choice, and shows what the model said instead."""
    limited.upstream.enqueue(*[text_reply("I look")] * 3)

    answer = await asked(limited, is_stream, tools=FUNCTIONS, tool_choice="required")

    assert (answer.status, answer.error["content"]) == (422, "I look")
    assert "tool_choice" in answer.error["message"]


async def test_choice_of_none_hides_the_tools(limited: Ringside) -> None:
    """A model that knows no `none` cannot call what it is not shown."""
    limited.upstream.enqueue(text_reply("ok"))

    answer = await asked(limited, tools=FUNCTIONS, tool_choice="none", parallel_tool_calls=False)

    assert read(answer, is_stream=False)[0]["content"] == "ok"
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & sent(limited)[0].keys()


@IS_STREAM
@pytest.mark.parametrize("support", [Support.EMULATED, Support.NATIVE])
async def test_parallel_calls_are_cut_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, support: Support, is_stream: bool
) -> None:
    """`parallel_tool_calls: false` holds, whether the model knows the word, heeds it or not."""
    monkeypatch.setitem(PROVIDERS, "openai", row(able(single_tool_call=support)))
    async with serving(tmp_path) as ringside:
        ringside.upstream.enqueue(tool_reply([LOOK, TELL]))

        answer = await asked(ringside, is_stream, tools=FUNCTIONS, parallel_tool_calls=False)

        message, reason, _ = read(answer, is_stream)
        call = {"id": "call_aaaaaaaa", "type": "function"}
        assert message["tool_calls"] == [
            call | {"function": {"name": "look", "arguments": LOOK[2]}}
        ]
        assert reason == "tool_calls"
        knows_it = support is Support.NATIVE
        assert ("parallel_tool_calls" in sent(ringside)[0]) is knows_it


async def test_parallel_calls_of_openai_are_cut_to_one(ringside: Ringside) -> None:
    """Its bytes are not passed on where something has to be enforced."""
    ringside.upstream.enqueue(tool_reply([LOOK, TELL]))

    answer = await asked(ringside, tools=FUNCTIONS, parallel_tool_calls=False)

    assert ids_of(read(answer, is_stream=False)[0]) == ["call_aaaaaaaa"]


async def test_tools_of_a_model_without_tools_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving them out would change what was asked, so nothing is sent."""
    monkeypatch.setitem(PROVIDERS, "openai", row(able(tools=Support.UNSUPPORTED)))
    async with serving(tmp_path) as ringside:
        answer = await asked(ringside, tools=FUNCTIONS)

        assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
        assert answer.error["param"] == "tools"
        assert ringside.upstream.requests == []


async def test_answer_with_nothing_to_enforce_stays_the_providers(ringside: Ringside) -> None:
    """A format of text, a choice of auto: OpenAI's own bytes come through, odd keys and all."""
    raw = orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": WORSE, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "x_odd": [1.5],
        }
    )
    ringside.upstream.enqueue(Scripted([raw], headers={"content-type": "application/json"}))

    answer = await asked(
        ringside, tools=FUNCTIONS, tool_choice="auto", response_format={"type": "text"}
    )

    assert (answer.status, answer.body) == (200, raw)


# What a provider wants back


async def called(ringside: Ringside, is_stream: bool = False, **options: Any) -> list[Json]:
    """The messages of a chat whose model has called, with the call's output."""
    ringside.upstream.enqueue(tool_reply([LOOK]))
    answer = await asked(ringside, is_stream, tools=FUNCTIONS, **options)
    message, *_ = read(answer, is_stream)
    assert "signature" not in answer.body.decode()
    [call_id] = ids_of(message)
    return [*MESSAGES, message, {"role": "tool", "tool_call_id": call_id, "content": "ok"}]


def given_back(upstream: FakeUpstream) -> list[Any]:
    """The states in the last request."""
    messages = upstream.requests[-1].body["messages"]
    return [each["provider_state"] for each in messages if "provider_state" in each]


async def answered(ringside: Ringside, messages: list[Json], **options: Any) -> list[Any]:
    """What the provider got back with these messages."""
    ringside.upstream.enqueue(text_reply("ok"))
    answer = await asked(ringside, tools=FUNCTIONS, **{"messages": messages} | options)
    assert answer.status == 200, answer.body
    return given_back(ringside.upstream)


@IS_STREAM
async def test_state_of_a_tool_loop_comes_back(stateful: Ringside, is_stream: bool) -> None:
    """The caller sends OpenAI's messages, and the provider gets with them what it left."""
    messages = await called(stateful, is_stream)

    assert await answered(stateful, messages) == [state(1)]


async def test_state_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the store, for any process to find."""
    monkeypatch.setitem(PROVIDERS, "openai", Stateful())
    async with serving(tmp_path) as ringside:
        messages = await called(ringside, is_stream=True)

    async with serving(tmp_path) as restarted:
        assert await answered(restarted, messages) == [state(1)]


async def test_state_is_kept_before_the_stream_ends(stateful: Ringside, tmp_path: Path) -> None:
    """Many clients leave a stream at its `finish_reason`, and come back at once."""
    stateful.upstream.enqueue(tool_reply([LOOK]))
    body = {"model": UPSTREAM_MODEL, "messages": MESSAGES, "tools": FUNCTIONS, "stream": True}
    caller = stateful.developer

    async with caller.session.post(caller.url + CHAT, json=body, headers=caller.headers) as stream:
        await stream.content.readuntil(b'"finish_reason":"tool_calls"')

        [kept] = rows(tmp_path, "provider_states")

    assert (kept["call_id"], orjson.loads(kept["state"])) == ("call_aaaaaaaa", state(1))


async def test_state_belongs_to_its_token(stateful: Ringside) -> None:
    """Whoever else sends the same call id gets no state that is not his."""
    messages = await called(stateful, token=CLIENT_A)

    assert await answered(stateful, messages, token=CLIENT_B) == []
    assert await answered(stateful, messages, token=CLIENT_A) == [state(1)]


async def test_state_is_not_given_to_another_model(stateful: Ringside) -> None:
    """Signatures of one model are refused by the next."""
    messages = await called(stateful)

    assert await answered(stateful, messages, model="fc:openai/gpt-4o") == []


@pytest.mark.parametrize(("hours", "is_kept"), [(23.9, True), (24.1, False)])
async def test_state_is_forgotten_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float, is_kept: bool
) -> None:
    """A tool loop that takes longer goes on without."""
    monkeypatch.setitem(PROVIDERS, "openai", Stateful())
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        messages = await called(ringside)
        clock.advance(hours * 3600)

        services = ringside.proxy.services
        await Sweeper(
            services.db,
            services.runs,
            services.idempotency,
            clock,
            asyncio.Event(),
            partial(services.books.sweep, services.live_config.snapshot),
        ).sweep()

        assert len(rows(tmp_path, "provider_states")) == is_kept
        assert await answered(ringside, messages) == ([state(1)] if is_kept else [])
