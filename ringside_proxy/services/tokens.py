"""Tokens: who may call. Looked up in memory by hash; the tokens themselves are kept nowhere.

When a token was last used is known in memory at once and in the store within a minute: a request
must not cost a write.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterable
from itertools import islice
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.callers import Caller, require_customer_id
from ringside_proxy.domain.errors import (
    AuthenticationError,
    InvalidRequestError,
    PermissionDeniedError,
    RingsideError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.settings.schema import TokenSettings
from ringside_proxy.store import idempotency, tokens
from ringside_proxy.store.db import Database
from ringside_proxy.store.tokens import TokenRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

TOKEN_PREFIX: Final = "ko_"  # noqa: S105 - how all tokens begin
TOKEN_BYTES: Final = 32
BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_DIGITS: Final = 43
"""Base-62 digits that hold 32 bytes."""
SHOWN_CHARACTERS: Final = 4
USES_SAVED_EVERY_S: Final = 60.0
USES_PER_WRITE: Final = 500

ANYBODY: Final = Caller(token_id="anybody", name="anybody")  # noqa: S106 - not a secret
"""Who calls where no token is required."""


class MintedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; `token` is shown this once."""

    record: TokenRecord
    token: str


class _Entry(msgspec.Struct, frozen=True):
    caller: Caller
    expires_ms: int | None = None


class Tokens:
    """The valid tokens: those of the configuration and those minted here."""

    def __init__(self, db: Database, new_id: NewId, clock: Clock, *, is_required: bool) -> None:
        self._db = db
        self._new_id = new_id
        self._clock = clock
        self._is_required = is_required
        self._entries: dict[str, _Entry] = {}
        self._used_ms: dict[str, int] = {}
        self._unsaved: set[str] = set()

    def load(self, configured: Iterable[TokenSettings], *, is_required: bool | None = None) -> None:
        """Take in the configuration's tokens and the store's; `is_required` stays unless given."""
        if is_required is not None:
            self._is_required = is_required
        entries = {token.sha256: _Entry(_configured_caller(token)) for token in configured}
        for record in self._db.get(tokens.every):
            entries[record.sha256] = _entry(record)
        self._entries = entries
        self._used_ms = self._db.get(tokens.uses) | self._used_ms

    def __len__(self) -> int:
        return len(self._entries)

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header. Raises AuthenticationError.

        Only the hash of what was sent is compared, so timing tells nothing about a token.
        """
        token = _bearer(authorization)
        sha256 = hash_token(token) if token else ""
        entry = self._entries.get(sha256)
        is_expired = (
            entry is not None
            and entry.expires_ms is not None
            and (self._clock.now_ms() >= entry.expires_ms)
        )
        if entry is not None and not is_expired:
            self._used_ms[entry.caller.token_id] = self._clock.now_ms()
            self._unsaved.add(entry.caller.token_id)
            return entry.caller
        if not self._is_required:
            return ANYBODY
        raise AuthenticationError(_refusal(token))

    async def mint(
        self,
        name: str,
        role: Literal["developer", "client"],
        customer: str | None,
        expires_in_s: int | None = None,
        *,
        once: bytes | None = None,
    ) -> MintedToken:
        """A new token, valid at once. `once`: see `Caller`."""
        token = new_token()
        now_ms = self._clock.now_ms()
        record = TokenRecord(
            id=self._new_id("tok"),
            name=name,
            role=role,
            customer=customer,
            sha256=hash_token(token),
            created_ms=now_ms,
            expires_ms=None if expires_in_s is None else now_ms + 1000 * expires_in_s,
        )

        def apply(tx: Tx) -> None:
            tokens.insert(tx, record)
            idempotency.made(tx, once, record.id)

        await self._db.write(apply)
        self._entries[record.sha256] = _entry(record)
        return MintedToken(record=record, token=token)

    async def revoke(self, token_id: str) -> None:
        """End a minted token, at once. Raises NotFoundError."""
        record = await self._db.write(tokens.delete, token_id)
        self._entries.pop(record.sha256, None)
        self._used_ms.pop(token_id, None)
        self._unsaved.discard(token_id)

    def used_ms(self, token_id: str) -> int | None:
        """When the token was last used; None if it never was."""
        return self._used_ms.get(token_id)

    async def run(self, every_s: float = USES_SAVED_EVERY_S) -> None:
        """Save uses until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.save_uses()

    async def save_uses(self) -> None:
        """Store the uses that are not stored yet; what cannot be now is tried again later."""
        while self._unsaved:
            batch = set(islice(self._unsaved, USES_PER_WRITE))
            self._unsaved -= batch
            used = {token_id: self._used_ms[token_id] for token_id in batch}
            try:
                await self._db.write(tokens.note_uses, used)
            except RingsideError as error:
                self._unsaved |= batch & self._used_ms.keys()
                logger.warning("uses of tokens not stored yet", extra=fields(code=error.code))
                return


def require_developer(caller: Caller) -> None:
    """Raise PermissionDeniedError for a client token."""
    if caller.role != "developer":
        raise PermissionDeniedError(
            "A client token may only use the OpenAI endpoints. Use a developer token here."
        )


def require_customer(role: str, customer: str | None) -> None:
    """Raise InvalidRequestError unless a client token, and only one, names a valid customer."""
    if (role == "client") != (customer is not None):
        raise InvalidRequestError(
            "A token of role 'client' needs a 'customer', and one of role 'developer' has none.",
            param="customer",
            code="invalid_value",
        )
    if customer is not None:
        require_customer_id(customer, "customer")


def configured_id(token: TokenSettings) -> str:
    """The id of a token of the configuration: the same as long as the token is."""
    return f"tok_{token.sha256[:24]}"


def new_token() -> str:
    """`ko_` and 32 random bytes in base 62."""
    number = int.from_bytes(secrets.token_bytes(TOKEN_BYTES))
    digits = []
    for _ in range(TOKEN_DIGITS):
        number, digit = divmod(number, len(BASE62))
        digits.append(BASE62[digit])
    return TOKEN_PREFIX + "".join(digits)


def hash_token(token: str) -> str:
    """The form in which a token is stored and compared."""
    # A header may hold bytes that are no UTF-8; aiohttp hands them on as lone surrogates.
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _refusal(token: str | None) -> str:
    if not token:
        return (
            "You didn't provide an API key. Send it as 'Authorization: Bearer ko_…'; "
            "in OpenAI's SDKs, pass it as api_key."
        )
    shown = (
        f"{token[:SHOWN_CHARACTERS]}***{token[-SHOWN_CHARACTERS:]}" if len(token) > 12 else "***"
    )
    return (
        f"Incorrect API key provided: {shown.encode(errors='replace').decode()}. It has to be a Ringside token: one of auth.tokens, "
        "or one made with 'ringside token new'."
    )


def _configured_caller(token: TokenSettings) -> Caller:
    return Caller(
        token_id=configured_id(token), name=token.name, role=token.role, customer=token.customer
    )


def _entry(record: TokenRecord) -> _Entry:
    caller = Caller(
        token_id=record.id, name=record.name, role=record.role, customer=record.customer
    )
    return _Entry(caller, record.expires_ms)
