"""What only its provider can read comes back to it in a tool loop, also from a new process."""

import json
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.e2e.nineteen import CHAT, WEATHER, Nineteen, Proxy, calls_of, last_run, nineteen
from tests.e2e.ringside import TOKEN
from tests.vendors.speech import WORDS, Call, Say
from tests.vendors.wires import says

THOUGHT: Final = "It is June, so it is warm."
LOW: Final = {"reasoning_effort": "low"}
QUESTION: Final = [{"role": "user", "content": "How warm is it in Bern?"}]
KEPT: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "openai": ("gpt-5.6-sol", (THOUGHT, '"encrypted_content"')),
    "anthropic": ("claude-sonnet-5", (THOUGHT, '"signature"')),
    "google": ("gemini-3.5-flash", ('"thoughtSignature"',)),
    "mistral": ("mistral-small-latest", (THOUGHT,)),
    "groq": ("openai/gpt-oss-120b", (THOUGHT,)),
    "fireworks": ("accounts/fireworks/models/glm-5", (THOUGHT,)),
    "deepseek": ("deepseek-flash", (THOUGHT,)),
    "xai": ("grok-4.3", (THOUGHT, '"encrypted_content"')),
    "cerebras": ("gpt-oss-120b", (THOUGHT,)),
    "openrouter": ("anthropic/claude-sonnet-4.5", (THOUGHT, '"reasoning_details"')),
    "bedrock": ("anthropic.claude-sonnet-4-5-20250929-v1:0", (THOUGHT, '"signature"')),
}
"""For each provider that wants its reasoning back a model, and what its next request has to hold."""


def begins(provider: str) -> Any:
    """An answer that thinks, and calls under an id of its own."""
    call = Call(f"call_{provider}a1b2c3", "get_weather", '{"city": "Bern"}')
    return says(provider, Say("Let me look.", (call,), THOUGHT))


async def begun(proxy: Proxy, provider: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run that waits for its output, and the answer of a chat that calls."""
    model = f"fc:{provider}/{KEPT[provider][0]}"
    proxy.answers(provider, begins(provider))
    made = await proxy.assistant(provider, model=model, tools=[WEATHER], **LOW)
    run = last_run(await proxy.run(provider, assistant_id=made, thread={"messages": QUESTION}))
    body = {"model": model, "messages": QUESTION, "tools": [WEATHER], **LOW}
    [choice] = (await proxy.call(CHAT, body))["choices"]
    return run, choice["message"]


async def finished(proxy: Proxy, provider: str, run: dict[str, Any], answer: Any) -> list[str]:
    """What the vendor was sent when the run and the chat went on."""
    proxy.answers(provider, says(provider, WORDS))
    done = last_run(await proxy.submit(run, "12 degrees"))
    assert done["status"] == "completed", (provider, done["last_error"])
    result = {"role": "tool", "tool_call_id": answer["tool_calls"][0]["id"], "content": "12"}
    said = {key: answer[key] for key in ("role", "content", "tool_calls")}
    body = {"model": f"fc:{provider}/{KEPT[provider][0]}", "tools": [WEATHER], **LOW}
    await proxy.call(CHAT, body | {"messages": [*QUESTION, said, result]})
    return [json.dumps(sent) for sent in proxy.sent(provider)]


def connected(started: Nineteen, session: aiohttp.ClientSession) -> Proxy:
    return Proxy(started.ringside.url, session, started.far)


async def test_reasoning_goes_back_after_a_restart(tmp_path: Path) -> None:
    """Of runs and of chats, whose callers give back nothing but the calls."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        with nineteen(tmp_path) as started:
            proxy = connected(started, session)
            waiting = {provider: await begun(proxy, provider) for provider in KEPT}
            assert all(calls_of(run) and answer["tool_calls"] for run, answer in waiting.values())
            assert not started.far.refused
        with nineteen(tmp_path) as started:
            proxy = connected(started, session)
            lost = {
                provider: [mark for mark in marks for sent in told if mark not in sent]
                for provider, (_, marks) in KEPT.items()
                if (told := await finished(proxy, provider, *waiting[provider]))
            }
            assert not started.far.refused

    assert lost == {provider: [] for provider in KEPT}
