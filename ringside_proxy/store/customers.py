"""Customers, and what they may spend."""

from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.store.tx import Row, Tx

COLUMNS: Final = (
    "seq, id, name, metadata, has_own_budget, monthly_nano, requests_per_minute, "
    "tokens_per_minute, created_ms"
)
INSERT: Final = "INSERT INTO customers (id, created_ms) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
GET: Final = f"SELECT {COLUMNS} FROM customers WHERE id = ?"  # noqa: S608 - fixed fragments
OWN_BUDGET: Final = "SELECT has_own_budget, monthly_nano FROM customers WHERE id = ?"
OWN_RATES: Final = "SELECT requests_per_minute, tokens_per_minute FROM customers WHERE id = ?"

_parse = msgspec.json.decode

BudgetSource = Literal["api", "config", "default"]


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
    """Make sure that the customer has a row; whether it is a new one."""
    return tx.run(INSERT, customer_id, tx.now_ms) == 1


def get(tx: Tx, customer_id: str) -> CustomerRecord:
    """A customer. Raises NotFoundError."""
    row = tx.one(GET, customer_id)
    if row is None:
        raise NotFoundError.of("customer", customer_id)
    return _record(row)


def cap_of(tx: Tx, customer_id: str, budgets: BudgetSettings) -> Cap | None:
    """The customer's cap; None if the customer has no row yet."""
    row = tx.one(OWN_BUDGET, customer_id)
    if row is None:
        return None
    return Cap(row[1], "api") if row[0] else configured_cap(customer_id, budgets)


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
