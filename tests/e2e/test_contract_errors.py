"""Each kind of refusal, in each vendor's own words, and what it means outside."""

import json
from typing import Final, NamedTuple

import pytest

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.nineteen import CHAT, Proxy, last_run, model_of
from tests.vendors.asked import Kind, Refused
from tests.vendors.envelopes import RETRY_AFTER_S, says_no, tells_wait
from tests.vendors.far_end import Received

MESSAGES: Final = [{"role": "user", "content": "Hi"}]


class Outside(NamedTuple):
    """What a caller sees of it; `run_code` is that of a run's `last_error`."""

    status: int
    type: str
    code: str | None
    run_code: str


OUTSIDE: Final = {
    Kind.AUTH: Outside(502, "provider_error", "provider_auth_failed", "server_error"),
    Kind.PERMISSION: Outside(502, "provider_error", "provider_permission_denied", "server_error"),
    Kind.NOT_FOUND: Outside(400, "invalid_request_error", None, "invalid_prompt"),
    Kind.BAD_REQUEST: Outside(400, "invalid_request_error", None, "invalid_prompt"),
    Kind.CONTEXT: Outside(
        400, "invalid_request_error", "context_length_exceeded", "invalid_prompt"
    ),
    Kind.POLICY: Outside(
        400, "invalid_request_error", "content_policy_violation", "invalid_prompt"
    ),
    Kind.RATE_LIMIT: Outside(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded"),
    Kind.QUOTA: Outside(429, "insufficient_quota", "insufficient_quota", "rate_limit_exceeded"),
    Kind.OVERLOADED: Outside(503, "provider_error", "provider_unavailable", "server_error"),
    Kind.TIMEOUT: Outside(504, "provider_error", "provider_timeout", "server_error"),
}
"""By the table of errors that the README has."""


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_chat_tells_why_it_was_refused(
    provider: str, kind: Kind, is_stream: bool, proxy: Proxy
) -> None:
    """With the status, type and code of its kind, the provider's name, and how long to wait."""
    proxy.answers(provider, says_no(provider, Refused("", kind)))
    body = {"model": model_of(provider), "messages": MESSAGES, "stream": is_stream}

    error = json.loads(await proxy.anyhow(CHAT, body))["error"]

    expected = OUTSIDE[kind]
    assert (proxy.status, error["type"]) == expected[:2], error
    assert expected.code in (None, error["code"]), error
    assert provider in error["message"]
    if kind is Kind.RATE_LIMIT:
        wait_s = RETRY_AFTER_S if tells_wait(provider) else 1
        assert proxy.headers["retry-after"] == str(wait_s)
        assert proxy.headers["retry-after-ms"] == str(wait_s * 1000)


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_run_tells_why_it_failed(provider: str, kind: Kind, proxy: Proxy) -> None:
    """In `last_error`, with the provider's name; the thread is free for the next message."""
    proxy.answers(provider, says_no(provider, Refused("", kind)))

    run = last_run(await proxy.run(provider))

    assert run["status"] == "failed"
    assert run["last_error"]["code"] == OUTSIDE[kind].run_code, run["last_error"]
    assert provider in run["last_error"]["message"]
    path = f"/v1/threads/{run['thread_id']}/messages"
    assert (await proxy.call(path, {"role": "user", "content": "And now?"}))["id"]


async def test_no_vendor_is_asked_with_anothers_key(proxy: Proxy) -> None:
    """The judges take no key but their own: this shows that they look."""
    proxy.may_be_refused = True
    received: list[Received] = []
    for provider in TYPICAL_MODELS:
        proxy.answers(provider, "plain")
        await proxy.anyhow(
            CHAT, {"model": model_of(provider), "messages": MESSAGES, "stream": True}
        )
        received += proxy.far.received[provider]

    assert not proxy.far.refused
    assert len(received) == len(TYPICAL_MODELS)
