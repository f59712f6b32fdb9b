"""A provider that fails in every way it can: the run fails with it, and nothing stays locked."""

import asyncio
from pathlib import Path

import pytest

from ringside_proxy.settings.schema import TimeoutSettings
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    Reply,
    Reset,
    Scripted,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
    text_reply,
    tool_reply,
)
from tests.services.rig import WEATHER, Rig, payload, rigged, text_of

ZEROS = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_token_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
SSE = {"content-type": "text/event-stream"}
ERROR_FRAME = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": None}}
LIMIT_FRAME = {"error": {"message": "Slow down", "type": "rate_limit_error", "code": None}}

BEFORE_OUTPUT: dict[str, tuple[Reply, str]] = {
    "400": (error_reply(400), "invalid_prompt"),
    "400, context too long": (error_reply(400, "context_length_exceeded"), "invalid_prompt"),
    "401": (error_reply(401, "invalid_api_key"), "server_error"),
    "402": (error_reply(402), "rate_limit_exceeded"),
    "403": (error_reply(403), "server_error"),
    "404, no such model": (error_reply(404, "model_not_found"), "invalid_prompt"),
    "408": (error_reply(408), "server_error"),
    "429": (error_reply(429), "rate_limit_exceeded"),
    "429, out of credit": (error_reply(429, "insufficient_quota"), "rate_limit_exceeded"),
    "500": (error_reply(500), "server_error"),
    "502 in HTML": (Scripted([b"<html>Bad"], 502, {"content-type": "text/html"}), "server_error"),
    "503": (error_reply(503), "server_error"),
    "529": (error_reply(529), "server_error"),
    "a redirect": (Scripted([], 302, {"location": "http://127.0.0.1:1/"}), "server_error"),
    "an error in a 200": (json_reply(ERROR_FRAME), "server_error"),
    "a limit in a 200": (json_reply(LIMIT_FRAME), "rate_limit_exceeded"),
    "an error in a stream": (stream_reply(ERROR_FRAME), "server_error"),
    "a limit in a stream": (stream_reply(LIMIT_FRAME), "rate_limit_exceeded"),
    "a page in a 200": (Scripted([b"<html>"], 200, {"content-type": "text/html"}), "server_error"),
    "no JSON in a stream": (Scripted([b"data: {nonsense\n\n"], 200, SSE), "server_error"),
    "an empty stream": (Scripted([b""], 200, SSE), "server_error"),
    "reset before the head": (Scripted([Reset()]), "server_error"),
    "closed before the head": (Scripted([Cut()]), "server_error"),
    "no HTTP": (Scripted([b"SSH-2.0-x\r\n\r\n"], is_raw=True), "server_error"),
    "reset after the head": (Scripted([b": hello\n\n", Reset()], 200, SSE), "server_error"),
}


@pytest.mark.parametrize(("reply", "code"), BEFORE_OUTPUT.values(), ids=BEFORE_OUTPUT)
async def test_fault_before_output_fails_the_run(
    rig: Rig, upstream: FakeUpstream, reply: Reply, code: str
) -> None:
    """The run fails with the code that fits, says why, keeps no half message, frees the thread."""
    upstream.enqueue(reply)
    thread = await rig.thread("Hi")

    run = await rig.run(thread, await rig.assistant())

    assert (run["status"], run["last_error"]["code"]) == ("failed", code)
    assert run["last_error"]["message"].startswith("openai ")
    assert "not-a-key" not in run["last_error"]["message"]
    assert run["usage"] == ZEROS
    assert await rig.texts(thread) == ["Hi"]
    assert await rig.steps(run) == []
    await rig.require_free(thread)


MID_MESSAGE: dict[str, Reply] = {
    "reset": stream_reply(chunk({"content": "Hel"}), Reset()),
    "closed": stream_reply(chunk({"content": "Hel"}), Cut()),
    "ended early": stream_reply(chunk({"content": "Hel"})),
    "an error frame": stream_reply(chunk({"content": "Hel"}), ERROR_FRAME),
    "garbage": stream_reply(chunk({"content": "Hel"}), b"data: {nonsense\n\n"),
    "no UTF-8": stream_reply(chunk({"content": "Hel"}), b'data: {"a":"\xff"}\n\n'),
    "a call without a name": stream_reply(
        chunk({"content": "Hel"}),
        chunk(
            {"tool_calls": [{"index": 0, "id": "call_aaaaaaaa", "function": {"arguments": "{}"}}]}
        ),
        chunk({}, "tool_calls"),
    ),
}


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("reply", MID_MESSAGE.values(), ids=MID_MESSAGE)
async def test_fault_in_mid_message_keeps_what_was_said(
    rig: Rig, upstream: FakeUpstream, reply: Reply, is_streamed: bool
) -> None:
    """The partial answer stays as an incomplete message, its step fails with the run."""
    upstream.enqueue(reply)
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    if is_streamed:
        run = payload(await rig.stream_run(thread, assistant), "run.failed")
    else:
        run = await rig.run(thread, assistant)

    assert run["last_error"]["code"] == "server_error"
    message = (await rig.messages(thread))[-1]
    assert (text_of(message), message["status"]) == ("Hel", "incomplete")
    assert message["incomplete_details"] == {"reason": "run_failed"}
    [step] = await rig.steps(run)
    assert (step["status"], step["last_error"]["code"]) == ("failed", "server_error")
    assert run["usage"]["completion_tokens"] > 0
    assert step["usage"] == run["usage"]
    await rig.require_free(thread)


async def test_fault_in_mid_call_leaves_no_half_call(rig: Rig, upstream: FakeUpstream) -> None:
    """Calls that broke off are not kept: neither the step nor a later model call shows them."""
    fragment = {
        "index": 0,
        "id": "call_aaaaaaaa",
        "function": {"name": "weather", "arguments": '{"ci'},
    }
    upstream.enqueue(
        stream_reply(chunk({"tool_calls": [fragment]}), Reset()), text_reply("Hello again")
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    failed = await rig.run(thread, assistant)
    ended = await rig.run(thread, assistant)

    [step] = await rig.steps(failed)
    assert (step["status"], step["step_details"]["tool_calls"]) == ("failed", [])
    assert ended["status"] == "completed"
    assert [message["role"] for message in rig.seen()] == ["system", "user"]


async def test_fault_in_a_later_round_keeps_the_finished_ones(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Steps that were done stay done; the usage of the rounds before is shown."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), error_reply(401))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    run = await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sun")

    assert (run["status"], run["usage"]["total_tokens"]) == ("failed", 13)
    assert [step["status"] for step in await rig.steps(run)] == ["completed"]
    await rig.require_free(thread)


SILENCES: dict[str, tuple[list[object], str]] = {
    "before the head": ([], ""),
    "after the head": ([b": hello\n\n"], ""),
    "in mid-message": ([chunk({"content": "Hel"})], "Hel"),
}


@pytest.mark.parametrize(("steps", "said"), SILENCES.values(), ids=SILENCES)
async def test_provider_that_falls_silent_fails_the_run(
    tmp_path: Path, upstream: FakeUpstream, steps: list[object], said: str
) -> None:
    """Time runs out on a provider that says nothing; its connection is given up with the run."""
    upstream.enqueue(stream_reply(*steps, Gate()))
    patience = TimeoutSettings(first_byte_s=0.05, between_chunks_s=0.05)
    async with rigged(tmp_path, upstream, timeouts=patience) as rig:
        thread = await rig.thread("Hi")

        run = await rig.run(thread, await rig.assistant())

        assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
        assert [text for text in await rig.texts(thread) if text != "Hi"] == (
            [said] if said else []
        )
        async with asyncio.timeout(30):
            await upstream.requests[0].gone.wait()
        await rig.require_free(thread)


async def test_provider_that_cannot_be_reached_fails_the_run(tmp_path: Path) -> None:
    """No provider at the address: the run says so, and the thread is free."""
    async with FakeUpstream() as gone:
        pass
    async with rigged(tmp_path, gone) as rig:
        thread = await rig.thread("Hi")

        run = await rig.run(thread, await rig.assistant())

        assert run["last_error"] == {"code": "server_error", "message": "openai cannot be reached."}
        await rig.require_free(thread)


async def test_broken_answer_is_not_asked_for_again(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Once something was said a second attempt would say it twice: the run fails instead."""
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), Reset()), text_reply("Hello"))
    async with rigged(tmp_path, upstream, max_retries=2) as rig:
        thread = await rig.thread("Hi")

        run = await rig.run(thread, await rig.assistant())

        assert (run["status"], len(upstream.requests)) == ("failed", 1)
        assert await rig.texts(thread) == ["Hi", "Hel"]
