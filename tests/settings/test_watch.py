"""Changes of the configuration on disk are noticed, whole, and once."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from ringside_proxy.settings import watch
from ringside_proxy.settings.source import ConfigSource

NOTICED_S_MAX = 60.0
"""It only tells that a change was missed: how long one takes is a matter of the waits below."""
IN_EFFECT_S = 2.0
"""The promise: a saved file is in effect within two seconds."""


class Watching:
    """A watch over a source; `noticed` waits for its next item."""

    def __init__(self, source: ConfigSource) -> None:
        self.source = source
        self.items = watch.changes(source)

    async def noticed(self) -> None:
        """The next change."""
        async with asyncio.timeout(NOTICED_S_MAX):
            await anext(self.items)


@pytest.fixture
async def config_map(tmp_path: Path) -> AsyncIterator[tuple[Watching, Callable[[str], None]]]:
    """A folder as the kubelet makes it, watched; and the turning of its symlinks."""
    versions = 0

    def turn(text: str) -> None:
        nonlocal versions
        versions += 1
        data = tmp_path / f"..version_{versions}"
        data.mkdir()
        (data / "ringside.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(data.name)
        os.rename(tmp_path / "..data_tmp", tmp_path / "..data")

    turn("log: {level: info}")
    (tmp_path / "ringside.yaml").symlink_to("..data/ringside.yaml")
    watching = Watching(ConfigSource(tmp_path / "ringside.yaml", {}))
    async with aclosing(watching.items):
        yield watching, turn


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Watching]:
    """A file and the secret that it names, watched."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("one")
    path = tmp_path / "ringside.yaml"
    path.write_text(f"providers: {{openai: {{api_key: 'file:{tmp_path}/secrets/key'}}}}")
    watching = Watching(ConfigSource(path, {}))
    async with aclosing(watching.items):
        yield watching


async def begun(watching: Watching) -> "asyncio.Task[None]":
    """The wait for the next change, already waiting."""
    waiting = asyncio.create_task(watching.noticed())
    await asyncio.sleep(0)
    return waiting


async def test_a_file_written_in_place_is_noticed(file: Watching) -> None:
    """As `>` and most editors' plain save do it."""
    waiting = await begun(file)

    file.source.path.write_text("{}")

    await waiting


async def test_a_file_put_in_place_of_the_old_one_is_noticed(file: Watching) -> None:
    """As editors do it that write beside and rename."""
    waiting = await begun(file)

    beside = file.source.path.with_suffix(".new")
    beside.write_text("{}")
    beside.rename(file.source.path)

    await waiting


async def test_a_changed_secret_is_noticed(file: Watching) -> None:
    """The configuration is the same, what it stands for is not."""
    waiting = await begun(file)

    file.source.files[1].write_text("two")

    await waiting


async def test_a_secret_named_later_is_watched_from_then_on(file: Watching, tmp_path: Path) -> None:
    """After a reload the folders are those of the new file."""
    (tmp_path / "elsewhere").mkdir()
    key = tmp_path / "elsewhere/key"
    key.write_text("one")
    waiting = await begun(file)
    file.source.path.write_text(f"providers: {{openai: {{api_key: 'file:{key}'}}}}")
    await waiting
    file.source.load()
    waiting = await begun(file)

    key.write_text("another")

    await waiting


async def test_a_turned_config_map_is_noticed(
    config_map: tuple[Watching, Callable[[str], None]],
) -> None:
    """Again and again, though the file's own path never changes."""
    watching, turn = config_map
    for level in ("debug", "error", "warning"):
        waiting = await begun(watching)
        turn(f"log: {{level: {level}}}")
        await waiting
        assert watching.source.load().log.level == level


async def test_a_file_that_goes_and_comes_is_noticed(file: Watching) -> None:
    """Gone, and there again."""
    text = file.source.path.read_text()
    waiting = await begun(file)
    file.source.path.unlink()
    await waiting
    waiting = await begun(file)

    file.source.path.write_text(text)

    await waiting


async def test_a_change_is_noticed_without_events(
    file: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system tells nothing, the files are looked at."""

    def nothing_to_be_had(*_: object, **__: object) -> None:
        raise OSError("no watches left")

    monkeypatch.setattr(watch, "awatch", nothing_to_be_had)
    waiting = await begun(file)

    file.source.path.write_text("{}")

    await waiting


def test_waits_are_within_what_is_promised() -> None:
    """Without any event a change is seen at the next look, and taken when it has rested."""
    assert watch.QUIET_S == 0.25
    assert watch.TICK_MS / 1000 + 2 * watch.QUIET_S < IN_EFFECT_S


async def test_a_write_in_pieces_is_one_change(tmp_path: Path) -> None:
    """While a file goes on changing it is waited for; then it is reported, once."""
    path = tmp_path / "ringside.yaml"
    path.write_text("{}")
    source = ConfigSource(path, {})
    pieces = ["log:", "log: {level", "log: {level: debug}"]

    async def write_on(_: float) -> None:
        if pieces:
            path.write_text(pieces.pop(0))

    path.write_text("l")
    items = watch.changes(source, write_on)
    async with aclosing(items), asyncio.timeout(NOTICED_S_MAX):
        await anext(items)

    assert pieces == []
    assert source.load().log.level == "debug"


async def test_a_file_that_never_rests_is_reported_all_the_same(tmp_path: Path) -> None:
    """After LOOKS_MAX looks it is taken as it is."""
    path = tmp_path / "ringside.yaml"
    path.write_text("{}")
    source = ConfigSource(path, {})
    writes = 0

    async def write_on(_: float) -> None:
        nonlocal writes
        writes += 1
        path.write_text("#" * writes)

    path.write_text("log: {}")
    items = watch.changes(source, write_on)
    async with aclosing(items), asyncio.timeout(NOTICED_S_MAX):
        await anext(items)

    assert writes == watch.LOOKS_MAX
