"""A server of images on this machine, for what fetches them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

PNG: Final = b"\x89PNG\r\n\x1a\n" + b"png " * 8
JPEG: Final = b"\xff\xd8\xff\xe0" + b"jpeg" * 8
GIF: Final = b"GIF89a" + b"gif " * 8
WEBP: Final = b"RIFF\x24\x00\x00\x00WEBP" + b"webp" * 8

Answer = Callable[[web.Request], web.StreamResponse]


class ImageServer:
    """Answers by path; a path that is not there hangs until the server ends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = 0
        self.at_once_max = 0
        self._answers: dict[str, Answer] = {}
        self._port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Where a path is."""
        return f"http://{host}:{self._port}/{path}"

    def serve(
        self,
        path: str,
        body: bytes = b"",
        kind: str | None = None,
        status: int = 200,
        **headers: str,
    ) -> str:
        """Put something there; its address."""
        told = {"content-type": kind} if kind else {}
        self._answers[path] = lambda request: web.Response(
            body=body, status=status, headers=told | headers
        )
        return self.url(path)

    def redirect(self, path: str, to: str) -> str:
        """Send who asks for a path elsewhere; its address."""
        return self.serve(path, status=302, location=to)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What stands there."""
        path = request.path[1:]
        self.asked.append(path)
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            if path not in self._answers:
                await asyncio.Event().wait()
            for _ in range(20):
                await asyncio.sleep(0)  # lets others come meanwhile
            return self._answers[path](request)
        finally:
            self.at_once -= 1

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["ImageServer"]:
        """A server that ends with the block."""
        server = cls()
        app = web.Application()
        app.router.add_get("/{path:.*}", server.answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server._port = runner.addresses[0][1]
        try:
            yield server
        finally:
            await runner.cleanup()
