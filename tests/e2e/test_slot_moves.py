"""A slot is pointed at one provider after the other while its conversation goes on."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.nineteen import WEATHER, Nineteen, Proxy, last_run, model_of, nineteen
from tests.e2e.ringside import TOKEN
from tests.vendors.asked import strings

IN_EFFECT_S_MAX: Final = 60
OUTPUT: Final = "degrees, says the station, asked of "


async def point(proxy: Proxy, started: Nineteen, home: Path, provider: str) -> None:
    """Edit the file as its owner would, tell the process, and wait until it has taken it."""
    file = home / "ringside.yaml"
    settings: dict[str, Any] = yaml.safe_load(file.read_text())
    settings["slots"] = {"talk": model_of(provider)}
    before = await reloads(proxy)
    file.write_text(yaml.safe_dump(settings))
    started.ringside.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(IN_EFFECT_S_MAX):
        while await reloads(proxy) == before:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.02)


async def reloads(proxy: Proxy) -> int:
    """How often the file has been taken."""
    return int((await proxy.get("/v1/config/status"))["reloads"])


async def test_a_slot_goes_through_all_providers_in_one_conversation(tmp_path: Path) -> None:
    """There and back: each is told all that was said and called before it, and its run completes."""
    there = list(TYPICAL_MODELS)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with nineteen(tmp_path) as started:
        async with aiohttp.ClientSession(headers=headers) as session:
            proxy = Proxy(started.ringside.url, session, started.far)
            await point(proxy, started, tmp_path, there[0])
            made = await proxy.call("/v1/assistants", {"model": "slot:talk", "tools": [WEATHER]})
            thread = (await proxy.call("/v1/threads", {}))["id"]
            outputs: list[str] = []

            for turn, provider in enumerate([*there, *reversed(there[:-1])]):
                if turn > 0:
                    await point(proxy, started, tmp_path, provider)
                # A vendor's answer is a recorded one: said twice, its call would have its id twice.
                calls = turn < len(there)
                proxy.answers(provider, *(["tool_call"] if calls else []), "plain")
                words = {"role": "user", "content": f"How is it at {provider}?"}
                run = last_run(
                    await proxy.again(thread, assistant_id=made["id"], additional_messages=[words])
                )
                if calls:
                    outputs.append(f"{len(outputs)} {OUTPUT}{provider}")
                    run = last_run(await proxy.submit(run, outputs[-1]))

                assert run["status"] == "completed", (provider, run["last_error"])
                said = " ".join(strings(proxy.sent(provider)[-1]))
                assert [text for text in outputs if text not in said] == []
                assert words["content"] in said
            assert not started.far.refused
