"""Errors: each class on the wire, the README's list of them, and when another try is worth it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.api.errors import STATUS_AND_TYPE, error_response, status_and_type
from ringside_proxy.domain import errors
from ringside_proxy.domain.errors import ProviderError, RingsideError
from ringside_proxy.settings.schema import RunSettings
from tests.api.rig import UPSTREAM_KEY, UPSTREAM_MODEL, Answer, Caller, Ringside, serving, stop
from tests.fakes import FakeUpstream, error_reply

ROOT: Final = Path(__file__).resolve().parent.parent.parent
README: Final = ROOT / "README.md"
PACKAGE: Final = ROOT / "ringside_proxy"
BOUNDS: Final = (
    *("integer_above_max_value", "integer_below_min_value"),
    *("decimal_above_max_value", "decimal_below_min_value"),
)
"""What numbers are refused with, each put together of three words."""

WIRE: Final[dict[type[RingsideError], tuple[int, str, str | None]]] = {
    errors.RingsideError: (500, "server_error", None),
    errors.InvalidRequestError: (400, "invalid_request_error", None),
    errors.InvalidModelError: (400, "invalid_request_error", "invalid_model"),
    errors.ProviderNotConfiguredError: (400, "invalid_request_error", "provider_not_configured"),
    errors.ModelPriceUnknownError: (400, "invalid_request_error", "model_price_unknown"),
    errors.UnsupportedToolTypeError: (400, "invalid_request_error", "unsupported_tool_type"),
    errors.AddressRefusedError: (400, "invalid_request_error", "address_not_allowed"),
    errors.ThreadBusyError: (400, "invalid_request_error", "conversation_locked"),
    errors.RunStateError: (400, "invalid_request_error", None),
    errors.NotFoundError: (404, "invalid_request_error", None),
    errors.AuthenticationError: (401, "authentication_error", "invalid_api_key"),
    errors.PermissionDeniedError: (403, "permission_error", "insufficient_permissions"),
    errors.ResponseSchemaValidationFailedError: (
        422,
        "invalid_request_error",
        "response_schema_validation_failed",
    ),
    errors.RateLimitExceededError: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.CallTooLargeError: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.BillingError: (402, "billing_error", None),
    errors.CustomerBudgetExceededError: (402, "billing_error", "customer_budget_exceeded"),
    errors.WalletExhaustedError: (402, "billing_error", "wallet_exhausted"),
    errors.CustomerExistsError: (409, "conflict_error", "customer_exists"),
    errors.ConversationLockedError: (409, "conflict_error", "conversation_locked"),
    errors.ConversationFullError: (409, "conflict_error", "conversation_full"),
    errors.IdempotencyError: (409, "idempotency_error", None),
    errors.IdempotencyInProgressError: (409, "idempotency_error", "idempotency_in_progress"),
    errors.IdempotencyKeyReusedError: (422, "idempotency_error", "idempotency_key_reused"),
    errors.IdempotencyOutcomeUnknownError: (
        409,
        "idempotency_error",
        "idempotency_outcome_unknown",
    ),
    errors.IdempotencyAnswerNotKeptError: (
        409,
        "idempotency_error",
        "idempotency_answer_not_kept",
    ),
    errors.ManagedByConfigError: (409, "conflict_error", "managed_by_config"),
    errors.RequestTooLargeError: (413, "invalid_request_error", "request_too_large"),
    errors.RequestTimeoutError: (408, "invalid_request_error", "request_timeout"),
    errors.UnavailableError: (503, "server_error", None),
    errors.ClockJumpError: (503, "server_error", "clock_jump"),
    errors.OverloadedError: (503, "server_error", "overloaded"),
    errors.StorageFullError: (503, "server_error", "storage_full"),
    errors.ShuttingDownError: (503, "server_error", "shutting_down"),
    errors.ProviderError: (502, "provider_error", "provider_error"),
    errors.ProviderRateLimitedError: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.ProviderQuotaExceededError: (429, "insufficient_quota", "insufficient_quota"),
    errors.ProviderAuthenticationError: (502, "provider_error", "provider_auth_failed"),
    errors.ProviderPermissionDeniedError: (502, "provider_error", "provider_permission_denied"),
    errors.ProviderRejectedError: (400, "invalid_request_error", "invalid_request"),
    errors.ProviderUnavailableError: (503, "provider_error", "provider_unavailable"),
    errors.ProviderTimeoutError: (504, "provider_error", "provider_timeout"),
    errors.ProviderBadReplyError: (502, "provider_error", "provider_bad_response"),
}
"""The contract of design.md, section 2.4, class by class: status, type and code."""

NO_RETRY: Final = {
    errors.CallTooLargeError,
    errors.BillingError,
    errors.CustomerBudgetExceededError,
    errors.WalletExhaustedError,
    errors.CustomerExistsError,
    errors.ConversationLockedError,
    errors.ConversationFullError,
    errors.ManagedByConfigError,
    errors.ResponseSchemaValidationFailedError,
    errors.IdempotencyKeyReusedError,
    errors.IdempotencyOutcomeUnknownError,
    errors.IdempotencyAnswerNotKeptError,
}
NEVER_RAISED: Final = {
    errors.RingsideError,
    errors.UnavailableError,
    errors.BillingError,
    errors.IdempotencyError,
}
"""Only the classes below them are."""
CLASSES: Final = pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)


def every(kind: type[RingsideError]) -> set[type[RingsideError]]:
    """A class and everything below it."""
    return {kind}.union(*(every(child) for child in kind.__subclasses__()))


def made(kind: type[RingsideError], retry_after_s: float | None = None) -> RingsideError:
    """An error of the class."""
    if issubclass(kind, ProviderError):
        return kind("words", provider="openai", retry_after_s=retry_after_s)
    if issubclass(kind, errors.ResponseSchemaValidationFailedError):
        return kind("words", content="{}")
    return kind("words", retry_after_s=retry_after_s)


def error_section() -> str:
    """The README's chapter on errors."""
    return README.read_text().partition("\n## Errors\n")[2].partition("\n## ")[0]


def test_every_error_is_in_the_contract() -> None:
    """A class that nobody decided about cannot reach the wire."""
    ours = {kind for kind in every(RingsideError) if kind.__module__ == errors.__name__}

    assert ours == set(WIRE)
    assert set(STATUS_AND_TYPE) <= ours


@CLASSES
def test_an_error_has_its_status_type_and_code(kind: type[RingsideError]) -> None:
    """The table of `api/errors.py` says what the contract says."""
    error = made(kind)

    assert (*status_and_type(error), error.code) == WIRE[kind]


@pytest.mark.parametrize(
    "kind", [kind for kind in WIRE if kind not in NEVER_RAISED], ids=lambda kind: kind.__name__
)
def test_an_error_is_in_the_readme(kind: type[RingsideError]) -> None:
    """Its status, type and code stand in one row of the README's list."""
    status, error_type, code = WIRE[kind]
    lines = [line for line in error_section().splitlines() if f"| {status} |" in line]

    assert any(
        f"`{error_type}`" in line and (code is None or f"`{code}`" in line) for line in lines
    )


def test_the_readme_lists_no_code_that_does_not_exist() -> None:
    """Every code of the list is one of a class, or a validation's, or the provider's own."""
    table = [row.split("|")[4] for row in error_section().splitlines() if row.startswith("| ")][2:]
    listed = set(re.findall(r"`([a-z_]+)`", " ".join(table)))
    classes = {code for _, _, code in WIRE.values()}

    assert listed <= classes | set(written_codes()) | {"internal_error"}


def test_the_readme_lists_every_code_that_is_raised() -> None:
    """Also those that stand where an error is raised, and not in its class."""
    listed = set(re.findall(r"`([a-z_]+)`", error_section()))

    assert len(set(written_codes())) > 20
    assert set(written_codes()) - listed == set()


def written_codes() -> Iterator[str]:
    """Every code in the text of the package: `code="…"`, and what `_fail` is told first."""
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" in path.parts:  # it speaks for a provider
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                    yield code
                case ast.Call(func=ast.Name(id="_fail"), args=[ast.Constant(value=str(code)), *_]):
                    yield code
                case ast.Call(func=ast.Name(id="_fail"), args=[ast.JoinedStr(), *_]):
                    assert path.name == "decode_explain.py"
                    yield from BOUNDS
                case ast.arguments(args=names, defaults=defaults):
                    for name, default in zip(reversed(names), reversed(defaults), strict=False):
                        if name.arg == "code" and isinstance(default, ast.Constant):
                            yield from [default.value] if default.value else []


@CLASSES
@pytest.mark.parametrize(
    ("retry_after_s", "seconds", "milliseconds"),
    [
        (None, "1", "1000"),
        (7.25, "8", "7250"),
        (0.2, "1", "200"),
        (0, "1", "1"),
        (90, "90", "90000"),
    ],
)
def test_waiting_is_asked_for_where_it_helps(
    kind: type[RingsideError], retry_after_s: float | None, seconds: str, milliseconds: str
) -> None:
    """429, 503 and a key in use carry both headers, in seconds and milliseconds; nothing else does."""
    response = error_response(made(kind, retry_after_s))

    is_worth_it = response.status in (429, 503) or kind is errors.IdempotencyInProgressError
    expected = (seconds, milliseconds) if is_worth_it else (None, None)
    given = (response.headers.get("retry-after"), response.headers.get("retry-after-ms"))
    assert given == expected


@CLASSES
def test_the_sdk_is_told_not_to_retry_in_vain(kind: type[RingsideError]) -> None:
    """Provider errors were retried here already; a locked or full thread stays so."""
    response = error_response(made(kind))

    is_in_vain = issubclass(kind, ProviderError) or kind in NO_RETRY
    assert response.headers.get("x-should-retry") == ("false" if is_in_vain else None)


async def test_a_locked_thread_is_409_and_not_retried(api: Caller) -> None:
    """A second run is refused in OpenAI's words while the first is active."""
    thread, assistant = await api.thread("hi"), await api.assistant(model="fc:sandbox/hang")
    run = await api.begin(thread, assistant)

    answer = await api.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant})

    assert answer.status == 409
    assert answer.headers["x-should-retry"] == "false"
    assert answer.error == {
        "message": f"Thread {thread} already has an active run {run['id']}.",
        "type": "conflict_error",
        "param": None,
        "code": "conversation_locked",
    }


async def test_a_message_on_a_busy_thread_is_400(api: Caller) -> None:
    """OpenAI's words and status, with a code of ours."""
    thread, assistant = await api.thread("hi"), await api.assistant(model="fc:sandbox/hang")
    run = await api.begin(thread, assistant)

    answer = await api.post(
        f"/v1/threads/{thread}/messages", {"role": "user", "content": "are you there?"}
    )

    assert answer.status == 400
    assert answer.error == {
        "message": f"Can't add messages to {thread} while a run {run['id']} is active.",
        "type": "invalid_request_error",
        "param": None,
        "code": "conversation_locked",
    }


async def test_a_full_thread_is_409_and_not_retried(tmp_path: Path) -> None:
    """The cap holds for messages one by one, in a new thread, and with a run; nothing is stored."""
    async with serving(tmp_path, runs=RunSettings(max_messages_per_thread=2)) as ringside:
        api = ringside.developer
        thread, assistant = await api.thread("1", "2"), await api.assistant()
        message = {"role": "user", "content": "3"}
        path = f"/v1/threads/{thread}"

        answers = [
            await api.post(f"{path}/messages", message),
            await api.post("/v1/threads", {"messages": [message] * 3}),
            await api.post(
                f"{path}/runs", {"assistant_id": assistant, "additional_messages": [message]}
            ),
            await api.post(
                "/v1/threads/runs",
                {"assistant_id": assistant, "thread": {"messages": [message] * 3}},
            ),
        ]
        messages = (await api.get(f"{path}/messages")).json["data"]
        runs = (await api.get(f"{path}/runs")).json["data"]
        threads = (await api.get("/v1/threads")).json["data"]

    assert {(a.status, a.error["code"]) for a in answers} == {(409, "conversation_full")}
    assert {a.headers["x-should-retry"] for a in answers} == {"false"}
    assert (len(messages), runs, len(threads)) == (2, [], 1)


@pytest.fixture
async def provider_answers(api: Caller, upstream: FakeUpstream) -> list[tuple[Answer, Answer]]:
    """What the proxy makes of a provider's errors, plain and streamed, in the order of PROVIDER."""
    answers = []
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "x"}]}
    for status, code, _, _, _ in PROVIDER:
        upstream.enqueue(error_reply(status, code), error_reply(status, code))
        plain = await api.post("/v1/chat/completions", body)
        streamed = await api.post("/v1/chat/completions", body | {"stream": True})
        answers.append((plain, streamed))
    return answers


PROVIDER: Final = [
    (400, "context_length_exceeded", 400, "invalid_request_error", "context_length_exceeded"),
    (401, "invalid_api_key", 502, "provider_error", "provider_auth_failed"),
    (403, None, 502, "provider_error", "provider_permission_denied"),
    (404, "model_not_found", 400, "invalid_request_error", "model_not_found"),
    (429, "rate_limit_exceeded", 429, "rate_limit_error", "rate_limit_exceeded"),
    (429, "insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
    (500, None, 503, "provider_error", "provider_unavailable"),
    (502, None, 503, "provider_error", "provider_unavailable"),
    (503, None, 503, "provider_error", "provider_unavailable"),
    (504, None, 504, "provider_error", "provider_timeout"),
]
"""Status and code of the provider, then status, type and code of the proxy."""


async def test_a_provider_s_error_becomes_ours(
    provider_answers: list[tuple[Answer, Answer]],
) -> None:
    """Before the first byte a stream answers with the same status and body as a plain call."""
    for (_, _, status, error_type, code), (plain, streamed) in zip(
        PROVIDER, provider_answers, strict=True
    ):
        assert (plain.status, plain.error["type"], plain.error["code"]) == (
            status,
            error_type,
            code,
        )
        assert plain.headers["x-should-retry"] == "false"
        assert (streamed.status, streamed.body) == (plain.status, plain.body)
        assert UPSTREAM_KEY.encode() not in plain.body


async def test_a_provider_s_retry_after_is_passed_on(api: Caller) -> None:
    """How long the provider asks to wait, its caller is told too."""
    body = {"model": "fc:sandbox/rate-limit-7", "messages": [{"role": "user", "content": "x"}]}

    answer = await api.post("/v1/chat/completions", body)

    assert answer.status == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["retry-after-ms"] == "7000"
    assert answer.headers["x-should-retry"] == "false"


async def test_a_new_run_is_refused_on_the_way_down(ringside: Ringside) -> None:
    """Once the drain is over, runs are 503 shutting_down, with the time to come back."""
    api = ringside.developer
    thread, assistant = await api.thread("hi"), await api.assistant()
    await stop(ringside.proxy)

    answer = await api.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant})

    assert (answer.status, answer.error["code"]) == (503, "shutting_down")
    assert answer.error["type"] == "server_error"
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("5", "5000")
    assert (await api.get(f"/v1/threads/{thread}/runs")).json["data"] == []


async def test_a_bug_of_ours_is_500_and_says_nothing(
    ringside: Ringside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is told with the id to look up, and logged under it; never its text."""

    async def explode(*_: object) -> None:
        raise ValueError("a secret of the insides")

    monkeypatch.setattr(ringside.proxy.services.db, "read", explode)

    answer = await ringside.developer.get("/v1/assistants")

    request_id = answer.headers["x-request-id"]
    assert answer.status == 500
    assert (answer.error["type"], answer.error["code"]) == ("server_error", "internal_error")
    assert request_id in answer.error["message"]
    assert "secret" not in answer.error["message"]
    assert [r.request_id for r in caplog.records if r.message == "request failed"] == [request_id]
    assert (await ringside.developer.get("/v1/models")).status == 200
