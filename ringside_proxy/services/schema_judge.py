"""A process beside the proxy that applies schemas whose cost nobody can tell beforehand.

The validator keeps the interpreter's lock while it works: in a thread it would hold up everybody
just the same, and nothing could stop it. So the work is done by a process that the kernel ends as
soon as it has computed for too long; the next piece of work gets a new one. It starts with the
first such schema, and ends with the proxy, however that ends.
"""

import asyncio
import signal
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO, Final, cast

import jsonschema_rs
import msgspec
import orjson

from ringside_proxy.domain.errors import OverloadedError
from ringside_proxy.services.schema_rules import compiled, faults

COMPUTING_S_MAX: Final = 0.25
ANSWER_S_MAX: Final = 10.0
"""On a machine so busy that the computing does not get its turn."""
WAITING_MAX: Final = 64
COMPILED_MAX: Final = 32

ASKED: Final = struct.Struct("!II")
"""Before a question: the lengths of the schema and of the answer, both JSON."""
TOLD: Final = struct.Struct("!I")
"""Before what was found: its length."""


class TooComplexError(Exception):
    """The work took too long."""


class Finding(msgspec.Struct):
    """What the process says: what is wrong with the answer, or why the schema is none."""

    faults: list[str] = []
    refusal: str | None = None


class SchemaJudge:
    """Asks the process, one question at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def faults(self, schema: bytes, answer: bytes) -> list[str]:
        """What is wrong with an answer.

        Raises ValueError for what is no schema, TooComplexError, and OverloadedError.
        """
        if self._waiting >= WAITING_MAX:
            raise OverloadedError("Too many schemas are being applied. Try again in a second.")
        self._waiting += 1
        try:
            async with self._turn:
                found = msgspec.json.decode(await self._told(schema, answer), type=Finding)
        finally:
            self._waiting -= 1
        if found.refusal is not None:
            raise ValueError(found.refusal)
        return found.faults

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.communicate()

    async def _told(self, schema: bytes, answer: bytes) -> bytes:
        process = self._process or await self._begun()
        asked = cast(asyncio.StreamWriter, process.stdin)
        heard = cast(asyncio.StreamReader, process.stdout)
        is_whole = False
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                asked.write(ASKED.pack(len(schema), len(answer)) + schema + answer)
                await asked.drain()
                [length] = TOLD.unpack(await heard.readexactly(TOLD.size))
                told = await heard.readexactly(length)
            is_whole = True
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            raise TooComplexError from None
        finally:
            if not is_whole:  # what it would say next belongs to nobody
                await self.close()
        return told

    async def _begun(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", __spec__.name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's ^C is for the proxy, which drains first
        )
        return self._process


def answer_questions(asked: BinaryIO, told: BinaryIO) -> None:
    """What the process does until nobody asks any more."""
    known: OrderedDict[bytes, jsonschema_rs.Validator] = OrderedDict()
    while head := asked.read(ASKED.size):
        schema, answer = (asked.read(length) for length in ASKED.unpack(head))
        # Counts what is computed, so that waiting for a core costs nothing. Its signal ends the
        # process; no handler of Python's would get its turn before the validator has finished.
        signal.setitimer(signal.ITIMER_PROF, COMPUTING_S_MAX)
        found = msgspec.json.encode(_found(known, schema, answer))
        signal.setitimer(signal.ITIMER_PROF, 0)
        told.write(TOLD.pack(len(found)) + found)
        told.flush()


def _found(known: "OrderedDict[bytes, Any]", schema: bytes, answer: bytes) -> Finding:
    validator = known.pop(schema, None)
    try:
        validator = validator or compiled(orjson.loads(schema))
    except ValueError as error:
        return Finding(refusal=str(error))
    known[schema] = validator
    if len(known) > COMPILED_MAX:
        known.popitem(last=False)
    return Finding(faults(validator, orjson.loads(answer)))


if __name__ == "__main__":
    answer_questions(sys.stdin.buffer, sys.stdout.buffer)
