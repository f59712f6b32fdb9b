"""The far end of nineteen wires: one server, a vendor behind each first part of the path.

It refuses what that vendor refuses, in the vendor's words, and answers what it was told to
otherwise. It lives in a thread of its own, because the proxy that calls it is another process.
"""

import asyncio
import json
import threading
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from aiohttp import web

from tests.vendors.asked import Asked, Refused
from tests.vendors.envelopes import Reply, says_no
from tests.vendors.judges import JUDGES

Answer = tuple[bytes, str]
"""The body of a 200, and its content type."""
Said = Answer | Reply | Callable[[Asked], Answer | Reply]
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
PIXEL: Final = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
"""A whole image, of one red pixel."""
PIXEL_URI: Final = f"data:image/png;base64,{b64encode(PIXEL).decode()}"


def key_of(vendor: str) -> str:
    """The key that the vendor gave to the owner of the proxy; nobody else may ever see it."""
    return f"key-of-{vendor}-that-nobody-may-see"


class Received(NamedTuple):
    """A call that a vendor took."""

    asked: Asked
    raw: bytes


class FarEnd:
    """Each vendor says what stands in its queue, the last of it for ever.

    `received` are the calls that were taken, `refused` those that were not, with the reason.
    """

    def __init__(self) -> None:
        self.url = ""
        self.queues: dict[str, deque[Said]] = {}
        self.received: dict[str, list[Received]] = {}
        self.refused: list[tuple[str, str, Any]] = []
        self.images_served = 0
        self._predicted: Any = None
        self.forget()

    def forget(self) -> None:
        """As if nothing had been asked or scripted."""
        self.queues.clear()
        self.refused.clear()
        self.images_served = 0
        self.received.update({vendor: [] for vendor in JUDGES})

    async def image(self, request: web.Request) -> web.Response:
        """A red pixel, for those that fetch what they are shown."""
        del request
        self.images_served += 1
        return web.Response(body=PIXEL, content_type="image/png")

    async def answer(self, request: web.Request) -> web.Response:
        """What the vendor in the path says to the call."""
        vendor, raw = request.match_info["vendor"], await request.read()
        asked = _asked(request, raw)
        try:
            JUDGES[vendor](asked, key_of(vendor))
        except Refused as refused:
            self.refused.append((vendor, refused.message, asked.body))
            return _response(says_no(vendor, refused))
        said = self._next(vendor, asked)
        if asked.method == "POST":
            self.received[vendor].append(Received(asked, raw))
        return _response(said if isinstance(said, Reply) else Reply(200, said[0], {}, said[1]))

    def _next(self, vendor: str, asked: Asked) -> Answer | Reply:
        queue = self.queues[vendor]
        is_first_of_two = asked.path.endswith("/predictions")
        if is_first_of_two and not isinstance(queue[0], Reply):
            self._predicted = asked.body
            listen = f"{self.url}/{vendor}/listen/p1"
            prediction = {"id": "p1", "status": "starting", "urls": {"stream": listen}}
            return Reply(201, json.dumps(prediction).encode())
        if asked.path.startswith("/listen/"):  # for the answer to what was asked before
            asked = asked._replace(body=self._predicted)
        said = queue.popleft() if len(queue) > 1 else queue[0]
        return said(asked) if callable(said) else said


@contextmanager
def far_end() -> Iterator[FarEnd]:
    """Nineteen vendors on a port of their own, until the block ends."""
    far, started, loop = FarEnd(), threading.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(far, started, loop), daemon=True)
    thread.start()
    started.wait()
    try:
        yield far
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _serve(far: FarEnd, started: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_get("/red.png", far.image)
    app.router.add_route("*", "/{vendor}/{path:.*}", far.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    far.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    started.set()
    loop.run_forever()
    loop.run_until_complete(runner.cleanup())
    loop.close()


def _asked(request: web.Request, raw: bytes) -> Asked:
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    path = "/" + request.rel_url.raw_path.lstrip("/").partition("/")[2]
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Asked(request.method, path, request.query_string, headers, body)


def _response(reply: Reply) -> web.Response:
    headers = {**reply.headers, "content-type": reply.content_type}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
