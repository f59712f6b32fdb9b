"""Customers as the wire shows them: the row, the cap that is in force, and this month's spending."""

from typing import Any

from ringside_proxy.domain.customers import Customer, CustomerPeriod, CustomerRateLimits
from ringside_proxy.domain.ledger import period_bounds
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.money import usd, usd_or_null
from ringside_proxy.store import customers, ledger, ledger_clock
from ringside_proxy.store.customers import Cap, CustomerRecord
from ringside_proxy.store.ledger import Terms
from ringside_proxy.store.tx import Tx


def get(tx: Tx, customer_id: str, terms: Terms) -> Customer:
    """A customer. Raises NotFoundError."""
    return _shown(tx, customers.get(tx, customer_id), terms)


def create(tx: Tx, customer_id: str, changes: dict[str, Any], terms: Terms) -> Customer:
    """A new customer with these fields of its record. Raises CustomerExistsError."""
    return _shown(tx, customers.create(tx, customer_id, changes), terms)


def put(tx: Tx, customer_id: str, changes: dict[str, Any], terms: Terms) -> Customer:
    """The customer with `changes` applied to its record; made if there is none."""
    return _shown(tx, customers.put(tx, customer_id, changes), terms)


def page(tx: Tx, query: ListQuery, terms: Terms) -> Page[Customer]:
    """A page of all customers."""
    records, has_more = customers.page(tx, query)
    return page_of([_shown(tx, record, terms) for record in records], has_more)


def _shown(tx: Tx, record: CustomerRecord, terms: Terms) -> Customer:
    cap = customers.cap_of_record(record, terms.budgets)
    return Customer(
        id=record.id,
        created_at=record.created_ms // 1000,
        name=record.name,
        metadata=record.metadata,
        monthly_budget_usd=usd_or_null(cap.monthly_nano),
        budget_source=cap.source,
        rate_limits=CustomerRateLimits(
            requests_per_minute=record.requests_per_minute,
            tokens_per_minute=record.tokens_per_minute,
        ),
        current_period=_period(tx, record.id, cap, terms),
    )


def _period(tx: Tx, customer_id: str, cap: Cap, terms: Terms) -> CustomerPeriod:
    period = ledger_clock.today(tx, terms.budgets.timezone)[:7]
    starts_at, ends_at = period_bounds(period, terms.budgets.timezone)
    so_far = ledger.spent(tx, customer_id, period)
    remaining = None
    if cap.monthly_nano is not None:
        remaining = max(cap.monthly_nano - so_far.settled_nano - so_far.reserved_nano, 0)
    return CustomerPeriod(
        period=period,
        starts_at=starts_at,
        ends_at=ends_at,
        spent_usd=usd(so_far.settled_nano),
        reserved_usd=usd(so_far.reserved_nano),
        remaining_usd=usd_or_null(remaining),
        requests=so_far.requests,
        input_tokens=so_far.input_tokens,
        output_tokens=so_far.output_tokens,
    )
