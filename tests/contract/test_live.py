"""The live smoke, shown on strict fakes: it runs, it skips, it records, and it sees what is wrong."""

import json
from collections import deque
from pathlib import Path

import pytest
import yaml

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.contract.cases import CASES
from tests.contract.live import CHEAP_MODELS, main
from tests.vendors.far_end import FarEnd, far_end, key_of
from tests.vendors.speech import Say
from tests.vendors.thinks import thinks
from tests.vendors.wires import says


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "live.yaml"


def point_at(far: FarEnd, config: Path, names: list[str]) -> None:
    """A configuration of these providers, each at its own path of the far end."""
    providers = {n: {"api_key": key_of(n), "base_url": f"{far.url}/{n}"} for n in names}
    config.write_text(yaml.safe_dump({"providers": providers}))
    far.queues.update({name: deque([thinks(name)]) for name in names})


def test_every_case_passes_at_strict_fakes(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At all nineteen, within their calls, and what passed is written down with its day."""
    record = tmp_path / "verified.json"
    names = [*TYPICAL_MODELS]
    with far_end() as far:
        point_at(far, config, names)

        code = main(["-c", str(config), "--record", str(record), "--record-as", "fakes"], {})

        refused = [who for who, _, body in far.refused if "no-such-model" not in json.dumps(body)]

    told = capsys.readouterr().out
    assert code == 0, told
    assert not [who for who in refused if who not in ("google", "bedrock", "replicate")]
    written = json.loads(record.read_text())
    assert [*written] == names
    for name in names:
        [row] = written[name]
        assert (row["against"], row["model"]) == ("fakes", CHEAP_MODELS[name])
        assert f"{name} {CHEAP_MODELS[name]}: text: ok" in told
    assert told.count("ok (") >= 8 * len(names)


def test_who_has_no_key_is_skipped_in_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a fake is never called live: without another name for it nothing is recorded."""
    record = tmp_path / "verified.json"
    with far_end() as far:
        point_at(far, config, ["groq"])

        code = main(["-c", str(config), "--record", str(record), "--only", "groq,openai"], {})

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0] == "openai: skipped, it has no key here"
    assert lines[-1] == "not recorded, since base_url is not the vendor's: groq"
    assert not record.exists()
    assert len([line for line in lines if line.startswith("groq ")]) == len(CASES)


def test_a_model_that_breaks_the_contract_fails(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says which case, the exit code says so, and nothing is recorded for it."""
    record = tmp_path / "verified.json"
    with far_end() as far:
        point_at(far, config, ["groq"])
        far.queues["groq"] = deque([says("groq", Say("It is warm."))])

        code = main(["-c", str(config), "--record", str(record), "--record-as", "fakes"], {})

    told = capsys.readouterr().out
    assert code == 1
    assert "json_schema: FAILED: AssertionError 422" in told
    assert "tools: FAILED" in told
    assert "text: ok" in told
    assert not record.exists()


def test_nothing_is_tried_without_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to set, starts no server, and is no failure."""
    assert main([], {}) == 0
    assert "OPENAI_API_KEY" in capsys.readouterr().out
