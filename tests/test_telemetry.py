"""What the operator is told: log lines without content or secrets, metrics without ids."""

import io
import logging
import re
import sys
from collections.abc import Callable, Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.telemetry.families import LABEL_CHARS_MAX, LABEL_SETS_MAX
from ringside_proxy.telemetry.logs import (
    LOG_FIELDS,
    LOG_TEXT_CHARS_MAX,
    STACK_ERRORS_MAX,
    JSONLines,
    LogFormat,
    LogLevel,
    configure_logging,
    fields,
    redact,
    stack_text,
)
from ringside_proxy.telemetry.metrics import METRICS_CONTENT_TYPE, Metrics

Configure = Callable[..., io.StringIO]

FAKE_SECRETS = [
    "sk-" + "proj-abcDEF123456",
    "ko_" + "q9w8e7r6t5",
    "whsec_" + "MfKQ9r8GKYqrTwjU",
    "Bearer " + "abc.def-ghi",
    "bearer " + "abc.def-ghi",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "AIza" + "SyA1234567890",
    "xai-" + "0123456789abcdef",
    "gsk_" + "0123456789abcdef",
]


@pytest.fixture
def configured() -> Iterator[Configure]:
    """Configures logging onto a string; what was configured before comes back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("ringside_proxy")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()

    def configure(level: LogLevel = "info", log_format: LogFormat = "json") -> io.StringIO:
        configure_logging(level, log_format, stream)
        return stream

    yield configure
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def raised(error: BaseException) -> BaseException:
    """`error` with a traceback, from a frame that holds a local worth hiding."""

    def fail() -> None:
        words = "what the user said"
        assert words
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


# ---------------------------------------------------------------------------------------- logging


def test_a_record_is_one_line_of_json(configured: Configure) -> None:
    """Time, level, logger, message, then the fields that were given."""
    stream = configured()

    logging.getLogger("ringside_proxy.api").warning(
        "slow\nrequest", extra=fields(request_id="req_1", status=200, duration_ms=12.5, code=None)
    )

    [line] = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("time")))
    assert line == {
        "level": "warning",
        "logger": "ringside_proxy.api",
        "message": "slow\nrequest",
        "request_id": "req_1",
        "status": 200,
        "code": None,
        "duration_ms": 12.5,
    }


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_fields_that_are_not_allowed_are_dropped(
    configured: Configure, log_format: LogFormat
) -> None:
    """A prompt, a completion or a header given as an extra does not reach the line."""
    stream = configured(log_format=log_format)

    logging.getLogger("ringside_proxy").info(
        "hello", extra={"prompt": "CANARY", "headers": {"x": "CANARY"}, "run_id": "run_1"}
    )

    assert "run_1" in stream.getvalue()
    assert "CANARY" not in stream.getvalue()


def test_an_allowed_field_holds_no_structure(configured: Configure) -> None:
    """A value that is neither text nor number is named by its type only."""
    stream = configured()

    logging.getLogger("ringside_proxy").info("x", extra={"reason": ["CANARY"], "count": 2**64})

    [line] = lines(stream)
    assert (line["reason"], line["count"]) == ("list", "int")


def test_the_allow_list_has_no_place_for_content() -> None:
    """No field is named for a body, a header or a person."""
    forbidden = {"prompt", "completion", "content", "messages", "body", "headers", "customer"}

    assert forbidden.isdisjoint(LOG_FIELDS)


@pytest.mark.parametrize("secret", FAKE_SECRETS)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_blotted_out_everywhere(
    configured: Configure, log_format: LogFormat, secret: str
) -> None:
    """In the message, in its arguments, in a field, in an error's text, in its stack."""
    stream = configured(log_format=log_format)
    log = logging.getLogger("ringside_proxy")
    hidden = secret.removeprefix("Bearer ").removeprefix("bearer ")

    log.info(f"key={secret}")
    log.info("key %s", secret, extra=fields(reason=f"'{secret}'"))
    log.error("failed", exc_info=raised(OSError(f"cannot read {secret}")))

    assert hidden not in stream.getvalue()
    assert stream.getvalue().count("***") == 4


@given(st.text(max_size=50), st.sampled_from(FAKE_SECRETS), st.text(max_size=50))
def test_a_secret_is_found_in_any_surroundings(before: str, secret: str, after: str) -> None:
    """What stands around a key does not hide it, save a letter that makes it another word."""
    text = redact(f"{before} {secret}{after}")

    assert secret.removeprefix("Bearer ").removeprefix("bearer ") not in text


@pytest.mark.parametrize("text", ["risk-assessment", "task-force", "a bear market", "fc:openai/x"])
def test_ordinary_words_are_left_alone(text: str) -> None:
    """The net catches keys, not words that end like a key's prefix."""
    assert redact(text) == text


def test_a_secret_at_the_cut_is_gone_before_the_cut(configured: Configure) -> None:
    """A long text is cut after it was redacted, so that no half of a key remains."""
    stream = configured()
    secret = "sk-" + "x" * 40

    logging.getLogger("ringside_proxy").info("%s", "a " * (LOG_TEXT_CHARS_MAX // 2 - 5) + secret)

    [line] = lines(stream)
    assert len(str(line["message"])) <= LOG_TEXT_CHARS_MAX
    assert "sk-x" not in str(line["message"])


def test_a_stack_shows_places_and_classes_but_no_locals(configured: Configure) -> None:
    """The stack names files and lines; text that may quote a caller is left out."""
    stream = configured()
    error = raised(ValueError("invalid literal: 'CANARY'"))

    logging.getLogger("ringside_proxy").error("unexpected", exc_info=error)

    stack = str(lines(stream)[0]["stack"])
    assert stack.startswith("ValueError\n")
    assert "test_telemetry.py" in stack
    assert "CANARY" not in stack
    assert "what the user said" not in stack


def test_a_stack_keeps_the_text_of_the_machines_own_errors() -> None:
    """An operator sees which file is missing."""
    assert stack_text(raised(FileNotFoundError(2, "No such file", "ringside.db"))).startswith(
        "FileNotFoundError: [Errno 2] No such file: 'ringside.db'\n"
    )


def test_a_stack_cannot_be_forged() -> None:
    """A line break in an error's text makes no line of its own."""
    assert (
        stack_text(OSError("gone\nINFO all is well\x1b[2J")) == "OSError: gone INFO all is well [2J"
    )


def test_a_stack_follows_causes_and_groups() -> None:
    """What an error came from is in the text, also inside a group; a hidden context is not."""
    cause = raised(KeyError("CANARY"))
    hidden = raised(IndexError())
    failed = RuntimeError()
    failed.__cause__ = cause
    suppressed = LookupError()
    suppressed.__context__, suppressed.__suppress_context__ = hidden, True

    text = stack_text(ExceptionGroup("several", [failed, suppressed]))

    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    assert heads == ["ExceptionGroup", "RuntimeError", "LookupError", "KeyError"]


def test_a_stack_of_errors_in_a_circle_ends() -> None:
    """Errors that name each other as their cause are followed a bounded number of times."""
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one

    assert len(stack_text(one).splitlines()) == STACK_ERRORS_MAX


def test_a_library_s_words_are_kept_short(configured: Configure) -> None:
    """Of a library's record only the fixed first line is shown, from warnings on; of requests that
    are no HTTP, which clients can send without end, nothing."""
    stream = configured("debug")

    logging.getLogger("aiohttp.access").info("GET /secret")
    logging.getLogger("asyncio").error("Task failed\nfuture: %s", "CANARY")
    logging.getLogger("aiohttp.client").warning("Error from %s", "CANARY")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "CANARY")

    assert [line["message"] for line in lines(stream)] == ["Task failed", "Error from %s"]


def test_a_wrong_format_does_not_print_its_arguments(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log call with too many arguments still makes a line, without them."""
    stream = configured()

    wrong_call = ("nothing to fill", "CANARY")
    logging.getLogger("ringside_proxy").info(*wrong_call)

    assert lines(stream)[0]["message"] == "nothing to fill"
    assert "CANARY" not in stream.getvalue() + capsys.readouterr().err


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_the_least_that_is_shown(
    configured: Configure, level: LogLevel, shown: list[str]
) -> None:
    """Records below `log.level` are not written."""
    stream = configured(level)
    log = logging.getLogger("ringside_proxy.store")

    for name in ("debug", "info", "warning", "error"):
        log.log(logging.getLevelName(name.upper()), "x")

    assert [line["level"] for line in lines(stream)] == shown


def test_text_is_one_line_that_cannot_be_forged(configured: Configure) -> None:
    """Line breaks and terminal codes in a value do not reach the terminal."""
    stream = configured(log_format="text")

    logging.getLogger("ringside_proxy").info(
        "bad name %s", "x\nERROR all lost\x1b[31m", extra=fields(run_id="run_1\u2028y")
    )

    text = stream.getvalue()
    assert re.fullmatch(r"\S+Z info +bad name x ERROR all lost \[31m  run_id=run_1 y\n", text)


def test_text_puts_the_stack_below(configured: Configure) -> None:
    """In text format a stack follows its line, as a reader expects it."""
    stream = configured(log_format="text")

    logging.getLogger("ringside_proxy").error("broken", exc_info=raised(KeyError("k")))

    head, error, *places = stream.getvalue().splitlines()
    assert head.endswith("broken")
    assert error == "KeyError"
    assert any("test_telemetry.py" in place for place in places)


ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


@given(ANY_TEXT, ANY_TEXT, st.one_of(st.integers(), st.floats(), st.none(), ANY_TEXT))
def test_any_record_makes_one_line(message: str, failure: str, value: object) -> None:
    """Whatever is logged, lone surrogates and huge numbers too, the line is one line of JSON."""
    error = OSError(failure)
    record = logging.LogRecord(
        "ringside_proxy", logging.INFO, "f", 1, message, None, (OSError, error, None)
    )
    record.__dict__["reason"] = value

    line = JSONLines().format(record)

    assert "\n" not in line
    assert set(orjson.loads(line)) == {"time", "level", "logger", "message", "reason", "stack"}


def test_configuring_twice_writes_once(configured: Configure) -> None:
    """A second configuration replaces the first."""
    configured()
    stream = configured()

    logging.getLogger("ringside_proxy").info("x")

    assert len(lines(stream)) == 1


# ---------------------------------------------------------------------------------------- metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape, by name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[f"ringside_{name}", frozenset(labels.items())]


def use_every_metric(metrics: Metrics) -> None:
    metrics.request_done("/v1/threads/{thread_id}", "GET", 200, 0.004, 0.003)
    metrics.error_answered("conversation_locked")
    metrics.run_finished("completed")
    metrics.run_lock_conflicts_total.inc()
    metrics.upstream_done("openai", "gpt-4o-mini", "ok", 0.3, 2.0)
    metrics.upstream_retried("openai", "rate_limit_exceeded")
    metrics.model_list_read("openai", "ok")
    metrics.tokens_used("openai", "gpt-4o-mini", TokenUsage(input_tokens=70, output_tokens=9))
    metrics.store_committed(3, 0.002)


def test_what_happens_is_counted() -> None:
    """Each method moves the sample that it is named for."""
    metrics = Metrics("1.2.3")

    use_every_metric(metrics)

    route = "/v1/threads/{thread_id}"
    call = {"provider": "openai", "model": "gpt-4o-mini"}
    assert sample(metrics, "requests_total", route=route, method="GET", code="200") == 1
    assert sample(metrics, "request_duration_seconds_sum", route=route) == 0.004
    assert sample(metrics, "overhead_seconds_sum", route=route) == pytest.approx(0.001)
    assert sample(metrics, "errors_total", code="conversation_locked") == 1
    assert sample(metrics, "runs_total", status="completed") == 1
    assert sample(metrics, "run_lock_conflicts_total") == 1
    assert sample(metrics, "upstream_requests_total", **call, outcome="ok") == 1
    timing = "gen_ai_client_operation"
    assert sample(metrics, f"{timing}_duration_seconds_sum", **call, operation="chat") == 2
    first_chunk = f"{timing}_time_to_first_chunk_seconds_sum"
    assert sample(metrics, first_chunk, **call, operation="chat") == 0.3
    assert sample(metrics, "gen_ai_client_token_usage_sum", **call, type="input") == 70
    assert sample(metrics, "gen_ai_client_token_usage_sum", **call, type="output") == 9
    assert sample(metrics, "model_lists_total", provider="openai", outcome="ok") == 1
    reason = "rate_limit_exceeded"
    assert sample(metrics, "retries_total", provider="openai", reason=reason) == 1
    assert sample(metrics, "store_tx_total") == 3
    assert sample(metrics, "store_commit_seconds_sum") == 0.002
    assert sample(metrics, "store_batch_size_sum") == 3
    assert sample(metrics, "build_info", version="1.2.3") == 1


def test_no_first_chunk_is_no_observation() -> None:
    """A call that never answered has a duration but no time to its first chunk."""
    metrics = Metrics("1")

    metrics.upstream_done("openai", "m", "provider_timeout", None, 60.0)

    names = {name for name, _ in samples(metrics)}
    assert "ringside_gen_ai_client_operation_duration_seconds_count" in names
    assert "ringside_gen_ai_client_operation_time_to_first_chunk_seconds_count" not in names


def test_labels_name_no_customer_and_no_object() -> None:
    """Labels are of a closed set; customers, tokens, threads and requests are not in it."""
    metrics = Metrics("1")
    use_every_metric(metrics)

    used = {label for _, labels in samples(metrics) for label, _ in labels}

    described = {"route", "method", "code", "status", "provider", "model", "outcome", "operation"}
    assert used <= described | {"type", "reason", "le", "version"}


def test_label_sets_are_bounded() -> None:
    """Model names past the bound are counted together, and none of the calls is lost."""
    metrics = Metrics("1")
    calls = LABEL_SETS_MAX + 200

    for n in range(calls):
        metrics.upstream_done("openai", f"model-{n}", "ok", None, 0.1)
    metrics.upstream_done("openai", "model-0", "ok", None, 0.1)

    counts = {
        dict(labels)["model"]: value
        for (name, labels), value in samples(metrics).items()
        if name == "ringside_upstream_requests_total"
    }
    assert len(counts) == LABEL_SETS_MAX + 1
    assert counts["other"] == 200
    assert counts["model-0"] == 2
    assert sum(counts.values()) == calls + 1


def test_labels_are_short() -> None:
    """A name that a caller made up cannot make the scrape huge, and is one series each time."""
    metrics = Metrics("1")

    for _ in range(2):
        metrics.upstream_done("openai", "m" * 100_000, "ok", None, 0.1)

    model = "m" * LABEL_CHARS_MAX
    upstream = "upstream_requests_total"
    assert sample(metrics, upstream, provider="openai", model=model, outcome="ok") == 2


def test_made_up_methods_are_other() -> None:
    """A caller's own HTTP method is no label value."""
    metrics = Metrics("1")

    metrics.request_done("other", "BREW", 405, 0.001, 0)

    assert sample(metrics, "requests_total", route="other", method="other", code="405") == 1


def test_buckets_are_the_documented_ones() -> None:
    """Durations double from 10 ms to 81.92 s; tokens go by fours to 4^13."""
    metrics = Metrics("1")
    use_every_metric(metrics)

    def bounds(name: str) -> list[float]:
        found = {float(dict(labels)["le"]) for sample, labels in samples(metrics) if sample == name}
        return sorted(found)[:-1]

    seconds = bounds("ringside_gen_ai_client_operation_duration_seconds_bucket")
    tokens = bounds("ringside_gen_ai_client_token_usage_bucket")
    assert (seconds[0], seconds[1], seconds[-1], len(seconds)) == (0.01, 0.02, 81.92, 14)
    assert (tokens[0], tokens[1], tokens[-1], len(tokens)) == (1, 4, 67_108_864, 14)


@pytest.mark.parametrize(
    ("name", "alerted_s"), [("loop_lag_seconds", 0.256), ("store_commit_seconds", 0.25)]
)
def test_what_an_alert_asks_for_can_be_told(name: str, alerted_s: float) -> None:
    """A quantile is no larger than the last bucket: there are some beyond the alert's bound."""
    page = Metrics("1").render().decode()

    bounds = re.findall(rf'^ringside_{name}_bucket{{le="(\d.*)"}}', page, re.MULTILINE)
    assert max(map(float, bounds)) >= 2 * alerted_s


def test_two_proxies_in_one_process_count_apart() -> None:
    """Metrics live on their own registry, not on the library's global one."""
    one, other = Metrics("1"), Metrics("1")

    one.run_finished("failed")

    assert sample(one, "runs_total", status="failed") == 1
    assert sample(other, "runs_total", status="failed") == 0


def test_what_is_counted_by_a_closed_set_begins_at_zero() -> None:
    """Else the first delivery that is given up, or run that fails, is no increase for an alert."""
    told = samples(Metrics("1"))

    for name, label, values in (
        ("webhook_deliveries", "outcome", {"delivered", "retry", "dead", "failed", "abandoned"}),
        ("runs", "status", {"completed", "failed", "cancelled", "expired", "incomplete"}),
    ):
        counted = {frozenset({(label, value)}): 0 for value in values}
        family = f"ringside_{name}_total"
        assert {labels: told[n, labels] for n, labels in told if n == family} == counted


def test_every_metric_is_ours_by_name() -> None:
    """All families carry the prefix, and the content type is Prometheus' text format."""
    metrics = Metrics("1")
    use_every_metric(metrics)

    names = {name for name, _ in samples(metrics)}

    assert all(name.startswith("ringside_") for name in names)
    assert not any(name.endswith("_created") for name in names)
    assert METRICS_CONTENT_TYPE.startswith("text/plain")
    assert sys.getsizeof(metrics.render()) < 100_000
