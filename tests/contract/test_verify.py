"""The evidence in the matrix is what the suite found: nobody types it."""

import json
import re
from pathlib import Path

from ringside_proxy.providers.verification import Against, evidence
from ringside_proxy.services.compatibility import TYPICAL_MODELS, matrix
from tests.contract.evidence import record
from tests.contract.verify import CASES_MIN, TYPED, Ledger, provider_of, write_down

DAY = re.compile(r"20\d\d-[01]\d-[0-3]\d")


def test_the_file_is_about_the_providers_and_models_that_there_are() -> None:
    """Run `make verify` after a change of the typical models or of who is served."""
    assert [*evidence()] == [*TYPICAL_MODELS]
    for name, rows in evidence().items():
        kinds = [row.against for row in rows if row.against is not Against.LIVE]
        assert kinds == [Against.SAMPLE, Against.TYPES][: 1 + (name in TYPED)], name
        assert all(row.model == TYPICAL_MODELS[name] for row in rows if row.against in kinds), name
        assert all(DAY.fullmatch(row.on) for row in rows)


def test_the_matrix_shows_the_strongest_evidence() -> None:
    """And all of it in `verified`, the weakest first."""
    for row in matrix():
        assert row.verified == evidence()[row.provider]
        assert (row.verified_on, row.verified_against) == (
            row.verified[-1].on,
            row.verified[-1].against,
        )


def test_live_evidence_outlasts_the_suite(tmp_path: Path) -> None:
    """Each kind is renewed by itself; who fails loses what the suite gave, and keeps the rest."""
    path, ledger = tmp_path / "verified.json", Ledger()
    record(path, {"groq": "m"}, Against.LIVE.value, "2026-12-01")
    ledger.passed.update({"groq": CASES_MIN, "xai": CASES_MIN, "openai": CASES_MIN - 1})

    assert "groq" not in write_down(ledger, path, "2026-12-02")
    first = json.loads(path.read_text())
    ledger.failed["groq"] = 1
    assert "groq" in write_down(ledger, path, "2026-12-03")

    kinds = {name: [row["against"] for row in rows] for name, rows in first.items()}
    assert kinds == {
        "groq": [Against.SAMPLE, Against.TYPES, Against.LIVE],
        "xai": [Against.SAMPLE],
    }
    [left] = json.loads(path.read_text())["groq"]
    assert left == {"on": "2026-12-01", "against": "live", "model": "m"}


def test_a_test_is_about_the_provider_in_its_parameters() -> None:
    """Wherever it stands among them."""
    assert provider_of("t.py::test_x[openai-plain]") == "openai"
    assert provider_of("t.py::test_x[required-groq]") == "groq"
    assert provider_of("t.py::test_x") is None
