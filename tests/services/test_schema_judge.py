"""Work on schemas that could go on for ever: it ends in time, and nobody waits for it meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, OverloadedError
from ringside_proxy.services.json_schemas import INLINE_WORK_MAX, Schemas
from ringside_proxy.services.schema_judge import WAITING_MAX, SchemaJudge, TooComplexError
from tests.api.hostile import watched

Json = dict[str, Any]

SELF: Final[Json] = {"$ref": "#/$defs/x"}
DOUBLING_DOWN: Final[Json] = {
    "$defs": {"x": {"allOf": [{"items": SELF}, {"items": SELF}]}},
    **SELF,
}
"""Applied twice to what is inside, and so 2**depth times to the innermost."""
DEEP: list[Any] = []
for _ in range(60):
    DEEP = [DEEP]

ENDLESS: Final[dict[str, tuple[Json, Any]]] = {
    "a pattern that goes back and forth": (
        {"items": {"pattern": "(?=(a*)*)b"}},
        ["a" * 4_000] * 30,
    ),
    "a circle that doubles": (DOUBLING_DOWN, DEEP),
    "objects among objects": (
        {"items": {"enum": [{"a": number} for number in range(600)]}},
        [{"a": 599}] * 40_000,
    ),
    "many rules for many items": (
        {"allOf": [{"items": {"properties": {"a": {"type": "string"}}}} for _ in range(300)]},
        [{"a": "x"}] * 400_000,
    ),
}
"""By a machine at its best each would take ten times as long as it may, or for ever."""


@pytest.fixture
async def judge() -> AsyncIterator[SchemaJudge]:
    """A judge, closed at the end."""
    made = SchemaJudge()
    yield made
    await made.close()


@pytest.mark.parametrize(("document", "value"), ENDLESS.values(), ids=ENDLESS)
async def test_work_that_does_not_end_is_given_up(
    judge: SchemaJudge, document: Json, value: Any
) -> None:
    """It is the error that the API documents, and others are served while it is found out."""
    schemas, text = Schemas(judge), orjson.dumps(value).decode()

    async with watched() as watch:
        schema = schemas.compile(document)
        await schema.check()
        with pytest.raises(InvalidRequestError, match="takes too long") as raised:
            await schema.faults(value, text)

    assert raised.value.code == "schema_too_complex"
    assert watch.worst_s < 0.25
    assert await judge.faults(b'{"pattern": "^a$"}', b'"a"') == []


async def test_compiling_that_does_not_end_is_given_up(judge: SchemaJudge) -> None:
    """So is a schema whose patterns alone are too much, before any model is asked."""
    names = [chr(ord("a") + number % 26) * (1 + number // 26) for number in range(300)]
    patterns = {name: {"pattern": rf"(?=\w{{200}}){name}"} for name in names}
    schema = Schemas(judge).compile({"properties": patterns})

    with pytest.raises(InvalidRequestError, match="takes too long"):
        await schema.check()


async def test_what_costs_little_needs_no_judge(judge: SchemaJudge) -> None:
    """An ordinary schema is applied at once; the judge gets what is larger, with the same result."""
    document: Json = {"type": "array", "items": {"type": "number"}}
    schema = Schemas(judge).compile(document)
    few, many = ["x"], [1] * INLINE_WORK_MAX + ["x"]

    at_once = await schema.faults(few, orjson.dumps(few).decode())
    assert judge._process is None
    judged = await schema.faults(many, orjson.dumps(many).decode())

    assert at_once == ['at /0: "x" is not of type "number"']
    assert judged == [at_once[0].replace("/0", f"/{INLINE_WORK_MAX}")]


async def test_judge_that_died_is_followed_by_another(judge: SchemaJudge) -> None:
    """Whoever killed it: the question is lost, the next one is answered."""
    schema = b'{"pattern": "^a$"}'
    assert await judge.faults(schema, b'"a"') == []
    assert judge._process is not None
    os.kill(judge._process.pid, signal.SIGKILL)
    await judge._process.wait()

    with pytest.raises(TooComplexError):
        await judge.faults(schema, b'"a"')

    [fault] = await judge.faults(schema, b'"b"')
    assert "does not match" in fault


async def test_caller_who_leaves_does_not_confuse_the_next(judge: SchemaJudge) -> None:
    """What was found out for somebody else is never taken for one's own."""
    fine = b'{"pattern": "^a$"}'
    assert await judge.faults(fine, b'"a"') == []
    never = judge.faults(b'{"pattern": "(?=(a*)*)b"}', b'"%s"' % (b"a" * 3_000))
    slow = asyncio.create_task(never)
    await asyncio.sleep(0)
    slow.cancel()
    await asyncio.wait({slow})

    [fault] = await judge.faults(fine, b'"b"')
    assert "does not match" in fault


async def test_too_many_at_once_are_refused(judge: SchemaJudge) -> None:
    """A queue for the judge has an end."""
    asked = [judge.faults(b'{"pattern": "a"}', b'"a"') for _ in range(WAITING_MAX + 3)]

    found = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(each) for each in found].count(OverloadedError) == 3
    assert found.count([]) == WAITING_MAX


async def test_it_computes_for_no_longer_than_it_may(judge: SchemaJudge) -> None:
    """The kernel ends it after a quarter of a second of computing."""
    await judge.faults(b'{"pattern": "a"}', b'"a"')
    assert judge._process is not None
    process, before = judge._process, time.monotonic()

    with pytest.raises(TooComplexError):
        await judge.faults(
            b'{"items": {"pattern": "(?=(a*)*)b"}}', orjson.dumps(["a" * 4_000] * 99)
        )

    # SIGPROF; or 255, where asyncio has looked at the process before its watcher could.
    assert process.returncode not in (None, 0, -signal.SIGKILL)
    assert time.monotonic() - before < 9
