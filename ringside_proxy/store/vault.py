"""Secrets that the store keeps: sealed with AES-256-GCM, so that a copy of the file tells none.

    sealed = 1 byte form · 8 bytes key id · 12 bytes nonce · ciphertext and tag

What is sealed is bound to its place (`table|id|column`): moved to another row it cannot be opened.
The keys are those of RINGSIDE_MASTER_KEYS, the first of which seals. Without them, a key of its
own lies beside the store in `<db>.key` (0600), made when the first secret is sealed. Such a key
protects copies and dumps of the store, not the disk that holds both.

What is sealed by a later key of the list is sealed anew by `reseal`; after that it is not needed.
Source: NIST SP 800-38D for the nonce's length, read 2026-11-21.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ringside_proxy.domain.master_keys import KEY_BYTES, decode_key
from ringside_proxy.store.files import StoreError

FORM: Final = b"\x01"
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
KEY_FILE_BYTES_MAX: Final = 4096

RandomBytes = Callable[[int], bytes]


class Vault:
    """Seals and opens secrets."""

    def __init__(
        self,
        master_keys: Sequence[bytes] = (),
        key_file: Path | None = None,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self._random_bytes = random_bytes
        self._key_file = key_file
        self._keys = list(master_keys)
        if key_file is not None and key_file.exists():
            self._keys += _read_key_file(key_file)

    @classmethod
    def of(cls, master_keys: Sequence[str], store: Path) -> "Vault":
        """The vault of a store; `master_keys` are in base64. Raises StoreError."""
        keys = [decode_key(key) for key in master_keys]
        return cls([key for key in keys if key is not None], key_file_of(store))

    def seal(self, secret: str, place: str) -> bytes:
        """The secret as it is stored at `place`."""
        key = self._sealing_key()
        nonce = self._random_bytes(NONCE_BYTES)
        head = FORM + _key_id(key)
        return head + nonce + _encrypt(key, nonce, secret.encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> str:
        """The secret that was sealed at `place`. Raises StoreError if no key opens it."""
        named, rest = _split(sealed)
        key = next((key for key in self._keys if _key_id(key) == named), None)
        if key is None:
            raise StoreError(
                f"The store holds a secret ({place}) sealed with the key {named.hex()}, which is "
                "neither in RINGSIDE_MASTER_KEYS nor in the key file beside the store. Add that "
                "key, or put the key file back. If it is lost, 'ringside rotate-keys "
                "--drop-unreadable' deletes what it sealed."
            )
        secret = _decrypt(key, rest[:NONCE_BYTES], rest[NONCE_BYTES:], place.encode())
        if secret is None:
            raise StoreError(
                f"A secret in the store ({place}) was changed or moved; it cannot be used. "
                "Restore the store from a backup, or delete the object and make it anew."
            )
        return secret.decode()

    def reseal(self, sealed: bytes, place: str) -> bytes | None:
        """The same secret, sealed with the first key; None if it is already."""
        named, _ = _split(sealed)
        if named == _key_id(self._sealing_key()):
            return None
        return self.seal(self.open(sealed, place), place)

    def renew_key_file(self) -> None:
        """Seal with a new key of the key file from now on; its old keys still open.

        `drop_old_keys` removes them, once everything is sealed anew.
        """
        if self._key_file is None:
            raise StoreError("This vault has no key file.")
        old = _read_key_file(self._key_file) if self._key_file.exists() else []
        new = self._random_bytes(KEY_BYTES)
        _write_key_file(self._key_file, [new, *old])
        self._keys = [new, *self._keys]

    def drop_old_keys(self) -> None:
        """Keep only the newest key of the key file."""
        if self._key_file is not None and self._key_file.exists():
            _write_key_file(self._key_file, _read_key_file(self._key_file)[:1])

    def _sealing_key(self) -> bytes:
        if not self._keys:
            self.renew_key_file()
        return self._keys[0]


def key_file_of(store: Path) -> Path:
    """Where the key of a store lies that has no master keys."""
    return Path(f"{store}.key")


def _encrypt(key: bytes, nonce: bytes, secret: bytes, place: bytes) -> bytes:
    # Imported when there is something to seal: most proxies start without.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(nonce, secret, place)


def _decrypt(key: bytes, nonce: bytes, ciphertext: bytes, place: bytes) -> bytes | None:
    """None if it was changed, or sealed at another place."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, ciphertext, place)
    except InvalidTag:
        return None


def _split(sealed: bytes) -> tuple[bytes, bytes]:
    head = len(FORM) + KEY_ID_BYTES
    if not sealed.startswith(FORM) or len(sealed) <= head + NONCE_BYTES:
        raise StoreError("A secret in the store has a form that this version does not know.")
    return sealed[len(FORM) : head], sealed[head:]


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:KEY_ID_BYTES]


def _read_key_file(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        lines = file.read(KEY_FILE_BYTES_MAX).decode(errors="replace").split()
    keys = [decode_key(line) for line in lines]
    if None in keys:
        raise StoreError(
            f"The key file {path} is damaged: every line has to be 32 bytes in base64. Put it back "
            "from a backup; without it the secrets in the store cannot be opened."
        )
    return [key for key in keys if key is not None]


def _write_key_file(path: Path, keys: Sequence[bytes]) -> None:
    """Durable before it is used: a secret must never outlive the only key that opens it."""
    text = "".join(f"{base64.b64encode(key).decode()}\n" for key in keys)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
