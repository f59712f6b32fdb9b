"""Reads the prices of genai-prices out of its `data.py`, without running it.

The file is one literal: constructors with keyword arguments. It is read as syntax, so that
freezing the table needs neither the library nor what the library needs.
"""

import ast
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any, Final

RATE_KEYS: Final = {
    "input": ("input_mtok",),
    "cached_input": ("cache_read_mtok",),
    "cache_write": ("cache_write_mtok", "cache_write_5m_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "output": ("output_mtok",),
}
NOT_TEXT: Final = (
    "audio_hours",
    "input_audio_hours",
    "input_document_kpages",
    "input_mchars",
    "input_text_messages_kcount",
    "output_audio_mtok",
    "output_citation_mtok",
    "output_image_mtok",
    "output_reasoning_mtok",
    "output_video_mtok",
)
"""What the proxy does not count: a model that is priced by it has no price here."""
SERVICE_TIERS: Final = ("flex", "priority", "fast")
CLAUSES: Final = {
    "ClauseStartsWith": "starts_with",
    "ClauseEndsWith": "ends_with",
    "ClauseContains": "contains",
    "ClauseRegex": "regex",
}


class Made:
    """A constructor call of the file: what it makes, and of what."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.kind = kind
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        return self._fields.get(name)

    def items(self) -> Iterator[tuple[str, Any]]:
        """The fields that are given."""
        return ((name, value) for name, value in self._fields.items() if value is not None)


def read(source: str) -> dict[str, Made]:
    """The providers of a `data.py`, by id."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "providers":
            return {provider.id: provider for provider in _value(statement.value)}
    raise ValueError("genai-prices has no providers where they used to be")


def _value(node: ast.expr | None) -> Any:
    match node:
        case ast.Call():
            kind = ast.unparse(node.func).rpartition(".")[2]
            given = [_value(argument) for argument in node.args]
            fields = {keyword.arg or "": _value(keyword.value) for keyword in node.keywords}
            plain = {"Decimal": Decimal, "date": date, "time": lambda *hms: time(*hms)}
            return plain[kind](*given) if kind in plain else Made(kind, fields)
        case ast.List():
            return [_value(element) for element in node.elts]
        case ast.Dict():
            return {
                _value(key): _value(value)
                for key, value in zip(node.keys, node.values, strict=True)
            }
        case ast.Attribute():
            return ast.unparse(node)
        case _:
            return ast.literal_eval(node)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- names


def exact_names(model: Made) -> list[str]:
    """The names that a model has word for word, in lower case."""
    return [clause.equals.lower() for clause in _any_of(model.match) if _is_exact(clause)]


def clauses(model: Made) -> list[dict[str, str]]:
    """The other ways in which a name can be the model's: all parts of one of them hold."""
    found = []
    for clause in _any_of(model.match):
        if _is_exact(clause):
            continue
        parts = clause.and_ if clause.kind == "ClauseAnd" else [clause]
        kinds = [CLAUSES[part.kind] for part in parts]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"{model.id} is matched by two clauses of one kind")
        made = {}
        for kind, part in zip(kinds, parts, strict=True):
            text = getattr(part, kind)
            made[kind] = text if kind == "regex" else text.lower()
        found.append(made)
    return found


def _any_of(clause: Made) -> list[Made]:
    if clause.kind != "ClauseOr":
        return [clause]
    return [inner for each in clause.or_ for inner in _any_of(each)]


def _is_exact(clause: Made) -> bool:
    return clause.kind == "ClauseEquals"


# ------------------------------------------------------------------------------------------ prices


def is_text(model: Made) -> bool:
    """Whether all that the model's prices count is text in and out."""
    return not any(name in NOT_TEXT for _, prices in _dated(model) for name, _ in prices.items())


def prices(model: Made, day: date) -> list[dict[str, Any]]:
    """What the model costs from `day` on, the latest last; a later one that holds wins.

    Each change that is announced for a day to come is a block of its own: the usual price, and
    those of certain hours where they differ.
    """
    starts = {
        constraint.start_date
        for constraint in _constraints(model)
        if constraint.kind == "StartDateConstraint" and constraint.start_date > day
    }
    windows = [each for each in _constraints(model) if each.kind == "TimeOfDateConstraint"]
    found: list[dict[str, Any]] = []
    previous: list[dict[str, Any]] = []
    for epoch in sorted({day, *starts}):
        usual = _listed(model, epoch, None)
        block = [usual]
        for window in windows:
            at_hours = _listed(model, epoch, window)
            if at_hours != usual:
                hours = [f"{bound:%H:%M}" for bound in (window.start_time, window.end_time)]
                block.append(at_hours | {"hours": hours})
        if block != previous:
            since = {} if epoch == day else {"since": epoch.isoformat()}
            found += [price | since for price in block]
        previous = block
    return [] if found == [{}] else found


def _dated(model: Made) -> list[tuple[Made | None, Made]]:
    if isinstance(model.prices, list):
        return [(each.constraint, each.prices) for each in model.prices]
    return [(None, model.prices)]


def _constraints(model: Made) -> list[Made]:
    constraints = [constraint for constraint, _ in _dated(model)]
    constraints += [variant.constraint for variant in model.price_variants or ()]
    return [constraint for constraint in constraints if constraint is not None]


def _listed(model: Made, epoch: date, window: Made | None) -> dict[str, Any]:
    """The price on a day, within a window of it or outside of all of them."""

    def holds(constraint: Made | None) -> bool:
        if constraint is None or constraint is window:
            return True
        return constraint.kind == "StartDateConstraint" and constraint.start_date <= epoch

    dated = _dated(model)
    holding = [prices for constraint, prices in dated if holds(constraint)]
    standard = dict((holding or [dated[0][1]])[-1].items())
    made = _tiered(standard)
    services = {}
    for name in SERVICE_TIERS:
        overrides: dict[str, Any] = {}
        for variant in model.price_variants or ():
            if variant.when == {"service_tier": name} and holds(variant.constraint):
                overrides = dict(variant.prices.items()) | overrides
        service = _tiered(standard | overrides)
        if overrides and service != made:
            services[name] = service
    fee = standard.get("requests_kcount")
    return (
        made
        | ({"service_tiers": services} if services else {})
        | ({"per_request": fee / 1000} if fee else {})
    )


def _tiered(prices: dict[str, Any]) -> dict[str, Any]:
    """Rates by our names, and those of longer requests."""
    starts = sorted(
        {
            tier.start
            for keys in RATE_KEYS.values()
            for key in keys
            if isinstance(prices.get(key), Made)
            for tier in prices[key].tiers
        }
    )
    tiers = [{"above": start} | _rates(prices, start) for start in starts]
    return _rates(prices, -1) | ({"tiers": tiers} if tiers else {})


def _rates(prices: dict[str, Any], start: int) -> dict[str, Any]:
    found = {}
    for name, keys in RATE_KEYS.items():
        given = next((prices[key] for key in keys if prices.get(key) is not None), None)
        if given is not None:
            found[name] = _rate(given, start)
    return found


def _rate(given: Any, start: int) -> Decimal:
    if not isinstance(given, Made):
        return Decimal(given)
    reached = [tier.price for tier in given.tiers if tier.start <= start]
    return Decimal(reached[-1] if reached else given.base)
