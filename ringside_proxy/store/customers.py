"""Customers, and what they may spend."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.customers import BudgetSource
from ringside_proxy.domain.errors import CustomerExistsError, NotFoundError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.store import events
from ringside_proxy.store.paging import AMONG_CUSTOMERS, PagedTable, bury
from ringside_proxy.store.tx import Row, Tx

COLUMNS: Final = (
    "seq, id, name, metadata, has_own_budget, monthly_nano, requests_per_minute, "
    "tokens_per_minute, created_ms"
)
INSERT: Final = "INSERT INTO customers (id, created_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
GET: Final = f"SELECT {COLUMNS} FROM customers WHERE id = ?"  # noqa: S608 - fixed fragments
OWN_BUDGET: Final = "SELECT has_own_budget, monthly_nano FROM customers WHERE id = ?"
OWN_RATES: Final = "SELECT requests_per_minute, tokens_per_minute FROM customers WHERE id = ?"
UPDATE: Final = (
    "UPDATE customers SET name = ?, metadata = ?, has_own_budget = ?, monthly_nano = ?, "
    "requests_per_minute = ?, tokens_per_minute = ? WHERE id = ?"
)
DELETE: Final = "DELETE FROM customers WHERE id = ?"
FIND: Final = f"SELECT seq, '' FROM customers WHERE id = ? AND ? = {AMONG_CUSTOMERS}"  # noqa: S608 - fixed fragments

LISTED: Final = PagedTable("customer", COLUMNS, "customers", "seq", FIND)
ANY: Final = "1"

_parse = msgspec.json.decode
_encode = msgspec.json.Encoder().encode


class CustomerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's row. Without `has_own_budget` the configuration says what it may spend."""

    seq: int
    id: str
    name: str | None
    metadata: dict[str, str]
    has_own_budget: bool
    monthly_nano: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    created_ms: int


class Cap(msgspec.Struct, frozen=True):
    """What a customer may spend in a month, and who said so; None: as much as it likes."""

    monthly_nano: int | None
    source: BudgetSource | None


def ensure(tx: Tx, customer_id: str) -> bool:
    """Make sure that the customer has a row; whether it is a new one.

    Emits `customer.created` for a new one.
    """
    is_new = tx.run(INSERT, customer_id, tx.now_ms) == 1
    if is_new:
        events.emit(tx, "customer.created", {"customer": customer_id})
    return is_new


def create(tx: Tx, customer_id: str, changes: dict[str, Any]) -> CustomerRecord:
    """A new customer with these fields of its record. Raises CustomerExistsError."""
    if not ensure(tx, customer_id):
        raise CustomerExistsError(
            f"There is a customer with id '{customer_id}' already. "
            f"Change it with PATCH /v1/customers/{customer_id}.",
            param="id",
        )
    return put(tx, customer_id, changes)


def put(tx: Tx, customer_id: str, changes: dict[str, Any]) -> CustomerRecord:
    """The customer with `changes` applied to its record; made if there is none."""
    ensure(tx, customer_id)
    changed = msgspec.structs.replace(get(tx, customer_id), **changes)
    tx.run(
        UPDATE,
        changed.name,
        _encode(changed.metadata).decode(),
        changed.has_own_budget,
        changed.monthly_nano,
        changed.requests_per_minute,
        changed.tokens_per_minute,
        customer_id,
    )
    return changed


def delete(tx: Tx, customer_id: str) -> None:
    """Remove the customer, and with it what the API set. Raises NotFoundError.

    Its usage stays, and what it has spent: made again, it goes on where it was.
    """
    record = get(tx, customer_id)
    tx.run(DELETE, customer_id)
    bury(tx, customer_id, AMONG_CUSTOMERS, record.seq)


def page(tx: Tx, query: ListQuery) -> tuple[list[CustomerRecord], bool]:
    """A page of all, and whether more follow."""
    rows, has_more = LISTED.page(tx, query, ANY, (), AMONG_CUSTOMERS)
    return [_record(row) for row in rows], has_more


def get(tx: Tx, customer_id: str) -> CustomerRecord:
    """A customer. Raises NotFoundError."""
    row = tx.one(GET, customer_id)
    if row is None:
        raise NotFoundError.of("customer", customer_id)
    return _record(row)


def cap_of(tx: Tx, customer_id: str, budgets: BudgetSettings) -> Cap | None:
    """The customer's cap; None if the customer has no row yet."""
    row = tx.one(OWN_BUDGET, customer_id)
    return None if row is None else cap(customer_id, row[0], row[1], budgets)


def cap_of_record(record: CustomerRecord, budgets: BudgetSettings) -> Cap:
    """The same, of a row that was read."""
    return cap(record.id, record.has_own_budget, record.monthly_nano, budgets)


def cap(customer_id: str, has_own: bool, own_nano: int | None, budgets: BudgetSettings) -> Cap:
    """The same, of what the API has set."""
    return Cap(own_nano, "api") if has_own else configured_cap(customer_id, budgets)


def own_rates(tx: Tx, customer_id: str) -> dict[str, int]:
    """The rate limits that the API has set for the customer, by their names; others are not there."""
    row = tx.one(OWN_RATES, customer_id) or (None, None)
    names = ("requests_per_minute", "tokens_per_minute")
    return {name: limit for name, limit in zip(names, row, strict=True) if limit is not None}


def configured_cap(customer_id: str, budgets: BudgetSettings) -> Cap:
    """The cap of a customer for whom the API has set none."""
    own = budgets.customers.get(customer_id)
    if own is not None:
        return Cap(own.monthly_nano_usd, "config")
    default = budgets.default_monthly_nano_usd
    return Cap(default, None if default is None else "default")


def _record(row: Row) -> CustomerRecord:
    return CustomerRecord(
        seq=row[0],
        id=row[1],
        name=row[2],
        metadata=_parse(row[3]),
        has_own_budget=bool(row[4]),
        monthly_nano=row[5],
        requests_per_minute=row[6],
        tokens_per_minute=row[7],
        created_ms=row[8],
    )
