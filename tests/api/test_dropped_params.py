"""Parameters of a run that its model does not take are named when it begins, and when it goes on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Support
from ringside_proxy.settings.schema import SlotSettings
from tests.api.rig import FUNCTION, UPSTREAM_MODEL, Answer, Caller, Ringside, serving
from tests.conformance.stream import check_run_stream
from tests.fakes import text_reply, tool_reply
from tests.services.limited import able, row

HEADER: Final = "x-ringside-dropped-params"
CALL: Final = ("call_aaaaaaaa", "look_up", "{}")


@pytest.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ringside]:
    """A proxy whose provider takes no `seed` and no `top_p`."""
    monkeypatch.setitem(PROVIDERS, "openai", row())
    slot = SlotSettings(model=UPSTREAM_MODEL, params={"top_p": 0.5})
    async with serving(tmp_path, slots={"warm": slot}) as proxy:
        yield proxy


async def began(proxy: Ringside, assistant: dict[str, Any], **params: Any) -> Answer:
    """The answer that begins a run."""
    assistant_id = await proxy.developer.assistant(**{"model": UPSTREAM_MODEL, **assistant})
    thread = await proxy.developer.thread("hi")
    return await proxy.developer.post(
        f"/v1/threads/{thread}/runs", {"assistant_id": assistant_id, **params}
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("assistant", "params", "dropped"),
    [
        ({}, {"seed": 7}, "seed"),
        ({"top_p": 0.5}, {"seed": 7, "temperature": 0.1}, "top_p, seed"),
        ({"model": "slot:warm"}, {}, "top_p"),
        ({}, {"temperature": 0.1, "response_format": {"type": "json_object"}}, None),
        ({"tools": [FUNCTION]}, {"tool_choice": "required", "parallel_tool_calls": False}, None),
        ({}, {}, None),
    ],
)
async def test_begun_run_names_what_is_left_out(
    proxy: Ringside,
    assistant: dict[str, Any],
    params: dict[str, Any],
    dropped: str | None,
    stream: bool,
) -> None:
    """Of the run, its assistant and its slot; what is made up for in other ways is not left out."""
    proxy.upstream.enqueue(text_reply("{}"), text_reply("{}"), text_reply("{}"))

    answer = await began(proxy, assistant, stream=stream, **params)

    assert answer.status == 200, answer.body
    named = answer.headers.get(HEADER)
    assert set((named or "").split(", ")) == set((dropped or "").split(", "))


@pytest.mark.parametrize("stream", [False, True])
async def test_resumed_run_names_it_too(proxy: Ringside, stream: bool) -> None:
    """Each model call leaves it out."""
    proxy.upstream.enqueue(tool_reply([CALL]), text_reply("Sunny"))
    answer = await began(proxy, {"tools": [FUNCTION]}, seed=7, stream=True)
    [*_, (_, run), _] = check_run_stream(answer.body)
    assert isinstance(run, dict)

    resumed = await proxy.developer.post(
        f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs",
        {"tool_outputs": [{"tool_call_id": CALL[0], "output": "sun"}], "stream": stream},
    )

    assert resumed.headers[HEADER] == "seed"
    assert "seed" not in proxy.upstream.requests[0].body


async def test_run_that_cannot_be_asked_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and says why itself."""
    monkeypatch.setitem(PROVIDERS, "openai", row(able(tools=Support.UNSUPPORTED)))

    async with serving(tmp_path) as proxy:
        answer = await began(proxy, {"tools": [FUNCTION]}, seed=7)

    assert answer.status == 200
    assert HEADER not in answer.headers


async def test_names_that_no_header_can_say_are_said_as_well_as_may_be(api: Caller) -> None:
    """What is left out may be called anything: the answer comes, and its header is one line."""
    strange = {"a\r\nx-evil: 1": 1, "größe, höhe": 2, "n" * 9_000: 3}
    odd = {f"p{number}": number for number in range(400)}
    body = {"model": "fc:sandbox/echo", "messages": [{"role": "user", "content": "hi"}]}

    answer = await api.post("/v1/chat/completions", body | strange | odd)

    assert answer.status == 200
    assert "x-evil" not in answer.headers
    named = answer.headers.get(HEADER, "").split(", ")
    assert len(named) <= 50
    assert max(map(len, named)) <= 64
