"""The guard at the socket: names, redirects and spellings that lead inside are not followed there."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import AddressRefusedError
from ringside_proxy.guarded_client import GuardedClient

STRICT = AddressRules.of("images.allow_private", ())
TIMEOUTS = aiohttp.ClientTimeout(total=10)


class Names(AbstractResolver):
    """Answers from a script; the last answer for a name stays."""

    def __init__(self, **answers: list[str]) -> None:
        self._answers = {name.replace("_", "."): found for name, found in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The next answer for this name."""
        answers = self._answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses.split()
        ]

    async def close(self) -> None:
        """Nothing to end."""


class Inside:
    """A server on this machine, and what reached it."""

    def __init__(self) -> None:
        self.reached: list[web.Request] = []
        self.peers: set[Any] = set()
        self.port = 0

    def url(self, host: str, path: str = "/") -> str:
        """Its address under another name."""
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.Response:
        """A redirect, or a text and a cookie."""
        self.reached.append(request)
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        if request.path == "/away":
            return web.Response(status=302, headers={"location": self.url("127.0.0.1", "/secret")})
        return web.Response(text="inside", headers={"set-cookie": "a=b"})


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    server = Inside()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


async def get(client: GuardedClient, rules: AddressRules, url: str, **options: Any) -> str:
    """The status and body of an answer."""
    async with client.request(
        rules, "GET", url, timeouts=TIMEOUTS, may_be_plain=True, **options
    ) as response:
        return f"{response.status} {await response.text()}"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "①②⑦.0.0.1", "localhost"],
)
async def test_nothing_inside_is_reached(inside: Inside, host: str) -> None:
    """No spelling of this machine gets a connection."""
    client = GuardedClient()

    with pytest.raises(AddressRefusedError, match="not public"):
        await get(client, STRICT, inside.url(host))
    await client.close()

    assert inside.reached == []


async def test_name_that_answers_differently_when_it_is_dialled_is_refused(inside: Inside) -> None:
    """A name that was public when it was looked at may be private a moment later."""
    names = Names(rebind_test=["93.184.216.34", "127.0.0.1"])
    [seen] = await names.resolve("rebind.test")

    with pytest.raises(AddressRefusedError, match="not public"):
        await get(GuardedClient(names), STRICT, inside.url("rebind.test"))

    assert not STRICT.refuses(seen["host"])
    assert inside.reached == []


@pytest.mark.parametrize(
    "addresses", ["127.0.0.1 127.0.0.2", "::ffff:127.0.0.1", "::1 127.0.0.1", "10.0.0.1 fe80::1"]
)
async def test_every_address_of_a_name_is_judged(inside: Inside, addresses: str) -> None:
    """A list of addresses is not let in for its first."""
    with pytest.raises(AddressRefusedError):
        await get(GuardedClient(Names(many_test=[addresses])), STRICT, inside.url("many.test"))

    assert inside.reached == []


async def test_redirect_is_not_followed(inside: Inside) -> None:
    """It is the answer; whoever wants to follow it passes the guard again."""
    rules = AddressRules.of("images.allow_private", ["127.0.0.1"])

    assert await get(GuardedClient(), rules, inside.url("127.0.0.1", "/away")) == "302 "

    assert [request.path for request in inside.reached] == ["/away"]


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "inside.test"])
async def test_what_the_owner_lists_is_reached(inside: Inside, entry: str) -> None:
    """By network, by address or by name."""
    rules = AddressRules.of("images.allow_private", [entry])
    client = GuardedClient(Names(inside_test=["127.0.0.1"]))

    assert await get(client, rules, inside.url("inside.test")) == "200 inside"


async def test_listed_name_opens_no_other(inside: Inside) -> None:
    """The exception is the name's, not the address's."""
    rules = AddressRules.of("images.allow_private", ["inside.test"])
    client = GuardedClient(Names(inside_test=["127.0.0.1"], other_test=["127.0.0.1"]))

    with pytest.raises(AddressRefusedError):
        await get(client, rules, inside.url("other.test"))


async def test_request_brings_nothing_of_this_process(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the environment is asked, no password file, and no cookie is kept."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    rules = AddressRules.of("images.allow_private", ["127.0.0.1"])
    client = GuardedClient()

    await get(client, rules, inside.url("127.0.0.1"))
    await get(client, rules, inside.url("127.0.0.1"))

    assert [request.headers.get("cookie") for request in inside.reached] == [None, None]
    assert len(inside.peers) == 2
    assert inside.reached[0].headers["user-agent"].startswith("ringside-proxy/")


async def test_name_that_is_not_found_is_a_client_error() -> None:
    """The lookup's own failure is no refusal."""
    client = GuardedClient()

    with pytest.raises(aiohttp.ClientConnectorError):
        await get(client, STRICT, "http://nothing.invalid/")
    await client.close()


async def test_a_name_that_is_slow_to_resolve_keeps_no_other_waiting(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked for, and given up, it has one thread: others have theirs."""
    begun, end = threading.Event(), threading.Event()
    look_up = socket.getaddrinfo
    asked: list[str] = []

    def hangs(host: str, *args: Any, **options: Any) -> Any:
        asked.append(host)
        if host == "slow.example":
            begun.set()
            end.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    client = GuardedClient(lookups_at_once_max=2)
    rules = AddressRules.of("webhooks.allow_private", ["localhost"])
    try:
        for _ in range(4):
            attempt = asyncio.create_task(get(client, STRICT, "https://slow.example/"))
            await asyncio.to_thread(begun.wait)
            attempt.cancel()
            await asyncio.wait({attempt})

        assert await get(client, rules, inside.url("localhost")) == "200 inside"
        waits = asyncio.create_task(get(client, STRICT, "https://slow.example/"))
        await asyncio.sleep(0)
    finally:
        end.set()
    with pytest.raises(aiohttp.ClientConnectorError):
        await waits
    await client.close()
    assert asked.count("slow.example") <= 2


@pytest.mark.parametrize("url", ["http://[::1", "https://user:pw@example.com/", "http://a:22/", ""])
async def test_url_is_checked_before_anything_is_asked(url: str) -> None:
    """What can be refused without a lookup is."""
    with pytest.raises(AddressRefusedError):
        await get(GuardedClient(Names()), STRICT, url)


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://127.0.0.1/", ""),
        ("https://inside.example/", "10.0.0.1"),
        ("https://inside.example/", "93.184.216.34 ::1"),
        ("http://outside.example/", "93.184.216.34"),
    ],
)
async def test_check_tells_what_would_be_refused(url: str, addresses: str) -> None:
    """A literal, a name with any address inside, plain http: refused before anything is sent."""
    names = Names(inside_example=[addresses], outside_example=[addresses])

    with pytest.raises(AddressRefusedError, match=STRICT.setting):
        await GuardedClient(names).check(STRICT, url)


async def test_check_lets_pass_what_may_be_dialled() -> None:
    """A public name, one that the owner lists, and one that nobody knows yet."""
    rules = AddressRules.of("webhooks.allow_private", ["inside.example"])
    client = GuardedClient(Names(outside_example=["93.184.216.34"], inside_example=["10.0.0.1"]))
    strangers = GuardedClient()

    await client.check(rules, "https://outside.example/")
    await client.check(rules, "http://inside.example/")
    await strangers.check(rules, "https://nobody.invalid/")
    await strangers.close()
