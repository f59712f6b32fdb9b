"""Images by address, fetched for models that take the bytes alone.

It is done once, before a request is built, so that adapters see data URIs. Callers choose the
addresses: each is dialled through the guard, also where a redirect leads, and everything about
the answer is bounded. What goes wrong is said in OpenAI's words, with the image's place.
"""

import asyncio
import base64
import re
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import AddressRefusedError, InvalidRequestError
from ringside_proxy.guarded_client import GuardedClient

Message = dict[str, Any]

MIB: Final = 1024 * 1024
FETCHES_AT_ONCE_MAX: Final = 8
FETCHES_PER_CALL_MAX: Final = 4
CONNECT_S_MAX: Final = 5.0
REDIRECTS_MAX: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
URL_CHARS_SHOWN: Final = 200

BY_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)
UNNAMED_TYPES: Final = frozenset({"application/octet-stream", "binary/octet-stream"})
"""What stores of files call everything."""
SIGNATURES: Final = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
)
HEADERS: Final = {"accept": "image/*", "accept-encoding": "identity"}

FAILURES: Final[dict[type[BaseException], str]] = {
    TimeoutError: "it did not come in time",
    aiohttp.ClientConnectorDNSError: "its host is not known",
    aiohttp.ClientConnectorCertificateError: "its host's certificate cannot be verified",
    aiohttp.ClientConnectorError: "its host cannot be reached",
    aiohttp.ClientPayloadError: "it broke off",
    aiohttp.ClientError: "its host does not answer in HTTP",
    OSError: "its host cannot be reached",
    ValueError: "it leads to an address that cannot be read",
}


class ImageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one image, and all of one request's together, may have; the bytes are OpenAI's.

    `images_s` counts the wait behind the images of other requests too.
    """

    image_bytes: int = 20 * MIB
    images_bytes: int = 50 * MIB
    image_s: float = 15
    images_s: float = 30


class Images:
    """Fetches images, several at once."""

    def __init__(self, client: GuardedClient, limits: ImageLimits | None = None) -> None:
        self._client = client
        self._limits = limits or ImageLimits()
        self._fetches = asyncio.Semaphore(FETCHES_AT_ONCE_MAX)

    async def fetched(self, messages: list[Message], rules: AddressRules) -> dict[str, str]:
        """The images in `messages` that are given by address, as data URIs by their address.

        Raises InvalidRequestError for one that cannot be had.
        """
        images = list({image.url: image for image in _addressed(messages)}.values())
        if not images:
            return {}
        call = _Call(self._client, self._fetches, rules, self._limits)
        tasks = [asyncio.ensure_future(call.fetch(image)) for image in images]
        try:
            async with asyncio.timeout(self._limits.images_s):
                found = await asyncio.gather(*tasks)
        except TimeoutError as error:
            raise images[0].refused(FAILURES[TimeoutError]) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {image.url: data for image, data in zip(images, found, strict=True)}


def with_images(messages: list[Message], fetched: dict[str, str]) -> list[Message]:
    """The messages with data in the place of the addresses that were fetched."""
    return [
        message | {"content": [_with_image(part, fetched) for part in content]}
        if isinstance(content := message.get("content"), list)
        else message
        for message in messages
    ]


class _Image(msgspec.Struct, frozen=True):
    """An image by its address, and where in the request it stands."""

    url: str
    place: str

    def refused(self, why: str, code: str = "invalid_image_url") -> InvalidRequestError:
        """The error that names the image and the remedy; queries may hold a signature."""
        shown = self.url.partition("?")[0][:URL_CHARS_SHOWN]
        return InvalidRequestError(
            f"The image at {shown} could not be fetched: {why.rstrip('.')}. This model takes no "
            "images by address. Check that the address is public and answers with a PNG, JPEG, "
            "GIF or WebP image of at most 20 MB, or send the image itself, as a data URI.",
            param=self.place,
            code=code,
        )

    def too_large(self, whose: str, bytes_max: int) -> InvalidRequestError:
        """The error for more bytes than may come."""
        return self.refused(f"{whose} more than {bytes_max // MIB} MB", code="image_file_too_large")

    def no_image(self) -> InvalidRequestError:
        """The error for something else than an image."""
        return self.refused(
            "the answer is no image of these kinds", code="unsupported_image_media_type"
        )


class _Call:
    """The images of one request, and what is left of its bounds."""

    def __init__(
        self,
        client: GuardedClient,
        fetches: asyncio.Semaphore,
        rules: AddressRules,
        limits: ImageLimits,
    ) -> None:
        self._client = client
        self._fetches = fetches
        self._own_fetches = asyncio.Semaphore(FETCHES_PER_CALL_MAX)
        self._rules = rules
        self._limits = limits
        self._bytes_left = limits.images_bytes

    async def fetch(self, image: _Image) -> str:
        """The image as a data URI. Raises InvalidRequestError."""
        async with self._own_fetches, self._fetches:
            try:
                async with asyncio.timeout(self._limits.image_s):
                    data = await self._follow(image)
            except AddressRefusedError as error:
                raise image.refused(error.message) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                why = next(FAILURES[cls] for cls in type(error).__mro__ if cls in FAILURES)
                raise image.refused(why) from error
        kind = next((kind for kind, mark in SIGNATURES if mark.match(data)), None)
        if kind is None:
            raise image.no_image()
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"

    async def _follow(self, image: _Image) -> bytes:
        """The bytes at the end of the redirects; each address passes the guard."""
        url = image.url
        for _ in range(REDIRECTS_MAX + 1):
            async with self._client.request(
                self._rules,
                "GET",
                url,
                headers=HEADERS,
                timeouts=aiohttp.ClientTimeout(sock_connect=CONNECT_S_MAX),
                may_be_plain=True,
            ) as response:
                location = response.headers.get("location")
                if response.status not in REDIRECTS or location is None:
                    return await self._read(response, image)
                url = str(URL(url).join(URL(location)))
        raise image.refused(f"it is behind more than {REDIRECTS_MAX} redirects")

    async def _read(self, response: aiohttp.ClientResponse, image: _Image) -> bytes:
        if response.status != 200:
            raise image.refused(f"its host answers with status {response.status}")
        kind = response.content_type
        if not kind.startswith("image/") and kind not in UNNAMED_TYPES:
            raise image.no_image()
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            self._bytes_left -= len(part)
            if size > self._limits.image_bytes:
                raise image.too_large("it has", self._limits.image_bytes)
            if self._bytes_left < 0:
                whose = "the request's images together have"
                raise image.too_large(whose, self._limits.images_bytes)
        return b"".join(parts)


def _addressed(messages: list[Message]) -> Iterator[_Image]:
    for index, message in enumerate(messages):
        content = message.get("content")
        for position, part in enumerate(content if isinstance(content, list) else ()):
            url = _url(part)
            if url is not None and BY_ADDRESS.match(url):
                yield _Image(url, f"messages[{index}].content[{position}].image_url.url")


def _url(part: Any) -> str | None:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return None
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    return url if isinstance(url, str) else None


def _with_image(part: Any, fetched: dict[str, str]) -> Any:
    data = fetched.get(_url(part) or "")
    return part if data is None else part | {"image_url": part["image_url"] | {"url": data}}
