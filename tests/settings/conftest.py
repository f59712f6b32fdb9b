from collections.abc import Callable
from pathlib import Path

import pytest

from ringside_proxy.settings.load import load
from ringside_proxy.settings.schema import Settings

LoadText = Callable[..., Settings]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Loads YAML text as a file, with the given environment."""

    def load_written(text: str, **env: str) -> Settings:
        path = tmp_path / "ringside.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, env)

    return load_written
