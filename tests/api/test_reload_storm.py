"""A thousand reloads of files that were spoilt in every way, under traffic."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pytest

from ringside_proxy.settings.load import load
from ringside_proxy.settings.problems import SettingsError
from tests.api.live import Live, following
from tests.api.rig import Caller
from tests.faults.sizes import TIMEOUT_S, size

RELOADS: Final = size("reloads")
WORKERS: Final = 4
SEED: Final = 20261121
VALID_EVERY: Final = 10
ECHO: Final = "fc:sandbox/echo"

GOOD: Final = """\
# the file of a proxy that works
server: {{port: 0}}
admin: {{port: 0}}
store:
  url: "sqlite:///{home}/ringside.db"
  synchronous: normal
auth:
  tokens:
    - {{name: app, token: ko_storm000000000000000000000000000000000}}
providers:
  sandbox: {{}}
  openai:
    api_key: "${{KEY:-}}"
    timeouts: {{connect: 5s, first_byte: 60s}}
slots:
  fast: fc:sandbox/echo
  number: {{model: fc:sandbox/long-{number}, params: {{temperature: 0.5}}}}
structured_output: {{max_retries: 2}}
log: {{level: error, format: json}}
"""

SPOILT_VALUES: Final = (
    *("[]", "{}", "null", "-1", "1e999", "'\\x00'", "*a", "&a {}", "!!python/object:os.system x"),
    *(
        "[" * 200,
        "{a: " * 200,
        "x" * 100_000,
        "😀",
        "fc:",
        "fc:nobody/x",
        "file:/nowhere",
        "${NOBODY}",
    ),
)
BOMBS: Final = (
    "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n",
    "[" * 100_000,
    "a: " + "1" * 900_000,
    "x" * (2 << 20),
    "- " * 50_000,
    "\ufeff\ufeff: 1",
    "%YAML 9.9\n---\n{}",
    "slots: {fast: fc:sandbox/echo}\nslots: {fast: fc:sandbox/echo}\n",
)


def spoilt(good: str, random_source: random.Random) -> Iterator[bytes]:
    """Files that an editor, a disk or a slip of the hand can leave; without an end."""
    data = good.encode()
    lines = good.splitlines(keepends=True)
    yield from (data[:length] for length in range(len(data)))
    while True:
        match random_source.randrange(6):
            case 0:  # one byte is another
                at = random_source.randrange(len(data))
                yield data[:at] + bytes([random_source.randrange(256)]) + data[at + 1 :]
            case 1:  # a value of the wrong kind
                line = random_source.choice([line for line in lines if ":" in line])
                key = line[: line.index(":")]
                yield good.replace(line, f"{key}: {random_source.choice(SPOILT_VALUES)}\n").encode()
            case 2:  # a line is gone, or there twice
                line = random_source.choice(lines)
                yield good.replace(line, line * random_source.choice((0, 2)), 1).encode()
            case 3:  # a key is misspelt
                line = random_source.choice([line for line in lines if ":" in line])
                yield good.replace(line, line.replace(":", "x:", 1), 1).encode()
            case 4:  # the tail of another file
                at = random_source.randrange(len(data))
                yield data[:at] + data[random_source.randrange(len(data)) :]
            case _:
                yield random_source.choice(BOMBS).encode()


@dataclass
class Traffic:
    """Callers that go on until they are told to stop; what they were answered."""

    caller: Caller
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    answered: int = 0
    failed: list[str] = field(default_factory=list)

    async def call(self) -> None:
        """Plain and streamed in turn, each held to its whole answer."""
        while not self.stop.is_set():
            body = {"model": ECHO, "messages": [{"role": "user", "content": "still there"}]}
            plain = await self.caller.post("/v1/chat/completions", body)
            self._note(plain.status, b"still there" in plain.body, plain.body)
            streamed = await self.caller.post("/v1/chat/completions", body | {"stream": True})
            is_whole = streamed.body.endswith(b"data: [DONE]\n\n")
            self._note(streamed.status, is_whole, streamed.body)

    def _note(self, status: int, is_right: bool, body: bytes) -> None:
        self.answered += 1
        if status != 200 or not is_right:
            self.failed.append(f"{status} {body[:300]!r}")


async def storm(live: Live, good: str) -> tuple[int, int]:
    """RELOADS of spoilt files, with a valid one now and then; how many were refused and taken."""
    config = live.proxy.services.live_config
    files = spoilt(good, random.Random(SEED))
    expected = config.snapshot.settings
    refused = taken = 0
    for number in range(RELOADS):
        is_valid = number % VALID_EVERY == 0
        fresh = good.replace("long-1,", f"long-{2 + number % 7},")
        live.path.write_bytes(fresh.encode() if is_valid else next(files))
        try:
            wanted = load(live.path, {}) if live.path.stat().st_size else None
        except SettingsError:
            wanted = None

        is_taken = await live.reload()

        if wanted is not None and is_taken:
            kept = {name: getattr(expected, name) for name in ("server", "admin", "store")}
            expected = msgspec.structs.replace(wanted, **kept)
        assert is_taken or not is_valid
        assert config.snapshot.settings == expected, number
        assert (config.status().state == "refused") is (not is_taken)
        taken, refused = taken + is_taken, refused + (not is_taken)
    return refused, taken


@pytest.mark.timeout(TIMEOUT_S)
async def test_a_thousand_spoilt_files_fail_no_request(tmp_path: Path) -> None:
    """No request fails, the last good configuration is kept, and a valid one is taken at once."""
    good = GOOD.format(home=tmp_path, number=1)
    async with following(tmp_path) as live:
        minted = (await live.developer.make("/v1/tokens", {"name": "traffic"}))["token"]
        traffic = Traffic(live.developer.using(minted))
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(traffic.call())
            refused, taken = await storm(live, good)
            traffic.stop.set()
        live.path.write_text(good)
        assert await live.reload()
        caller = live.developer.using(minted)
        said = await caller.post(
            "/v1/chat/completions",
            {"model": "slot:number", "messages": [{"role": "user", "content": "count"}]},
        )

    assert traffic.failed == []
    assert traffic.answered > 0
    assert said.status == 200
    assert refused > RELOADS / 2
    assert taken >= RELOADS / VALID_EVERY
    print(f"{RELOADS} reloads: {refused} refused, {taken} taken; {traffic.answered} requests")
