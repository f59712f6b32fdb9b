"""A provider that speaks HTTP byte by byte, so that it can do to a call whatever can be done."""

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import Counter
from typing import Final

from tests.e2e.faults import ALL, GOOD, JSON, Drip, Flood, Silence, Step, answer, wire
from tests.fakes import Cut, Reset

QUIET_S: Final = 5.0
"""Bounds the wait for what has to end by itself."""
NAMED: Final = re.compile(rb"fault-(\d+)-(always|once)-(\d+)-")
HEAD_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
PIECE: Final = b"x" * 65536


class RudeEnd:
    """A provider that does to each call what its prompt names. It is there once it listens."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.attempts: Counter[int] = Counter()
        """How often each call came; the caller numbers them."""
        self._answering = 0
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Takes connections; until then they are refused."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def settled(self, connections_max: int) -> None:
        """Returns when every call was answered or let go of, and few connections are left."""
        async with asyncio.timeout(QUIET_S):
            while self._answering or len(self._writers) > connections_max:
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        """Hangs up on everyone."""
        if self._server:
            self._server.close()
        self._socket.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._call(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            self._changed.set()
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one call; whether the connection is good for another."""
        asked = await reader.readuntil(b"\r\n\r\n")
        if length := HEAD_LENGTH.search(asked):
            asked += await reader.readexactly(int(length[1]))
        self._answering += 1
        try:
            return await self._play(self._steps(asked), reader, writer)
        finally:
            self._answering -= 1
            self._changed.set()

    def _steps(self, asked: bytes) -> list[Step]:
        number, mode, call = NAMED.findall(asked)[-1]
        fault = ALL[int(number)]
        if b"/predictions " in asked.partition(b"\r\n")[0]:
            listen = f"{self.url}/listen/fault-{int(number)}-{mode.decode()}-{int(call)}-"
            prediction = {"id": "p", "urls": {"stream": listen}}
            return answer(JSON, json.dumps(prediction).encode(), 201)
        self.attempts[int(call)] += 1
        if mode == b"once" and self.attempts[int(call)] > 1:
            fault = GOOD
        body = asked.partition(b"\r\n\r\n")[2]
        is_relayed = self.provider == "openai" and not json.loads(body).get("stream")
        return fault.steps(wire(self.provider, is_relayed=is_relayed))

    async def _play(
        self, steps: list[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in steps:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case Drip():
                    await self._drip(step, writer)
                case Flood():
                    await self._flood(step, writer)
                case Silence():
                    await reader.read()
                    return False
                case Reset():
                    linger = struct.pack("ii", 1, 0)
                    connection = writer.get_extra_info("socket")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return False
                case Cut():
                    return False
        return True

    async def _drip(self, drip: Drip, writer: asyncio.StreamWriter) -> None:
        """Byte by byte; what never ends comes whole each time, until the caller lets go."""
        pieces = [drip.data] if drip.is_endless else [bytes((byte,)) for byte in drip.data]
        tick = asyncio.Event()  # nobody sets it: it is waited for as long as the gap lasts
        while True:
            for piece in pieces:
                if writer.is_closing():
                    raise ConnectionResetError
                writer.write(piece)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(drip.gap_s):
                        await tick.wait()
            if not drip.is_endless:
                return

    async def _flood(self, flood: Flood, writer: asyncio.StreamWriter) -> None:
        """As much as the caller reads."""
        for _ in range(flood.count // len(PIECE)):
            if writer.is_closing():
                raise ConnectionResetError
            writer.write(PIECE)
            await writer.drain()
