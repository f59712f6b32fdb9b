import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from ringside_proxy.sandbox.server import serve

NOW_S = 1_764_000_000


class FixedClock:
    """A clock that stands still."""

    def now_ms(self) -> int:
        """Always the same moment."""
        return NOW_S * 1000

    def monotonic_s(self) -> float:
        """No time passes."""
        return 0.0


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def new_id() -> Callable[[str], str]:
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


@pytest.fixture
async def url(clock: FixedClock, new_id: Callable[[str], str]) -> AsyncIterator[str]:
    async with serve(clock, new_id) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    headers = {"authorization": "Bearer anything"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        yield session


@pytest.fixture
async def openai(url: str) -> AsyncIterator[AsyncOpenAI]:
    """The official SDK."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0) as client:
        yield client


def function(name: str, **properties: Any) -> dict[str, Any]:
    """A tool whose function takes these properties, all required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


@pytest.fixture
def weather_tools() -> list[dict[str, Any]]:
    return [
        function("get_weather", city={"type": "string"}, unit={"enum": ["celsius", "kelvin"]}),
        function("get_time", city={"type": "string"}),
    ]
