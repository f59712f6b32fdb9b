"""The compatibility matrix is complete, and the README shows it as it is."""

from pathlib import Path

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.services.compatibility import TYPICAL_MODELS, markdown, matrix
from ringside_proxy.settings.field_types import PROVIDERS as NAMES

README = Path(__file__).parent.parent.parent / "README.md"


def test_every_provider_is_served_and_in_the_matrix():
    """Nineteen and the sandbox: no name of the configuration is without an adapter."""
    assert set(PROVIDERS) == set(NAMES)
    assert {row.provider for row in matrix()} == set(NAMES) - {"sandbox"} == set(TYPICAL_MODELS)


def test_readme_holds_the_matrix_that_the_code_makes():
    """Run `python -m tests.contract.readme`."""
    assert markdown() in README.read_text()
