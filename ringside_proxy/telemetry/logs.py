"""Log lines: a message of ours and the fields of `LogFields`, nothing else.

Whatever else a record brings is dropped, and what is left passes a net for the well-known shapes of
keys. No line ever carries a prompt, a completion, a header or a secret.
"""

import logging
import re
import sqlite3
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypedDict, Unpack

import orjson

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "text"]

OUR_LOGGER: Final = "ringside_proxy"
HTTP_SERVER_LOGGER: Final = "aiohttp.server"
LOG_TEXT_CHARS_MAX: Final = 2_000
STACK_FRAMES_MAX: Final = 50
STACK_ERRORS_MAX: Final = 10


class LogFields(TypedDict, total=False):
    """The only fields a log line may carry; none of them can hold what a caller wrote to a model."""

    request_id: str
    method: str
    route: str
    status: int | str
    code: str | None
    duration_ms: float
    provider: str
    model: str
    attempt: int
    outcome: str
    reason: str
    thread_id: str
    run_id: str
    webhook_id: str
    event_id: str
    setting: str
    change: str
    file: str
    address: str
    version: str
    count: int


LOG_FIELDS: Final = tuple(LogFields.__annotations__)

SECRET: Final = re.compile(
    r"(?P<shape>(?<![A-Za-z])(?:sk-|ko_|whsec_|AKIA|AIza|xai-|gsk_)|(?i:bearer)\s+)"
    r"[A-Za-z0-9_\-.~+/=]{4,}"
)
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

TELLING_ERRORS: Final = (
    OSError,
    sqlite3.Error,
    ImportError,
    NameError,
    AttributeError,
    TypeError,
)
"""Errors whose text names files, tables, modules and types. The text of any other may quote what
it failed on (`invalid literal for int(): 'my prompt'`): the log shows its class and its place."""


def fields(**values: Unpack[LogFields]) -> dict[str, object]:
    """The `extra` of a log call: `log.info("run finished", extra=fields(run_id=run.id))`."""
    return dict(values)


def configure_logging(level: LogLevel, log_format: LogFormat, stream: TextIO) -> None:
    """Write the proxy's records from `level` on, and libraries' warnings, to `stream`.

    Replaces what was configured before.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONLines() if log_format == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(OUR_LOGGER).setLevel(level.upper())
    # It logs a stack for every request that is no HTTP: clients could fill the disk with those.
    logging.getLogger(HTTP_SERVER_LOGGER).setLevel(logging.CRITICAL)


class JSONLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's allowed parts as one line of JSON."""
        return orjson.dumps(_parts(record)).decode()


class TextLines(logging.Formatter):
    """One line for the eye: time, level, message, fields; then the stack, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's allowed parts as text."""
        parts = _parts(record)
        stack = parts.pop("stack", None)
        head = f"{parts.pop('time')} {parts.pop('level'):<7} {parts.pop('message')}"
        pairs = (f"{name}={value}" for name, value in parts.items() if name != "logger")
        # A line break inside a value would let its author forge the next line.
        line = CONTROL.sub(" ", "  ".join([head, " ".join(pairs)])).rstrip()
        return f"{line}\n{stack}" if stack else line


def redact(text: str) -> str:
    """`text` with everything that looks like a key blotted out."""
    return SECRET.sub(r"\g<shape>***", text)


def stack_text(error: BaseException) -> str:
    """Where `error` and its causes came from, without locals; the newest error first."""
    lines: list[str] = []
    for cause in _causes(error):
        lines.append(_headline(cause))
        lines.extend(traceback.format_tb(cause.__traceback__, limit=-STACK_FRAMES_MAX))
    return _clean("\n".join(line.rstrip() for line in lines))


def _parts(record: logging.LogRecord) -> dict[str, Any]:
    when = datetime.fromtimestamp(record.created, UTC)
    parts: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _plain(_message(record)),
    }
    given = record.__dict__
    parts.update((name, _plain(given[name])) for name in LOG_FIELDS if name in given)
    if record.exc_info and record.exc_info[1] is not None:
        parts["stack"] = stack_text(record.exc_info[1])
    return parts


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] != OUR_LOGGER:
        # A library's arguments and further lines quote headers, bodies and errors' texts.
        return str(record.msg).partition("\n")[0]
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # logging's own answer to a wrong format is to print the arguments, past the net.
        return str(record.msg)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    # Anything else is a mistake, and its text could be anyone's.
    text = value if isinstance(value, str) else type(value).__name__
    return _clean(text)[:LOG_TEXT_CHARS_MAX]


def _clean(text: str) -> str:
    return redact(text.encode(errors="replace").decode())  # JSON has no lone surrogates


def _causes(error: BaseException) -> Iterator[BaseException]:
    pending, seen = [error], 0
    while pending and seen < STACK_ERRORS_MAX:
        current = pending.pop(0)
        seen += 1
        yield current
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        cause = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if cause is not None:
            pending.append(cause)


def _headline(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, TELLING_ERRORS):
        return f"{name}: {CONTROL.sub(' ', redact(str(error)))[:LOG_TEXT_CHARS_MAX]}"
    return name
