"""One attempt at a receiver: a POST, and what came of it. It never raises for the receiver's sake.

What a receiver answers with is not read further than is worth showing; a 2xx counts from its head
on. Errors are put in words of ours: the client's own may quote the URL, which may hold a secret.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from ringside_proxy import __version__
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.deliveries import Reply
from ringside_proxy.domain.errors import AddressRefusedError
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import redact

CONNECT_S_MAX: Final = 5.0
TOTAL_S_MAX: Final = 15.0
ANSWER_BYTES_MAX: Final = 16 * 1024
ANSWER_S_MAX: Final = 2.0
"""How long the rest of an answer is waited for once its head is there."""
SHOWN_CHARS_MAX: Final = 1024
RETRY_AFTER_DIGITS_MAX: Final = 9

USER_AGENT: Final = f"Ringside-Webhooks/{__version__}"
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+")

FAILURES: Final[dict[type[BaseException], str]] = {
    aiohttp.ConnectionTimeoutError: f"no connection within {CONNECT_S_MAX:g} seconds",
    TimeoutError: f"no answer within {TOTAL_S_MAX:g} seconds",
    aiohttp.ClientConnectorCertificateError: "its certificate cannot be verified",
    aiohttp.ClientConnectorDNSError: "its host name cannot be resolved",
    aiohttp.ClientConnectorError: "it cannot be reached",
    aiohttp.ClientConnectionError: "it closed the connection without an answer",
    aiohttp.InvalidURL: "its URL is not valid",
    aiohttp.ClientError: "its answer is not HTTP as we know it",
    OSError: "it cannot be reached",
}
"""What an error of the client means, looked up along its MRO."""


class Poster:
    """Posts signed bodies, past the guard."""

    def __init__(
        self,
        client: GuardedClient,
        clock: Clock,
        *,
        total_s_max: float = TOTAL_S_MAX,
        answer_s_max: float = ANSWER_S_MAX,
    ) -> None:
        self._client = client
        self._clock = clock
        self._timeouts = aiohttp.ClientTimeout(total=total_s_max, connect=CONNECT_S_MAX)
        self._answer_s_max = answer_s_max

    async def post(
        self,
        rules: AddressRules,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        may_be_plain: bool = False,
    ) -> Reply:
        """What the receiver answered, or why it did not."""
        started_s = self._clock.monotonic_s()

        def took_ms() -> int:
            return round((self._clock.monotonic_s() - started_s) * 1000)

        try:
            async with self._client.request(
                rules,
                "POST",
                url,
                timeouts=self._timeouts,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                body=body,
                may_be_plain=may_be_plain,
            ) as response:
                return await self._reply(response, took_ms)
        except AddressRefusedError as error:
            return Reply(error=error.message, duration_ms=took_ms())
        except (aiohttp.ClientError, OSError) as error:
            return Reply(
                error=_in_words(error),
                is_timeout=isinstance(error, TimeoutError),
                duration_ms=took_ms(),
            )

    async def _reply(self, response: aiohttp.ClientResponse, took_ms: Callable[[], int]) -> Reply:
        reply = Reply(
            status=response.status,
            retry_after_ms=retry_after_ms(
                response.headers.get("Retry-After"), self._clock.now_ms()
            ),
            duration_ms=took_ms(),
        )
        shown = await _beginning(response, self._answer_s_max)
        if reply.is_success:
            return reply
        return Reply(
            status=reply.status,
            error=f"answered {response.status}" + (f": {shown}" if shown else ""),
            retry_after_ms=reply.retry_after_ms,
            duration_ms=reply.duration_ms,
        )


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """What a Retry-After header asks for: seconds or a date; None if it says neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) <= RETRY_AFTER_DIGITS_MAX:
        return int(value) * 1000
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0, round(aware.timestamp() * 1000) - now_ms)


async def _beginning(response: aiohttp.ClientResponse, seconds_max: float) -> str:
    """The beginning of an answer, as one line of text; nothing if it is not text or does not come."""
    read = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            async for chunk in response.content.iter_any():
                read += chunk
                if len(read) >= ANSWER_BYTES_MAX:
                    break
    except (aiohttp.ClientError, OSError):
        pass  # what came before it is as good
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return ""
    text = UNPRINTABLE.sub(" ", read[: 4 * SHOWN_CHARS_MAX].decode(errors="replace"))
    return redact(" ".join(text.split()))[:SHOWN_CHARS_MAX]


def _in_words(error: BaseException) -> str:
    return next(FAILURES[cls] for cls in type(error).__mro__ if cls in FAILURES)
