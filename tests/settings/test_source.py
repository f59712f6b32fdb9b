"""The file that a running proxy's configuration comes from."""

import os
from pathlib import Path

import pytest

from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.source import ConfigSource


def written(path: Path, text: str) -> Path:
    """The path, with this text in its file."""
    path.write_text(text)
    return path


def test_load_gives_what_the_file_says_now(tmp_path: Path) -> None:
    """Each time anew, with the environment of the start."""
    path = written(tmp_path / "a.yaml", "log: {level: debug}")
    source = ConfigSource(path, {"RINGSIDE_PORT": "8181"})
    first = source.load()

    written(path, "log: {level: error}")
    second = source.load()

    assert (first.log.level, second.log.level) == ("debug", "error")
    assert first.server.port == second.server.port == 8181


def test_secrets_that_the_file_names_belong_to_it(tmp_path: Path) -> None:
    """Wherever they are named, also through a variable; the file itself is first."""
    key, token = written(tmp_path / "key", "k"), written(tmp_path / "token", "t")
    path = written(
        tmp_path / "a.yaml",
        f"providers: {{openai: {{api_key: 'file:{key}'}}}}\n"
        "auth: {tokens: [{name: a, token: 'file:${HERE}/token'}]}\n",
    )

    source = ConfigSource(path, {"HERE": str(tmp_path)})

    assert source.files == (path, key, token)


def test_secrets_stay_while_the_file_makes_no_sense(tmp_path: Path) -> None:
    """A file half written does not make the proxy forget what it has to watch."""
    key = written(tmp_path / "key", "k")
    path = written(tmp_path / "a.yaml", f"providers: {{openai: {{api_key: 'file:{key}'}}}}")
    source = ConfigSource(path, {})

    written(path, "providers: {openai: {api_k")
    with pytest.raises(SettingsError):
        source.load()

    assert source.files == (path, key)


def test_an_emptied_file_is_refused(tmp_path: Path) -> None:
    """At the start it would mean the defaults; found while running it is an accident."""
    source = ConfigSource(written(tmp_path / "a.yaml", ""), {})

    with pytest.raises(SettingsError, match="is empty; write"):
        source.load()


def test_nothing_read_is_refused_whatever_the_size_was() -> None:
    """What counts is what was read: a writer can empty the file after any other look at it."""
    with pytest.raises(SettingsError, match="is empty; write"):
        ConfigSource(Path(os.devnull), {}).load()


def test_signature_follows_content_and_symlinks(tmp_path: Path) -> None:
    """It changes when the file is written, replaced, removed, or its symlink turned."""
    one, two = written(tmp_path / "one", "{}"), written(tmp_path / "two", "{}")
    path = tmp_path / "a.yaml"
    path.symlink_to(one)
    source = ConfigSource(path, {})
    seen = [source.signature()]

    written(one, "{log: {}}")
    seen.append(source.signature())
    path.unlink()
    seen.append(source.signature())
    path.symlink_to(two)
    seen.append(source.signature())

    assert len(set(seen)) == 4
    assert seen[2] == (None,)


def test_folders_are_where_the_link_stands_and_where_it_leads(tmp_path: Path) -> None:
    """A ConfigMap's link is turned in the one, a linked file is edited in the other."""
    there = tmp_path / "there"
    there.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.yaml").symlink_to(written(there / "real.yaml", "{}"))

    source = ConfigSource(here / "a.yaml", {})

    assert source.folders() == {here, there}
