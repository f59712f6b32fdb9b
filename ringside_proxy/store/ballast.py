"""A file that is only there to be deleted when the disk is full.

A full disk leaves SQLite unable even to delete or checkpoint. Deleting the ballast makes the room
for that; the store then only reads until there is enough space again.
"""

import os
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 16 * 1024 * 1024
ENOUGH_FREE_BYTES: Final = 64 * 1024 * 1024


class Ballast:
    """The ballast of the store at `store_path`, beside it as `<db>.ballast`."""

    def __init__(self, store_path: Path) -> None:
        self._path = Path(f"{store_path}.ballast")

    def create(self) -> bool:
        """Put the ballast there if the disk has room for it; whether it is there."""
        if self._path.exists():
            return True
        if self.free_bytes() < ENOUGH_FREE_BYTES:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def drop(self) -> None:
        """Make room."""
        self._path.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """What the disk has left for us."""
        stat = os.statvfs(self._path.parent)
        return stat.f_bavail * stat.f_frsize
