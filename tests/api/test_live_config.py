"""The configuration is exchanged while requests go on, and never for a worse one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.providers.connections import KEEPALIVE_S
from tests.api.live import Live, following, until
from tests.api.rig import CLIENT_A, DEVELOPER
from tests.fakes import FakeUpstream, text_reply

ANOTHER = "ko_another000000000000000000000000000000000000"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    """A proxy that follows a file."""
    async with following(tmp_path) as proxy:
        yield proxy


async def test_a_saved_file_is_in_effect_by_itself(live: Live) -> None:
    """Nobody tells the proxy; it notices."""
    assert await live.say("slot:fast") == (200, "hello")

    live.write(slots={"fast": "fc:sandbox/refuse"})

    async def is_in_effect() -> bool:
        return (await live.say("slot:fast"))[1] != "hello"

    await until(is_in_effect)
    assert (await live.status())["state"] == "in_effect"


async def test_a_changed_secret_is_in_effect_by_itself(tmp_path: Path) -> None:
    """The token in a mounted file is another one: the old one opens nothing any more."""
    secret = tmp_path / "token"
    secret.write_text(f"{DEVELOPER}\n")
    auth = {"tokens": [{"name": "app", "token": f"file:{secret}"}]}
    async with following(tmp_path, auth=auth) as live:
        secret.write_text(f"{ANOTHER}\n")

        async def is_refused() -> bool:
            return (await live.developer.get("/v1/models")).status == 401

        await until(is_refused)
        assert (await live.developer.using(ANOTHER).get("/v1/models")).status == 200


async def test_a_broken_file_keeps_what_runs_and_says_what_is_wrong(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, in the metrics and to developers: where, what, and what would be right."""
    live.write(slots={"fast": "fc:sandbox/echo"}, runs={"expires_aftr": "5m"}, log={"level": "lou"})

    assert not await live.reload()

    status = await live.status()
    assert status["state"] == "refused"
    assert {"runs.expires_aftr", "log.level"} == {p["path"] for p in status["problems"]}
    assert status["problems"][0]["message"] == "unknown key"
    assert "expires_after" in status["problems"][0]["remedy"]
    assert await live.say("slot:fast") == (200, "hello")
    assert await live.metric("ringside_config_reload_failed_total") == 1
    assert await live.metric("ringside_config_in_sync") == 0
    told = {r.setting: r.reason for r in caplog.records if hasattr(r, "setting")}
    assert 'did you mean "expires_after"' in told["runs.expires_aftr"]


async def test_a_mended_file_is_in_effect_again(live: Live) -> None:
    """The problems are gone with it, also if it is what ran all the time."""
    live.path.write_text("slots: [")
    assert not await live.reload()

    live.write()

    assert await live.reload()
    status = await live.status()
    assert (status["state"], status["problems"], status["refusals"]) == ("in_effect", [], 1)
    assert await live.metric("ringside_config_in_sync") == 1


@pytest.mark.parametrize("text", ["", "   ", "\x00", "a: &a [*a]", "- 1", "[" * 10_000])
async def test_no_text_breaks_the_running_configuration(live: Live, text: str) -> None:
    """Whatever stands in the file, the proxy goes on."""
    live.path.write_text(text)

    await live.reload()

    assert await live.say("fc:sandbox/echo") in ((200, "hello"), (401, "invalid_api_key"))
    live.write()
    assert await live.reload()
    assert await live.say("slot:fast") == (200, "hello")


async def test_a_file_that_is_gone_keeps_what_runs(live: Live) -> None:
    """A folder unmounted, a file removed: nothing changes but the status."""
    live.path.unlink()

    assert not await live.reload()

    assert await live.say("slot:fast") == (200, "hello")
    assert (await live.status())["problems"][0]["message"].startswith("cannot be read")


async def test_what_needs_a_restart_waits_and_the_rest_is_in_effect(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys are named; the others of the same file count at once."""
    caplog.set_level(logging.INFO)
    live.write(server={"port": 9999}, admin={"port": 9998}, slots={"fast": "fc:sandbox/system"})

    assert await live.reload()

    status = await live.status()
    assert status["state"] == "restart_needed"
    assert status["needs_restart"] == ["server.port", "admin.port"]
    assert await live.say("slot:fast") != (200, "hello")
    assert await live.metric("ringside_config_in_sync") == 0
    told = [r.setting for r in caplog.records if r.message == "needs a restart to take effect"]
    assert told == ["server.port", "admin.port"]


async def test_changes_are_logged_without_secrets(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """What was and what is, key by key; of a secret only that it is another."""
    caplog.set_level(logging.INFO)
    tokens = [{"name": "app", "token": DEVELOPER}, {"name": "b", "token": ANOTHER}]
    live.write(slots={"fast": "fc:sandbox/system"}, auth={"tokens": tokens})

    assert await live.reload()

    told = {r.setting: r.change for r in caplog.records if hasattr(r, "change")}
    assert told["slots.fast.model"] == '"fc:sandbox/echo" → "fc:sandbox/system"'
    assert told["auth.tokens.b.token"] == "(none) → (secret)"
    assert ANOTHER not in caplog.text


async def test_an_unchanged_file_changes_nothing(live: Live) -> None:
    """Saved again as it was: no exchange."""
    before = live.proxy.services.live_config.snapshot
    live.write()

    assert await live.reload()

    assert live.proxy.services.live_config.snapshot is before
    assert (await live.status())["reloads"] == 0


async def test_tokens_of_the_file_come_and_go(live: Live) -> None:
    """A new one opens, a removed one does not, minted ones stay."""
    minted = (await live.developer.make("/v1/tokens", {"name": "minted"}))["token"]
    live.write(auth={"tokens": [{"name": "other", "token": ANOTHER}]})

    assert await live.reload()

    statuses = [
        (await live.developer.using(token).get("/v1/models")).status
        for token in (DEVELOPER, ANOTHER, minted)
    ]
    assert statuses == [401, 200, 200]


async def test_auth_can_be_switched_off_and_on(live: Live) -> None:
    """auth.required is live too, where it is allowed at all."""
    live.write(auth={"required": False})
    assert await live.reload()
    assert (await live.developer.using(None).get("/v1/models")).status == 200

    live.write()
    assert await live.reload()

    assert (await live.developer.using(None).get("/v1/models")).status == 401


async def test_status_is_for_developers(tmp_path: Path) -> None:
    """A client's token does not see the owner's configuration."""
    client = {"name": "c", "token": CLIENT_A, "role": "client", "customer": "customer_a"}
    auth = {"tokens": [{"name": "app", "token": DEVELOPER}, client]}
    async with following(tmp_path, auth=auth) as live:
        answer = await live.developer.using(CLIENT_A).get("/v1/config/status")

    assert answer.status == 403


async def test_a_request_finishes_on_the_configuration_it_began_with(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """Its provider leaves the configuration while it streams: it ends as it would have."""
    both = {"sandbox": {}, "openai": {"api_key": "k", "base_url": upstream.base_url}}
    async with following(tmp_path, providers=both) as live:
        body = {"model": "fc:sandbox/slow-100", "stream": True}
        body["messages"] = [{"role": "user", "content": "one two three four five six"}]
        async with live.developer.session.post(
            f"{live.proxy.url}/v1/chat/completions", json=body, headers=live.developer.headers
        ) as response:
            first = await response.content.readline()
            live.write(providers={"openai": both["openai"]}, slots={})
            assert await live.reload()
            rest = await response.content.read()

        assert (await live.say("fc:sandbox/echo"))[1] == "provider_not_configured"

    assert first.startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in rest


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """A provider."""
    async with FakeUpstream(is_strict=False) as provider:
        yield provider


async def test_connections_of_a_provider_that_has_moved_are_closed(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """At once, where nobody uses them; they would stay open for a while by themselves."""
    upstream.enqueue(text_reply("hello"))

    def at(base_url: str) -> dict[str, Any]:
        return {"openai": {"api_key": "k", "base_url": base_url}}

    async def is_left() -> bool:
        return upstream.open_connections == 0

    async with following(tmp_path, providers=at(upstream.base_url)) as live:
        assert await live.say("fc:openai/gpt-4.1") == (200, "hello")
        assert upstream.open_connections == 1
        live.write(providers=at("http://127.0.0.1:9/v1"))

        assert await live.reload()

        await until(is_left, seconds=KEEPALIVE_S - 5)


async def test_a_reload_asked_for_while_one_runs_is_made_after_it(live: Live) -> None:
    """Two at once end in what the file says last."""
    live.write(slots={"fast": "fc:sandbox/system"})
    first = asyncio.create_task(live.reload())
    await asyncio.sleep(0)
    live.write(slots={"fast": "fc:sandbox/echo", "more": "fc:sandbox/echo"})

    assert await live.reload()
    await first  # it may have met the file half written; then it has kept what ran

    assert await live.say("slot:more") == (200, "hello")
