"""`make verify`: runs the contract suite on the strict fakes and writes down which providers pass.

Where a vendor publishes types, the suite's requests were judged by them and its answers parsed in
them, which is noted as evidence of its own.
"""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.providers.verification import Against
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.contract.evidence import VERIFIED, forget, record

TESTS: Final = Path(__file__).parent.parent
SUITE: Final = (*sorted((TESTS / "e2e").glob("test_contract_*.py")), TESTS / "e2e/test_nineteen.py")
VENDORS: Final = TESTS / "vendors"
TYPED: Final = frozenset(
    {"openai", "anthropic", "google", "mistral", "cohere", "groq", "together", "fireworks"}
    | {"perplexity", "cerebras", "sambanova", "openrouter", "ollama", "azure", "bedrock"}
)
"""The vendors whose own types judge; the others are judged by OpenAI's, or by tables alone."""
CASES_MIN: Final = 40
"""A provider with fewer was not tried by the whole suite."""


class Ledger:
    """Counts, for each provider, the tests that passed and those that did not."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Told by pytest of every test, its set-up and its end."""
        provider = provider_of(report.nodeid)
        if provider is None:
            return
        if report.failed:
            self.failed[provider] += 1
        elif report.when == "call" and report.passed:
            self.passed[provider] += 1


def provider_of(nodeid: str) -> str | None:
    """Whom a test is about, by its parameters."""
    words = nodeid.partition("[")[2].rstrip("]").split("-")
    return next((word for word in words if word in TYPICAL_MODELS), None)


def write_down(ledger: Ledger, path: Path, on: str) -> list[str]:
    """Records who passed everything, takes back what no longer holds, and gives who failed."""
    good = [
        name
        for name in TYPICAL_MODELS
        if not ledger.failed[name] and ledger.passed[name] >= CASES_MIN
    ]
    bad = [name for name in TYPICAL_MODELS if name not in good]
    record(path, {name: TYPICAL_MODELS[name] for name in good}, Against.SAMPLE.value, on)
    typed = {name: TYPICAL_MODELS[name] for name in good if name in TYPED}
    record(path, typed, Against.TYPES.value, on)
    for against in (Against.SAMPLE, Against.TYPES):
        forget(path, bad, against.value)
    return bad


def main() -> int:
    """Runs the suite; 1 if a provider did not pass."""
    ledger = Ledger()
    pytest.main(["-q", "--no-header", *map(str, SUITE), str(VENDORS)], plugins=[ledger])
    bad = write_down(ledger, VERIFIED, datetime.now(UTC).date().isoformat())
    for name in TYPICAL_MODELS:
        says = "FAILED" if name in bad else "passed"
        print(f"{name}: {says}, {ledger.passed[name]} good, {ledger.failed[name]} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
