"""A real process follows its file, its ConfigMap and SIGHUP, and keeps its streams."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx

from tests.crash.process import Home, Server
from tests.e2e.ringside import TOKEN

IN_EFFECT_S: Final = 2.0
EDITS: Final = 10
HANG_S: Final = 60.0
LOOK_S: Final = 0.02


async def client_of(server: Server) -> httpx.AsyncClient:
    """A developer's client."""
    return httpx.AsyncClient(
        base_url=server.url, headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False
    )


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what is promised."""
    async with asyncio.timeout(HANG_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(LOOK_S)


async def knows(client: httpx.AsyncClient, slot: str) -> bool:
    """Whether a slot can be called."""
    body = {"model": f"slot:{slot}", "messages": [{"role": "user", "content": "hi"}]}
    return (await client.post("/v1/chat/completions", json=body)).status_code == 200


async def status(client: httpx.AsyncClient) -> Any:
    """What it says about its configuration."""
    return (await client.get("/v1/config/status")).json()


async def test_a_saved_file_is_in_effect_within_two_seconds(home: Home) -> None:
    """Without a signal, in the process that users run. A busy machine may be late, now and then."""
    took_s = []
    async with home.serving() as server, await client_of(server) as client:
        while len(took_s) < EDITS and min(took_s, default=IN_EFFECT_S) >= IN_EFFECT_S:
            slot = f"fast-{len(took_s)}"
            assert not await knows(client, slot)
            home.configure(slots={slot: "fc:sandbox/echo"})
            saved_s = time.monotonic()

            await until(lambda: knows(client, slot))  # noqa: B023 - awaited in the same turn
            took_s.append(time.monotonic() - saved_s)

        assert await server.stop() == 0
    assert min(took_s) < IN_EFFECT_S


async def test_sighup_reads_the_file_and_a_broken_one_ends_nothing(home: Home) -> None:
    """The log says what is wrong where; the process serves on; the next right file is taken."""
    async with home.serving() as server, await client_of(server) as client:
        home.config.write_text('{"slots": {"fast": "gpt-4o"}}')
        server.signal(signal.SIGHUP)

        async def is_refused() -> bool:
            return bool((await status(client))["state"] == "refused")

        await until(is_refused)
        told = [json.loads(line) for line in home.logged().splitlines()]
        assert "slots.fast.model" in [line.get("setting") for line in told]
        assert (await client.get("/v1/models")).status_code == 200

        home.configure(slots={"fast": "fc:sandbox/echo"})
        server.signal(signal.SIGHUP)
        await until(lambda: knows(client, "fast"))

        assert await server.stop() == 0


async def test_a_config_map_is_followed(home: Home) -> None:
    """The kubelet writes a new folder and turns a symlink; the path that is served never changes."""
    plain = json.loads(home.config.read_text())
    mount = home.path / "config"
    mount.mkdir()

    def publish(version: str, slots: dict[str, str]) -> None:
        folder = mount / f"..{version}"
        folder.mkdir()
        (folder / "ringside.yaml").write_text(json.dumps(plain | {"slots": slots}))
        (mount / "..data_tmp").symlink_to(folder.name)
        os.rename(mount / "..data_tmp", mount / "..data")

    publish("1", {})
    home.config = Path(mount / "ringside.yaml")
    home.config.symlink_to("..data/ringside.yaml")
    async with home.serving() as server, await client_of(server) as client:
        for version in ("2", "3"):
            publish(version, {f"v{version}": "fc:sandbox/echo"})
            await until(lambda version=version: knows(client, f"v{version}"))

        assert not await knows(client, "v2")
        assert await server.stop() == 0


async def test_streams_go_on_through_reloads(home: Home) -> None:
    """Twenty exchanges while an answer is on its way: it arrives whole."""
    body = {"model": "fc:sandbox/slow-50", "stream": True}
    words = " ".join(f"w{number}" for number in range(20))
    body["messages"] = [{"role": "user", "content": words}]
    async with home.serving() as server, await client_of(server) as client:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            text = ""
            async for line in answer.aiter_lines():
                home.configure(slots={f"s{len(text)}": "fc:sandbox/echo"})
                server.signal(signal.SIGHUP)
                if line.startswith("data: {"):
                    text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""

        assert text == words
        assert (await status(client))["reloads"] > 1
        assert await server.stop() == 0
