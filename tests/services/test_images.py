"""Images by address become data: what is fetched, and everything that is not."""

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.services.images import (
    FETCHES_AT_ONCE_MAX,
    FETCHES_PER_CALL_MAX,
    ImageLimits,
    Images,
    with_images,
)
from tests.services.image_server import GIF, JPEG, PNG, WEBP, ImageServer

RULES: Final = AddressRules.of("images.allow_private", ["127.0.0.1"])


@pytest.fixture
async def server() -> AsyncIterator[ImageServer]:
    async with ImageServer.running() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    client = GuardedClient()
    yield client
    await client.close()


def asking(*urls: str) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    return [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]},
    ]


def data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def refusal(images: Images, *urls: str, rules: AddressRules = RULES) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refused:
        await images.fetched(asking(*urls), rules)
    return refused.value


@pytest.mark.parametrize(
    ("kind", "data"),
    [("image/png", PNG), ("image/jpeg", JPEG), ("image/gif", GIF), ("image/webp", WEBP)],
)
@pytest.mark.parametrize("told", ["image/png", "image/jpeg", "application/octet-stream", None])
async def test_image_is_what_its_bytes_say(
    server: ImageServer, client: GuardedClient, kind: str, data: bytes, told: str | None
) -> None:
    """Stores of files call everything a stream of bytes, and some call it wrong."""
    url = server.serve("a", data, told)

    assert await Images(client).fetched(asking(url), RULES) == {url: data_uri(kind, data)}


async def test_data_takes_the_place_of_the_address(
    server: ImageServer, client: GuardedClient
) -> None:
    """Everything else about the messages stays; what was given as data is left alone."""
    url, given = server.serve("a", PNG, "image/png"), data_uri("image/gif", GIF)
    messages = asking(url, given, url)

    seen = with_images(messages, await Images(client).fetched(messages, RULES))

    assert seen == asking(data_uri("image/png", PNG), given, data_uri("image/png", PNG))
    assert server.asked == ["a"]
    assert messages == asking(url, given, url)


async def test_nothing_is_fetched_where_nothing_is_to_be(client: GuardedClient) -> None:
    """Texts, data and odd parts cost nothing."""
    odd: list[dict[str, Any]] = [
        {
            "role": "user",
            "content": [{"type": "image_url"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": None},
    ]

    assert await Images(client).fetched(asking(data_uri("image/png", PNG)) + odd, RULES) == {}


@pytest.mark.parametrize(
    ("status", "kind", "body", "code", "words"),
    [
        (404, "image/png", PNG, "invalid_image_url", "status 404"),
        (500, None, b"", "invalid_image_url", "status 500"),
        (204, None, b"", "invalid_image_url", "status 204"),
        (200, "text/html", PNG, "unsupported_image_media_type", "no image of these kinds"),
        (200, "application/json", b"{}", "unsupported_image_media_type", "no image"),
        (200, "image/png", b"<svg>", "unsupported_image_media_type", "no image"),
        (200, "image/png", b"", "unsupported_image_media_type", "no image"),
        (200, "image/png", PNG + b"x" * 100, "image_file_too_large", "more than"),
    ],
)
async def test_what_is_no_image_is_refused(
    server: ImageServer,
    client: GuardedClient,
    status: int,
    kind: str | None,
    body: bytes,
    code: str,
    words: str,
) -> None:
    """The error names the image, its place, what was wrong, and what to do."""
    url = server.serve("a", body, kind, status)

    error = await refusal(Images(client, ImageLimits(image_bytes=100)), url)

    assert (error.code, error.param) == (code, "messages[1].content[1].image_url.url")
    assert words in error.message
    assert url in error.message
    assert "as a data URI" in error.message


async def test_signature_of_an_address_is_not_repeated(
    server: ImageServer, client: GuardedClient
) -> None:
    """Errors are stored and shown; the query may be what lets one in."""
    error = await refusal(Images(client), server.serve("a", status=403) + "?sig=s3cret")

    assert "s3cret" not in error.message


async def test_images_of_a_request_share_a_bound(
    server: ImageServer, client: GuardedClient
) -> None:
    """Many that are small enough may be too much together."""
    urls = [server.serve(name, PNG, "image/png") for name in "abcd"]

    error = await refusal(Images(client, ImageLimits(images_bytes=len(PNG) * 3)), *urls)

    assert error.code == "image_file_too_large"
    assert "together" in error.message


async def test_redirect_is_followed(server: ImageServer, client: GuardedClient) -> None:
    """Relative or absolute, a few times."""
    server.serve("c/image", PNG, "image/png")
    server.redirect("c/b", "image")
    url = server.redirect("a", server.url("c/b"))

    assert await Images(client).fetched(asking(url), RULES) == {url: data_uri("image/png", PNG)}


async def test_redirects_end(server: ImageServer, client: GuardedClient) -> None:
    """A circle is left after a few turns."""
    error = await refusal(Images(client), server.redirect("a", "a"))

    assert "redirects" in error.message
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "to", ["http://127.0.0.2:9/", "http://169.254.169.254/latest", "http://[::1]/", "file:///etc"]
)
async def test_redirect_inside_is_refused(
    server: ImageServer, client: GuardedClient, to: str
) -> None:
    """Wherever an answer sends us, the guard is asked again."""
    error = await refusal(Images(client), server.redirect("a", to))

    assert error.code == "invalid_image_url"
    assert "not public" in error.message or "https://" in error.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_address_inside_is_refused(
    server: ImageServer, client: GuardedClient, host: str
) -> None:
    """Callers' images come from the internet, unless the owner says otherwise."""
    server.serve("a", PNG, "image/png")

    error = await refusal(
        Images(client),
        server.url("a", host),
        rules=AddressRules.of("images.allow_private", ()),
    )

    assert "images.allow_private" in error.message
    assert server.asked == []


async def test_image_that_does_not_come_is_refused(
    server: ImageServer, client: GuardedClient
) -> None:
    """A slow host has a time."""
    error = await refusal(Images(client, ImageLimits(image_s=0.05)), server.url("nothing"))

    assert error.code == "invalid_image_url"
    assert "in time" in error.message


async def test_images_of_a_request_share_a_time(server: ImageServer, client: GuardedClient) -> None:
    """Many slow ones do not add up."""
    urls = [server.url(f"nothing{n}") for n in range(FETCHES_PER_CALL_MAX + 1)]

    error = await refusal(Images(client, ImageLimits(images_s=0.1)), *urls)

    assert "in time" in error.message
    assert len(server.asked) <= FETCHES_PER_CALL_MAX


async def test_host_that_is_not_there_is_refused(client: GuardedClient) -> None:
    """No connection and no name are the caller's to mend."""
    for url in ("http://127.0.0.1:1/a", "http://nothing.invalid/a"):
        error = await refusal(Images(client), url)
        assert "its host" in error.message


async def test_first_failure_ends_the_others(server: ImageServer, client: GuardedClient) -> None:
    """Nobody waits for images that are of no use any more."""
    error = await refusal(Images(client), server.url("nothing"), server.serve("a", status=404))

    assert "status 404" in error.message


async def test_images_are_fetched_side_by_side_but_not_all(
    server: ImageServer, client: GuardedClient
) -> None:
    """One request does not take all places."""
    urls = [server.serve(f"a{n}", PNG, "image/png") for n in range(3 * FETCHES_AT_ONCE_MAX)]

    await Images(client).fetched(asking(*urls), RULES)

    assert 1 < server.at_once_max <= FETCHES_PER_CALL_MAX
