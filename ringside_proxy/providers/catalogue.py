"""The bundled table of models: what each is called, can do, takes and costs.

One file for each provider in `models/`, written by `make catalogue` and read at the first question.
A row has its `id`, other `names`, and clauses that `match` further ones (dated snapshots, fine-tuned
models); exact names win, then the first row that matches. Rows that are not `listed` only say what
a name that somebody uses stands for: retired models, fine-tuned ones, local ones that may not be
there. `models/NOTICES.md` says where the facts come from.
"""

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from ringside_proxy.domain.model_facts import Capability
from ringside_proxy.domain.money import NANO_PER_USD
from ringside_proxy.domain.price_lists import (
    DatedPrices,
    Hours,
    ListedRates,
    ListedTier,
    PriceList,
)

NAMES_KEPT_MAX: Final = 4096
"""Answers at hand; callers choose names, so there is no end of them."""
COMPACT_DATE: Final = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")
SNAPSHOT: Final = re.compile(r"-20\d\d-\d\d-\d\d$")
FALLBACKS: Final = {"azure": "openai"}
"""Whose models a provider serves too, at the same prices."""
LONG_NAMES: Final = {"fireworks": "accounts/fireworks/models/"}
"""What may stand before every model's name."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as its provider names it.

    `created` is its release in Unix seconds, 0 if unknown. `prices` are what it costs, the latest
    that holds last; empty if nobody knows. `is_listed`: it is offered, not only recognised.
    """

    id: str
    created: int
    context_window: int | None
    max_output_tokens: int | None
    supports: tuple[Capability, ...]
    prices: tuple[DatedPrices, ...] = ()
    is_listed: bool = True


@cache
def models(provider: str) -> tuple[Model, ...]:
    """The provider's models that are offered, newest first; empty if the table has none."""
    listed = [row for row in _table(provider).rows if row.listed]
    return tuple(_model(row) for row in sorted(listed, key=lambda row: -row.created))


@lru_cache(maxsize=NAMES_KEPT_MAX)
def find(provider: str, name: str) -> Model | None:
    """The model of a name, in capitals or not; of a dated snapshot, the model itself."""
    name = name.lower().removeprefix(LONG_NAMES.get(provider, ""))
    table = _table(provider)
    row = (
        table.named(name)
        or table.named(COMPACT_DATE.sub(r"-\1-\2-\3", name))
        or table.exact.get(SNAPSHOT.sub("", name))
    )
    if row is None:
        return find(FALLBACKS[provider], name) if provider in FALLBACKS else None
    return _model(row)


def source(provider: str) -> str:
    """What a usage row says about a price of the table: its day."""
    return f"catalogue:{_table(provider).day}"


# ----------------------------------------------------------------------------------------- the files


class _Rates(msgspec.Struct, kw_only=True):
    """USD per million tokens."""

    input: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    output: Decimal | None = None


class _Tier(_Rates, kw_only=True):
    above: int


class _Tiered(_Rates, kw_only=True):
    tiers: tuple[_Tier, ...] = ()


class _Price(_Tiered, kw_only=True):
    """`since` a day, and only at some `hours` (UTC) of some `weekdays` (Monday is 0)."""

    per_request: Decimal = Decimal(0)
    since: date | None = None
    hours: tuple[str, str] | None = None
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    service_tiers: dict[str, _Tiered] = {}


class _Clause(msgspec.Struct):
    """What a name in lower case has to look like: all that is given."""

    starts_with: str = ""
    ends_with: str = ""
    contains: str = ""
    regex: str | None = None

    def matches(self, name: str) -> bool:
        return (
            name.startswith(self.starts_with)
            and name.endswith(self.ends_with)
            and self.contains in name
            and (self.regex is None or re.search(self.regex, name) is not None)
        )


class _Row(msgspec.Struct, kw_only=True):
    id: str
    names: tuple[str, ...] = ()
    match: tuple[_Clause, ...] = ()
    created: int = 0
    context_window: int | None = None
    max_output_tokens: int | None = None
    supports: tuple[Capability, ...]
    prices: tuple[_Price, ...] = ()
    listed: bool = True


class _File(msgspec.Struct):
    date: str
    models: list[_Row]


class _Table(msgspec.Struct, frozen=True):
    """A provider's rows, and how names find them: exactly, or by the first clause that holds."""

    day: str
    rows: list[_Row]
    exact: dict[str, _Row]
    clauses: list[tuple[_Clause, _Row]]

    def named(self, name: str) -> _Row | None:
        """The row of a name in lower case."""
        if (found := self.exact.get(name)) is not None:
            return found
        return next((row for clause, row in self.clauses if clause.matches(name)), None)


@cache
def _table(provider: str) -> _Table:
    """Read once, at the first question."""
    path = files(__package__).joinpath("models", f"{provider}.json")
    if not provider.isalpha() or not path.is_file():
        return _Table("", [], {}, [])
    bundled = msgspec.json.decode(path.read_bytes(), type=_File)
    rows = bundled.models
    return _Table(
        bundled.date,
        rows,
        {name: row for row in rows for name in (row.id.lower(), *row.names)},
        [(clause, row) for row in rows for clause in row.match],
    )


def _model(row: _Row) -> Model:
    is_embedding = "embeddings" in row.supports
    return Model(
        id=row.id,
        created=row.created,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        supports=row.supports,
        prices=tuple(_dated(price, is_embedding=is_embedding) for price in row.prices),
        is_listed=row.listed,
    )


def _dated(price: _Price, *, is_embedding: bool) -> DatedPrices:
    return DatedPrices(
        prices=PriceList(
            tiers=_tiers(price, is_embedding=is_embedding),
            service_tiers={
                name: _tiers(given, is_embedding=is_embedding)
                for name, given in price.service_tiers.items()
            },
            per_request_nano_usd=_nano_usd(price.per_request),
        ),
        since_ms=_first_ms(price.since) if price.since else 0,
        hours=price.hours
        and Hours(
            from_minute=_minute(price.hours[0]),
            until_minute=_minute(price.hours[1]),
            weekdays=price.weekdays,
        ),
    )


def _tiers(price: _Tiered, *, is_embedding: bool) -> tuple[ListedTier, ...]:
    """The rates by length; an embedding has no output that could cost anything."""

    def rates(given: _Rates) -> ListedRates:
        usd = {name: getattr(given, name) for name in ListedRates.__struct_fields__}
        nano = {name: None if rate is None else _nano_usd(rate) for name, rate in usd.items()}
        return ListedRates(**(nano | {"output": 0} if is_embedding else nano))

    longer = (ListedTier(tier.above, rates(tier)) for tier in price.tiers)
    return (ListedTier(0, rates(price)), *longer)


def _nano_usd(usd: Decimal) -> int:
    return int(usd * NANO_PER_USD)


def _first_ms(day: date) -> int:
    """When a day begins in UTC, in Unix milliseconds."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
