"""Reads release dates and facts out of models.dev's table; its prices are not used."""

import re
from datetime import UTC, datetime
from typing import Any, Final

DATE: Final = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


def facts(model: dict[str, Any]) -> dict[str, Any]:
    """What the table says about a model, by our names."""
    limits, modalities = model.get("limit", {}), model.get("modalities", {})
    flags = {
        "tools": model.get("tool_call"),
        "json_schema": model.get("structured_output"),
        "reasoning": model.get("reasoning"),
        "vision": "image" in modalities.get("input", ()),
        "prompt_caching": "cache_read" in model.get("cost", {}),
    }
    known = {
        "created": released(model.get("release_date") or ""),
        "context_window": limits.get("context"),
        "max_output_tokens": limits.get("output"),
    }
    return {name: value for name, value in known.items() if value} | {
        "supports": [*(name for name, holds in flags.items() if holds), "streaming"]
    }


def is_text(model: dict[str, Any]) -> bool:
    """Whether the model answers in text, and in nothing else."""
    return model.get("modalities", {}).get("output") == ["text"]


def released(day: str) -> int | None:
    """A day, or the first of a month, as Unix seconds."""
    found = DATE.fullmatch(day)
    if found is None:
        return None
    year, month, of_month = (int(part or 1) for part in found.groups())
    return int(datetime(year, month, of_month, tzinfo=UTC).timestamp())
