"""Reading a request: its body within time and size, the ids in its path."""

import asyncio
from typing import Any, Final, TypeVar

from aiohttp import web
from msgspec import Struct

from ringside_proxy.api.bodies import OpenBody
from ringside_proxy.api.context import services
from ringside_proxy.api.decode import decode_body, decode_open_body
from ringside_proxy.domain.errors import (
    InvalidRequestError,
    RequestTimeoutError,
    RequestTooLargeError,
)

INLINE_BYTES_MAX: Final = 1024 * 1024
"""Larger bodies are decoded in a thread: other requests must not wait for them."""

T = TypeVar("T", bound=Struct)
OpenT = TypeVar("OpenT", bound=OpenBody)


async def read_body(request: web.Request, body_type: type[T]) -> T:
    """The request's body.

    Raises InvalidRequestError, RequestTooLargeError, RequestTimeoutError.
    """
    raw = await read_raw(request)
    if len(raw) > INLINE_BYTES_MAX:
        return await asyncio.to_thread(decode_body, raw, body_type)
    return decode_body(raw, body_type)


async def read_open_body(
    request: web.Request, body_type: type[OpenT]
) -> tuple[OpenT, dict[str, Any]]:
    """A body that goes on to a provider, with its parameters; raises as `read_body` does."""
    raw = await read_raw(request)
    if len(raw) > INLINE_BYTES_MAX:
        return await asyncio.to_thread(decode_open_body, raw, body_type)
    return decode_open_body(raw, body_type)


async def read_raw(request: web.Request) -> bytes:
    """The body's bytes, read once; raises as `read_body` does for what is not about JSON."""
    # aiohttp waits for a body for ever: a half-sent one would keep its handler and memory.
    seconds_max = services(request).body_s_max
    try:
        if request.content.is_eof():  # it came with the head, as most do
            return await request.read()
        async with asyncio.timeout(seconds_max):
            return await request.read()
    except TimeoutError:
        raise RequestTimeoutError(
            f"The request body did not arrive within {seconds_max:g} seconds. Send it again."
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise RequestTooLargeError(
            f"The request body is larger than {request.client_max_size} bytes. "
            "Send less, or raise server.max_body in the configuration."
        ) from None
    except web.RequestPayloadError:
        raise InvalidRequestError(
            "The request body could not be read: it is not what its Content-Encoding or "
            "Transfer-Encoding says."
        ) from None


def thread_id(request: web.Request) -> str:
    """The thread in the path. Raises InvalidRequestError, in OpenAI's words, for another kind."""
    found = request.match_info["thread_id"]
    require_prefix(found, "thread_id", "thread")
    return found


def require_prefix(object_id: str, param: str, prefix: str) -> None:
    """Raise InvalidRequestError unless the id begins with `prefix`."""
    if not object_id.startswith(prefix):
        raise InvalidRequestError(
            f"Invalid '{param}': '{object_id}'. Expected an ID that begins with '{prefix}'.",
            param=param,
            code="invalid_value",
        )
