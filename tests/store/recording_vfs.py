"""What SQLite writes, and what it has synced: the files as a loss of power may leave them.

The standard library's own SQLite is asked, through ctypes, to open files by a VFS that is its
usual one but for this: writes, truncations, syncs and deletions are noted as they are passed on.
"""

import _sqlite3
import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR_BYTES = 512
METHODS_BYTES_MAX = 8 * 24
CLOSE, READ, WRITE, TRUNCATE, SYNC = range(1, 6)
"""Places in `sqlite3_io_methods`, counted in pointers, behind its version."""

# Names are passed on as the pointers that they are: SQLite keeps them for as long as the file is open.
Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class Vfs(Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 14),
    ]


@dataclass
class File:
    """A file: what is on the disk for certain, and what was written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is on the disk."""
        for at, data in self.pending:
            _apply(self.durable, at, data)
        self.pending.clear()

    def after_a_power_loss(self, source: random.Random) -> bytes:
        """Of what was not synced, any part may have come to the disk, the last write before the first."""
        left, kept = bytearray(self.durable), source.choice((0.0, 0.5, 0.9, 1.0))
        for at, data in self.pending:
            if source.random() >= kept:
                continue
            if data is not None and source.random() < 0.2:  # torn between two sectors
                data = data[: source.randrange(len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES]
            _apply(left, at, data)
        return bytes(left)


def _apply(image: bytearray, at: int, data: bytes | None) -> None:
    """A write, or a truncation."""
    if data is None:
        del image[at:]
        return
    if len(image) < at:
        image.extend(bytes(at - len(image)))
    image[at : at + len(data)] = data


Event = tuple[str, str, int, bytes | None]
"""What happened to which file: at which offset, and with which bytes."""


class Disk:
    """Plays events to the files of one directory."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}

    def play(self, event: Event) -> None:
        """One event."""
        what, path, at, data = event
        file = self.files.setdefault(path, File())
        if what == "delete":
            del self.files[path]
        elif what == "sync":
            file.sync()
        else:
            file.pending.append((at, data))

    def lose_power(self, home: Path, source: random.Random) -> None:
        """Leave the files in `home`."""
        home.mkdir(parents=True)
        for path, file in self.files.items():
            (home / Path(path).name).write_bytes(file.after_a_power_loss(source))


def library() -> ctypes.CDLL:
    """The SQLite that Python's own module uses, in a file of its own or in Python's."""
    return ctypes.CDLL(getattr(_sqlite3, "__file__", None))


class Recorder:
    """The VFS; `events` is what passed through it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._library = library()
        self._library.sqlite3_vfs_find.restype = POINTER(Vfs)
        self._library.sqlite3_vfs_find.argtypes = [c_char_p]
        self._usual = self._library.sqlite3_vfs_find(None)
        self._paths: dict[int, str] = {}
        self._methods: dict[int, Any] = {}
        self._kept: list[Any] = []  # callbacks that SQLite points to
        self.vfs = Vfs.from_buffer_copy(self._usual.contents)
        self.vfs.name = b"recording"
        self.vfs.open = self._callback(Open, self._open)
        self.vfs.delete = self._callback(Delete, self._delete)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Files that are opened meanwhile are recorded."""
        self._library.sqlite3_vfs_register(ctypes.byref(self.vfs), 1)
        try:
            yield
        finally:
            self._library.sqlite3_vfs_unregister(ctypes.byref(self.vfs))
            self._library.sqlite3_vfs_register(self._usual, 1)

    def _callback(self, kind: Any, function: Callable[..., int]) -> int | None:
        self._kept.append(kind(function))
        return cast(self._kept[-1], c_void_p).value

    def _open(self, _: int, name: int | None, file: int, flags: int, out: int) -> int:
        usual = cast(self._usual.contents.open, Open)
        code: int = usual(cast(self._usual, c_void_p).value, name, file, flags, out)
        pointer = c_void_p.from_address(file)
        if code == 0 and name is not None and pointer.value is not None:
            self._paths[file] = ctypes.string_at(name).decode()
            if pointer.value not in self._methods:
                self._methods[pointer.value] = self._recording_methods(pointer.value)
            pointer.value = ctypes.addressof(self._methods[pointer.value])
        return code

    def _delete(self, _: int, name: int, sync: int) -> int:
        usual = cast(self._usual.contents.delete, Delete)
        code: int = usual(cast(self._usual, c_void_p).value, name, sync)
        if code == 0:
            self.events.append(("delete", ctypes.string_at(name).decode(), 0, None))
        return code

    def _recording_methods(self, usual: int) -> Any:
        """A copy of a table of methods, with some of them recorded."""
        pointers = METHODS_BYTES_MAX // ctypes.sizeof(c_void_p)
        table = (c_void_p * pointers).from_buffer_copy(ctypes.string_at(usual, METHODS_BYTES_MAX))
        write, truncate, sync = (
            kind(table[place] or 0)
            for kind, place in ((Write, WRITE), (Truncate, TRUNCATE), (Sync, SYNC))
        )

        def recorded_write(file: int, data: int, length: int, at: int) -> int:
            self.events.append(("write", self._paths[file], at, ctypes.string_at(data, length)))
            code: int = write(file, data, length, at)
            return code

        def recorded_truncate(file: int, length: int) -> int:
            self.events.append(("truncate", self._paths[file], length, None))
            code: int = truncate(file, length)
            return code

        def recorded_sync(file: int, flags: int) -> int:
            code: int = sync(file, flags)
            self.events.append(("sync", self._paths[file], 0, None))
            return code

        table[WRITE] = self._callback(Write, recorded_write)
        table[TRUNCATE] = self._callback(Truncate, recorded_truncate)
        table[SYNC] = self._callback(Sync, recorded_sync)
        return table
