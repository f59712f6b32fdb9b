"""A proxy that follows a file, for the tests of the live configuration."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from ringside_proxy.app import Proxy, running
from ringside_proxy.settings.load import load
from ringside_proxy.settings.source import ConfigSource
from ringside_proxy.system import Clock
from tests.api.rig import DEVELOPER, Caller, stop

IN_EFFECT_S_MAX: Final = 60.0
"""It only tells a hang. That two seconds are enough is seen in `tests/crash/test_reload.py`."""
LOOK_S: Final = 0.02

Json = dict[str, Any]


@dataclass(frozen=True)
class Live:
    """A running proxy, its file, and the developer who calls it."""

    proxy: Proxy
    path: Path
    developer: Caller
    home: Path

    def write(self, **sections: Any) -> None:
        """Save the file, with these sections in place of those every test has. JSON is YAML."""
        self.path.write_text(json.dumps(usual(self.home) | sections))

    async def reload(self) -> bool:
        """Read the file now, as SIGHUP does."""
        return await self.proxy.services.live_config.reload()

    async def status(self) -> Any:
        """What the proxy says about its configuration."""
        answer = await self.developer.get("/v1/config/status")
        assert answer.status == 200, answer.body
        return answer.json

    async def say(self, model: str, text: str = "hello") -> tuple[int, str]:
        """The status and the text of a chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        answer = await self.developer.post("/v1/chat/completions", body)
        if answer.status != 200:
            return answer.status, answer.error["code"]
        return 200, answer.json["choices"][0]["message"]["content"]

    async def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        async with self.developer.session.get(f"{self.proxy.admin_url}/metrics") as response:
            lines = (await response.text()).splitlines()
        [value] = [line.split()[1] for line in lines if line.startswith(f"{name} ")]
        return float(value)


def usual(home: Path) -> Json:
    """What every test's file says."""
    return {
        "server": {"port": 0},
        "admin": {"port": 0},
        "store": {"url": f"sqlite:///{home}/ringside.db", "synchronous": "normal"},
        "auth": {"tokens": [{"name": "app", "token": DEVELOPER}]},
        "providers": {"sandbox": {}},
        "slots": {"fast": "fc:sandbox/echo"},
    }


@asynccontextmanager
async def following(home: Path, clock: Clock | None = None, **sections: Any) -> AsyncIterator[Live]:
    """A proxy that follows a file of these sections."""
    path = home / "ringside.yaml"
    path.write_text(json.dumps(usual(home) | sections))
    source = ConfigSource(path, {})
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        running(load(path, {}), clock, source=source) as proxy,
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
    ):
        try:
            yield Live(proxy, path, Caller(session, proxy.url, DEVELOPER), home)
        finally:
            await stop(proxy)


async def until(holds: Callable[[], Any], seconds: float = IN_EFFECT_S_MAX) -> None:
    """Wait for `await holds()` to be true."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(LOOK_S)
