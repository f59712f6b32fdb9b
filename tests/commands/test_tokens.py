"""`ringside token`: new, list and revoke, over the API and in the store."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.api.tokens import EXPIRES_IN_S_MAX
from ringside_proxy.cli import LIFETIME_S_MAX, main
from ringside_proxy.commands import tokens
from ringside_proxy.commands.errors import CommandError
from ringside_proxy.commands.reach import Access
from ringside_proxy.services.tokens import configured_id
from tests.api.rig import DEVELOPER, Ringside, rows, serving
from tests.fakes import FakeClock

HEADER: Final = ["ID", "NAME", "ROLE", "CUSTOMER", "CREATED", "EXPIRES", "LAST", "USED", "SOURCE"]


def running(ringside: Ringside) -> Access:
    """The proxy, by its URL."""
    return Access(settings=ringside.settings, url=ringside.proxy.url, token=DEVELOPER)


def lines(listing: str) -> list[list[str]]:
    """A table's cells; what has a space in it is two."""
    return [line.split() for line in listing.splitlines()]


async def test_tokens_are_listed_with_what_is_known_of_them(tmp_path: Path) -> None:
    """Newest first, then those of the configuration; from the store as from the proxy."""
    async with serving(tmp_path, FakeClock()) as ringside:
        await ringside.developer.make(
            "/v1/tokens", {"name": "web", "role": "client", "customer": "c", "expires_in": 3600}
        )
        told = await asyncio.to_thread(tokens.listing, running(ringside))
    read = await asyncio.to_thread(tokens.listing, Access(settings=ringside.settings))

    header, web, app, *clients = lines(told)
    day, hour, later = "2025-11-21", "04:40Z", "05:40Z"
    assert header == HEADER
    assert web[1:] == ["web", "client", "c", day, hour, day, later, "-", "api"]
    assert app[1:] == ["app", "developer", "-", "-", "-", day, hour, "config"]
    assert [client[1] for client in clients] == ["a", "b"]
    assert read == told


async def test_more_tokens_than_a_page_are_all_listed(ringside: Ringside) -> None:
    """The list is read to its end."""
    for number in range(103):
        await ringside.proxy.services.tokens.mint(f"t{number}", "developer", None)

    told = await asyncio.to_thread(tokens.listing, running(ringside))

    assert [line[1] for line in lines(told)[1:104]] == [f"t{n}" for n in reversed(range(103))]


async def test_a_revoked_token_opens_nothing(ringside: Ringside) -> None:
    """Over the API at once; a second time it is unknown."""
    made = await ringside.developer.make("/v1/tokens", {"name": "x"})
    user = ringside.developer.using(made["token"])
    before = await user.get("/v1/models")

    await asyncio.to_thread(tokens.revoke, running(ringside), made["id"])

    assert (before.status, (await user.get("/v1/models")).status) == (200, 401)
    with pytest.raises(CommandError, match="No token found"):
        await asyncio.to_thread(tokens.revoke, running(ringside), made["id"])


async def test_a_token_is_revoked_in_the_store_while_no_proxy_runs(tmp_path: Path) -> None:
    """The next process does not know it; an unknown id is told."""
    async with serving(tmp_path) as ringside:
        made = await ringside.developer.make("/v1/tokens", {"name": "x"})
    access = Access(settings=ringside.settings)

    await asyncio.to_thread(tokens.revoke, access, made["id"])

    assert rows(tmp_path, "api_tokens") == []
    with pytest.raises(CommandError, match="No token found"):
        await asyncio.to_thread(tokens.revoke, access, made["id"])


async def test_a_token_of_the_configuration_is_revoked_there(ringside: Ringside) -> None:
    """The message says where it stands."""
    [app, *_] = ringside.settings.auth.tokens

    with pytest.raises(CommandError, match=r"auth\.tokens"):
        await asyncio.to_thread(tokens.revoke, running(ringside), configured_id(app))


async def test_a_token_s_life_can_be_limited(tmp_path: Path) -> None:
    """By either way it expires when it was said."""
    async with serving(tmp_path) as ringside:
        await asyncio.to_thread(tokens.new, running(ringside), "a", "developer", None, 60)
        [made] = rows(tmp_path, "api_tokens")
    await asyncio.to_thread(
        tokens.new, Access(settings=ringside.settings), "b", "client", "c", 3600
    )
    stored = rows(tmp_path, "api_tokens")

    assert made["expires_ms"] - made["created_ms"] == 60_000
    assert stored[1]["expires_ms"] - stored[1]["created_ms"] == 3_600_000


@pytest.mark.parametrize("life", ["0d", "90", "d", "-1d", "1.5h", "36501d", "9" * 12 + "s", "1w"])
def test_a_life_that_makes_no_sense_is_refused(
    life: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an example of what would."""
    with pytest.raises(SystemExit):
        main(["token", "new", "x", f"--expires-in={life}"])

    assert "such as 90d, 12h or 30m" in capsys.readouterr().err
    assert LIFETIME_S_MAX == EXPIRES_IN_S_MAX
