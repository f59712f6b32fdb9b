"""Calls through the proxy that the environment names: only where the owner says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from ringside_proxy.domain.errors import ProviderUnavailableError
from tests.fakes import FakeUpstream, text_reply
from tests.providers.conftest import Caller

NOWHERE = "http://provider.invalid/v1"


@asynccontextmanager
async def http_proxy(upstream: FakeUpstream, asked: list[str]) -> AsyncIterator[str]:
    """A forward proxy that takes every request to `upstream`; `asked` has the request lines."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        asked.append(line.decode())
        method, url, version = line.split(b" ")
        path = b"/" + url.split(b"/", 3)[3]
        length = next(
            int(header.partition(b":")[2])
            for header in headers.split(b"\r\n")
            if header.lower().startswith(b"content-length:")
        )
        there, back = await asyncio.open_connection("127.0.0.1", upstream.port)
        back.write(b" ".join((method, path, version)) + b"\r\nconnection: close\r\n" + headers)
        back.write(await reader.readexactly(length))
        writer.write(await there.read())
        for each in (back, writer):
            each.close()
            await each.wait_closed()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("trust_env", [True, False])
async def test_environment_is_obeyed_only_if_it_is_trusted(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, trust_env: bool
) -> None:
    """With `trust_env` a call goes through HTTP_PROXY; without, nobody else is asked."""
    upstream.enqueue(text_reply("Hello"))
    caller, asked = Caller(upstream), list[str]()
    caller.set(max_retries=0)
    caller.base_url = NOWHERE
    caller.target = msgspec.structs.replace(caller.target, trust_env=trust_env)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async with http_proxy(upstream, asked) as address:
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        try:
            if trust_env:
                assert await caller.deltas()
            else:
                with pytest.raises(ProviderUnavailableError):
                    await caller.deltas()
        finally:
            await caller.client.close()

    assert asked == ([f"POST {NOWHERE}/chat/completions HTTP/1.1"] if trust_env else [])
