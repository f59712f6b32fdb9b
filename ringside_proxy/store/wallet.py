"""The prepaid wallet: one balance for the whole proxy, and what moved it."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.money import PPM, usd
from ringside_proxy.domain.wallet import WalletTransaction
from ringside_proxy.settings.money import WalletSettings
from ringside_proxy.store import events
from ringside_proxy.store.paging import NO_PARENT, PagedTable
from ringside_proxy.store.tx import Row, Tx

GET: Final = "SELECT balance_nano, reserved_nano FROM wallet WHERE id = 1"
RESERVE: Final = (
    "UPDATE wallet SET reserved_nano = reserved_nano + ? "
    "WHERE id = 1 AND reserved_nano + ? <= balance_nano"
)
RELEASE: Final = "UPDATE wallet SET reserved_nano = reserved_nano - ? WHERE id = 1"
ADD: Final = "UPDATE wallet SET balance_nano = balance_nano + ? WHERE id = 1 RETURNING balance_nano"
MARK_LOW: Final = "UPDATE wallet SET is_low = 1 WHERE id = 1 AND is_low = 0"
MARK_EXHAUSTED: Final = "UPDATE wallet SET is_exhausted = 1 WHERE id = 1 AND is_exhausted = 0"
REARM_LOW: Final = "UPDATE wallet SET is_low = 0 WHERE id = 1 AND balance_nano >= ?"
REARM_EXHAUSTED: Final = "UPDATE wallet SET is_exhausted = 0 WHERE id = 1"
NOTE: Final = (
    "INSERT INTO wallet_transactions (id, type, amount_nano, balance_nano, note, usage_id, "
    "created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
COLUMNS: Final = "id, type, amount_nano, balance_nano, note, usage_id, created_ms"
GET_TOP_UP: Final = (
    "SELECT id, amount_nano, balance_nano, created_ms, note FROM wallet_transactions WHERE id = ?"
)
FIND: Final = "SELECT seq, '' FROM wallet_transactions WHERE id = ? AND ? = 0"
LISTED: Final = PagedTable("wallet transaction", COLUMNS, "wallet_transactions", "seq", FIND)
ANY: Final = "1"


class WalletRecord(msgspec.Struct, frozen=True):
    """What is in the wallet, and how much of it calls at work may yet take."""

    balance_nano: int
    reserved_nano: int

    @property
    def available_nano(self) -> int:
        """What another call may cost."""
        return self.balance_nano - self.reserved_nano


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Money that was put in; `balance_nano` is what there was afterwards."""

    id: str
    amount_nano: int
    balance_nano: int
    created_ms: int
    note: str | None


def get(tx: Tx) -> WalletRecord:
    """The wallet as it stands."""
    row = tx.one(GET)
    if row is None:  # pragma: no cover - the migration made it
        raise LookupError("wallet")
    return WalletRecord(*row)


def reserve(tx: Tx, nano: int) -> bool:
    """Keep `nano` back for a call; False if there is not as much."""
    return tx.run(RESERVE, nano, nano) == 1


def release(tx: Tx, nano: int) -> None:
    """Give back what was kept back."""
    tx.run(RELEASE, nano)


def charge(tx: Tx, nano: int, usage_id: str, terms: WalletSettings) -> None:
    """Take the price of a call. Emits `wallet.low` once per crossing of the threshold.

    The threshold may have been lowered since the last crossing: then this may be another one.
    """
    if not nano:
        return
    balance = _add(tx, -nano)
    tx.run(NOTE, tx.new_id("chg"), "charge", -nano, balance, None, usage_id, tx.now_ms)
    low = terms.low_balance_nano_usd
    if balance < low and (tx.run(MARK_LOW) or balance + nano >= low):
        events.emit(tx, "wallet.low", wire_object(get(tx), terms))


def exhausted(tx: Tx, terms: WalletSettings) -> None:
    """Note that a call was refused. Emits `wallet.exhausted` once until the next top-up."""
    if tx.run(MARK_EXHAUSTED):
        events.emit(tx, "wallet.exhausted", wire_object(get(tx), terms))


def top_up(tx: Tx, nano: int, note: str | None, terms: WalletSettings) -> TopUp:
    """Put money in."""
    top_up_id = tx.new_id("top")
    balance = _add(tx, nano)
    tx.run(NOTE, top_up_id, "top_up", nano, balance, note, None, tx.now_ms)
    tx.run(REARM_LOW, terms.low_balance_nano_usd)
    tx.run(REARM_EXHAUSTED)
    return TopUp(
        id=top_up_id, amount_nano=nano, balance_nano=balance, created_ms=tx.now_ms, note=note
    )


def get_top_up(tx: Tx, top_up_id: str) -> TopUp:
    """A top-up. Raises NotFoundError."""
    row = tx.one(GET_TOP_UP, top_up_id)
    if row is None:
        raise NotFoundError.of("top-up", top_up_id)
    return TopUp(id=row[0], amount_nano=row[1], balance_nano=row[2], created_ms=row[3], note=row[4])


def transaction_page(tx: Tx, query: ListQuery) -> Page[WalletTransaction]:
    """A page of what moved the balance."""
    rows, has_more = LISTED.page(tx, query, ANY, (), NO_PARENT)
    return page_of([_transaction(row) for row in rows], has_more)


def wire_object(wallet: WalletRecord, terms: WalletSettings) -> dict[str, Any]:
    """The wallet on the wire and in events; amounts are USD."""
    return {
        "object": "wallet",
        "enabled": terms.enabled,
        "balance_usd": usd(wallet.balance_nano),
        "reserved_usd": usd(wallet.reserved_nano),
        "low_balance_usd": usd(terms.low_balance_nano_usd),
        "markup_percent": terms.markup_ppm * 100 / PPM,
    }


def _transaction(row: Row) -> WalletTransaction:
    return WalletTransaction(
        id=row[0],
        type=row[1],
        amount_usd=usd(row[2]),
        balance_usd=usd(row[3]),
        note=row[4],
        usage_id=row[5],
        created_at=row[6] // 1000,
    )


def _add(tx: Tx, nano: int) -> int:
    row = tx.one(ADD, nano)
    if row is None:  # pragma: no cover - the migration made it
        raise LookupError("wallet")
    balance: int = row[0]
    return balance
