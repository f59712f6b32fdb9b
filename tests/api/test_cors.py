"""Browsers: the pages that the configuration lists may call the API; others are told nothing."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.settings.schema import ServerSettings
from tests.api.rig import ECHO, Answer, Ringside, serving

CHAT: Final = "/v1/chat/completions"
PAGE: Final = "https://app.example.com"
OTHER: Final = "https://evil.example.com"
ORIGIN: Final = "access-control-allow-origin"
SDK_HEADERS: Final = "authorization, content-type, openai-beta, x-stainless-lang, idempotency-key"


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy that one page may call."""
    async with serving(tmp_path, server=ServerSettings(port=0, cors=(PAGE,))) as started:
        yield started


async def ask(ringside: Ringside, origin: str, path: str = CHAT) -> Answer:
    """What a browser asks before it sends a POST."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": SDK_HEADERS,
    }
    url = ringside.proxy.url + path
    async with ringside.session.options(url, headers=headers) as response:
        return Answer(response.status, response.headers, await response.read())


def cors(headers: Mapping[str, str]) -> list[str]:
    """The names that speak to browsers."""
    return [name for name in headers if name.lower().startswith("access-control-")]


async def test_nobody_may_unless_it_is_configured(tmp_path: Path) -> None:
    """By default nothing is said to browsers."""
    async with serving(tmp_path) as ringside:
        asked = await ask(ringside, PAGE)
        called = await ringside.developer.get("/v1/models", headers={"Origin": PAGE})

    assert asked.status == 405
    assert cors(asked.headers) == cors(called.headers) == []
    assert "vary" not in called.headers


@pytest.mark.parametrize("path", [CHAT, "/v1/threads", "/v1/customers/customer_42"])
async def test_a_listed_page_may_call(ringside: Ringside, path: str) -> None:
    """The question needs no token, and is answered with every header that the SDK sends."""
    asked = await ask(ringside, PAGE, path)

    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers[ORIGIN] == PAGE
    assert asked.headers["access-control-allow-headers"] == SDK_HEADERS
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in asked.headers


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_answers_may_be_read_by_the_page(ringside: Ringside, is_streamed: bool) -> None:
    """Whole ones and streams, with the headers that say who answered and what is left."""
    body = {"model": ECHO, "messages": [{"role": "user", "content": "hi"}], "stream": is_streamed}

    answer = await ringside.developer.post(CHAT, body, headers={"Origin": PAGE})

    assert answer.status == 200
    assert answer.headers[ORIGIN] == PAGE
    assert answer.headers["vary"] == "Origin"
    assert "x-ringside-model" in answer.headers["access-control-expose-headers"]


async def test_refusals_may_be_read_too(ringside: Ringside) -> None:
    """A page that has the wrong token sees why."""
    refused = await ringside.developer.using("ko_wrong").get("/v1/models", headers={"Origin": PAGE})

    assert (refused.status, refused.headers[ORIGIN]) == (401, PAGE)


async def test_other_pages_are_told_nothing(ringside: Ringside) -> None:
    """Also those whose name begins or ends like a listed one."""
    for origin in (OTHER, f"{PAGE}.evil.com", "https://evil-app.example.com", "null", "*"):
        asked = await ask(ringside, origin)
        called = await ringside.developer.get("/v1/models", headers={"Origin": origin})

        assert asked.status == 405, origin
        assert cors(asked.headers) == cors(called.headers) == [], origin
        assert called.headers["vary"] == "Origin"


async def test_a_star_lets_every_page_call(tmp_path: Path) -> None:
    """Each is told its own name."""
    async with serving(tmp_path, server=ServerSettings(port=0, cors=("*",))) as ringside:
        asked = await ask(ringside, OTHER)

    assert (asked.status, asked.headers[ORIGIN]) == (204, OTHER)


async def test_headers_that_are_none_are_not_repeated(ringside: Ringside) -> None:
    """What a stranger writes is repeated only if it can be a list of names."""
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-a; <script>",
    }
    async with ringside.session.options(f"{ringside.proxy.url}{CHAT}", headers=headers) as answer:
        assert answer.status == 204
        assert "access-control-allow-headers" not in answer.headers
