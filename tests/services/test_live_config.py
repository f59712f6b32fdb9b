"""What the live configuration refuses, whatever the file says."""

import asyncio
import threading
from pathlib import Path

import pytest

from ringside_proxy.services.live_config import LiveConfig
from ringside_proxy.services.model_routing import AnswerRules, ModelRouter
from ringside_proxy.services.prices import PriceBook
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.settings.load import load
from ringside_proxy.settings.schema import Settings
from ringside_proxy.settings.source import ConfigSource
from ringside_proxy.system import SystemClock
from ringside_proxy.telemetry.metrics import Metrics

OPEN_TO_ALL = "server: {host: 0.0.0.0}\nauth: {tokens: [{name: a, token: of-our-own}]}\n"
"""Served beyond loopback, behind a token."""


async def built(settings: Settings) -> Snapshot:
    """A snapshot without providers."""
    return Snapshot(settings, ModelRouter((), {}, {}, AnswerRules()), PriceBook({}))


def source_of(path: Path, text: str) -> ConfigSource:
    """A file with this text."""
    path.write_text(text)
    return ConfigSource(path, {})


async def follow(path: Path, text: str) -> LiveConfig:
    """The live configuration of a process that was started on this text."""
    source = source_of(path, text)
    return LiveConfig(await built(load(path, {})), source, built, SystemClock(), Metrics("0"))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("server: {host: 127.0.0.1}\nauth: {required: false}", "auth.required"),
        ("server: {host: 127.0.0.1}", "auth.tokens"),
        ("auth: {tokens: [{name: a, token: ko_localhost}]}", "auth.tokens"),
    ],
)
async def test_a_file_does_not_open_the_door_that_stands_beyond_loopback(
    tmp_path: Path, text: str, path: str
) -> None:
    """Right beside the listener that it asks for, wrong beside the one that runs: refused."""
    live = await follow(tmp_path / "a.yaml", OPEN_TO_ALL)
    before = live.snapshot
    (tmp_path / "a.yaml").write_text(text)
    assert load(tmp_path / "a.yaml", {})

    assert not await live.reload()

    assert live.snapshot is before
    assert path in [problem.path for problem in live.status().problems]
    assert "restart for server.host to change" in live.status().problems[0].remedy


async def test_what_cannot_be_built_keeps_what_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is logged with its stack, and changes nothing."""
    path = tmp_path / "a.yaml"
    path.write_text("{}")

    async def fail(settings: Settings) -> Snapshot:
        raise OSError(f"no port left for {settings.log.level}")

    live = LiveConfig(
        await built(load(path, {})), ConfigSource(path, {}), fail, SystemClock(), Metrics("0")
    )
    path.write_text("log: {level: debug}")

    assert not await live.reload()

    assert live.snapshot.settings.log.level == "info"
    assert live.status().state == "refused"
    assert "the reload failed" in caplog.text


async def test_without_a_file_there_is_nothing_to_reload() -> None:
    """SIGHUP on the built-in configuration says so."""
    live = LiveConfig(await built(load(None, {})), None, built, SystemClock(), Metrics("0"))

    assert not await live.reload()

    assert live.status().file is None
    assert live.status().state == "in_effect"


async def test_observers_are_told_of_an_exchange_and_of_nothing_else(tmp_path: Path) -> None:
    """The old snapshot and the new one, once; not for what is refused or equal."""
    live = await follow(tmp_path / "a.yaml", "log: {level: info}")
    told: list[tuple[str, str]] = []
    live.observe(lambda old, new: told.append((old.settings.log.level, new.settings.log.level)))

    for text in ("log: {level: debug}", "log: {level: debug}", "log: {level: loud}"):
        (tmp_path / "a.yaml").write_text(text)
        await live.reload()

    assert told == [("info", "debug")]


class HeldUp(ConfigSource):
    """A source whose first reading is not done before `goes_on` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, {})
        self.has_read, self.goes_on = threading.Event(), threading.Event()

    def load(self) -> Settings:
        """What the file said when it was read."""
        settings = super().load()
        if not self.has_read.is_set():
            self.has_read.set()
            self.goes_on.wait()
        return settings


async def test_a_slow_reading_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    """One reload after the other: what the file said last is in effect."""
    path = tmp_path / "a.yaml"
    path.write_text("{}")
    source = HeldUp(path)
    live = LiveConfig(await built(load(path, {})), source, built, SystemClock(), Metrics("0"))
    save(path, "runs: {expires_after: 5m}")
    older = asyncio.create_task(live.reload())
    await asyncio.to_thread(source.has_read.wait)
    save(path, "runs: {expires_after: 9m}")
    newer = asyncio.create_task(live.reload())
    await asyncio.wait({newer}, timeout=0.1)  # which it would use, if it could overtake

    source.goes_on.set()

    assert await asyncio.gather(older, newer) == [True, True]
    assert live.snapshot.settings.runs.expires_after_s == 9 * 60


def save(path: Path, text: str) -> None:
    path.write_text(text)
