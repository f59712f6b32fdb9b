"""`ringside doctor --keys` tells a bad key from a provider that is down."""

from collections.abc import AsyncIterator

import pytest

from ringside_proxy.commands import doctor_keys
from ringside_proxy.commands.doctor import Finding
from ringside_proxy.settings.schema import ProviderSettings, Settings
from ringside_proxy.settings.values import Secret
from ringside_proxy.system import SystemClock, system_ids
from tests.fakes import FakeUpstream, Reply, error_reply, text_reply

KEY = "of-the-owner"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """A provider on OpenAI's wire."""
    async with FakeUpstream(is_strict=False) as provider:
        yield provider


async def tried(upstream: FakeUpstream, *replies: Reply) -> Finding:
    """What is found about a provider that answers so."""
    upstream.enqueue(*replies)
    given = ProviderSettings(api_key=Secret(KEY), base_url=upstream.base_url)
    settings = Settings(providers={"openai": given, "sandbox": ProviderSettings()})
    [found] = await doctor_keys.findings(settings, SystemClock(), system_ids())
    return found


async def test_a_key_that_works_is_fine_after_one_small_call(upstream: FakeUpstream) -> None:
    """One request, of a few tokens, with the key; the sandbox is not asked."""
    found = await tried(upstream, text_reply("ok"))

    [request] = upstream.requests
    assert found.level == "ok"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["max_completion_tokens"] == doctor_keys.OUTPUT_TOKENS


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (error_reply(401, "invalid_api_key"), "openai refuses the key"),
        (error_reply(403), "openai does not allow"),
        (error_reply(429, "insufficient_quota"), "openai is out of credit"),
        (error_reply(503), "openai"),
    ],
)
async def test_what_the_owner_has_to_put_right_is_told_apart(
    upstream: FakeUpstream, reply: Reply, text: str
) -> None:
    """The key, a right, money, or the provider itself; asked once, not again."""
    found = await tried(upstream, reply)

    assert found.level == "FAIL"
    assert found.text.startswith(text)
    assert found.remedy
    assert KEY not in found.text
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("reply", [error_reply(429, "rate_limit_exceeded"), error_reply(404)])
async def test_a_refusal_that_is_not_about_the_key_is_fine(
    upstream: FakeUpstream, reply: Reply
) -> None:
    """Whoever says *slower* or *no such model* has taken the key."""
    assert (await tried(upstream, reply)).level == "ok"


async def test_without_any_provider_it_says_how_to_get_one() -> None:
    """The sandbox alone has no key to try."""
    settings = Settings(providers={"sandbox": ProviderSettings()})

    [found] = await doctor_keys.findings(settings, SystemClock(), system_ids())

    assert (found.level, found.text) == ("warn", "no provider has a key here")
