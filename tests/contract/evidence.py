"""Writes what was shown into the file that the matrix is made of."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ringside_proxy.providers.verification import FILE, Against
from ringside_proxy.services.compatibility import TYPICAL_MODELS

VERIFIED: Final = Path(__file__).parent.parent.parent / "ringside_proxy" / "providers" / FILE
ORDER: Final = [against.value for against in Against]


def record(path: Path, providers: dict[str, str], against: str, on: str) -> None:
    """Notes, for each provider, the model that was tried; other evidence stays as it is."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for provider, model in providers.items():
        kept = [row for row in known.get(provider, ()) if row["against"] != against]
        row = {"on": on, "against": against, "model": model}
        known[provider] = sorted([*kept, row], key=_strength)
    _write(path, known)


def forget(path: Path, providers: Iterable[str], against: str) -> None:
    """Takes back what no longer holds."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for provider in providers:
        known[provider] = [r for r in known.get(provider, ()) if r["against"] != against]
    _write(path, known)


def _strength(row: dict[str, Any]) -> int:
    return ORDER.index(row["against"]) if row["against"] in ORDER else -1


def _write(path: Path, known: dict[str, Any]) -> None:
    in_order = {name: known[name] for name in TYPICAL_MODELS if known.get(name)}
    path.write_text(json.dumps(in_order, indent=2) + "\n")
