"""Where a running proxy's configuration comes from: a file, what that names, an environment.

The environment is the one the process was started with; it does not change under a process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from ringside_proxy.settings.load import certificate_files, load, secret_files
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.schema import Settings

Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, size and time of change; None for one that cannot be seen."""


class ConfigSource:
    """A configuration file that can be read again.

    Make it before the first load: what changes from then on is a change (`signature_at_start`).
    """

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        # Relative to where the process was started, also if it should go elsewhere.
        self.path = path.absolute()
        self._env = env
        self._named: frozenset[Path] = frozenset()
        self._note_named()
        self.signature_at_start = self.signature()

    def load(self) -> Settings:
        """What the file says now. Raises SettingsError.

        An empty file would mean the built-in configuration at the start. Found while running it is
        what an editor leaves for a moment, or an accident: it is refused.
        """
        self._note_named()
        return load(self.path, self._env, refuses_nothing_written=True)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, and the secrets and certificates that it names, in an order that stays."""
        return (self.path, *sorted(self._named))

    def signature(self) -> Signature:
        """Changes whenever a file was written, replaced, or its symlink turned."""
        return tuple(_signature(file) for file in self.files)

    def folders(self) -> frozenset[Path]:
        """The folders in which something happens when a file changes.

        A file can be a symlink: then both where that stands (a ConfigMap's is turned) and where it
        leads (the real file is edited).
        """
        places = {place.parent for file in self.files for place in (file, file.resolve())}
        return frozenset(place for place in places if place.is_dir())

    def _note_named(self) -> None:
        try:
            named = secret_files(self.path, self._env) | certificate_files(self.path, self._env)
        except SettingsError:
            return  # the file makes no sense at the moment; what it names is what it named before
        self._named = named


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
