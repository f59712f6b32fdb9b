"""Alerts and dashboard: every metric and label exists, every alert is seen to fire and explained."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from ringside_proxy.telemetry.metrics import Metrics

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "deploy/monitoring"
README: Final = (ROOT / "deploy/README.md").read_text()
RULES: Final[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
CASES: Final[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())
DASHBOARD: Final[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())

NAME: Final = re.compile(r"\bringside_\w+")
SERIES: Final = re.compile(r"(ringside_\w+)\s*(?:\{([^}]*)\})?")
OPERAND: Final = re.compile(r"\bby \(([^)]*)\)")
SUFFIXES: Final = ("_bucket", "_sum", "_count")
SAMPLES: Final = {"counter": ("_total",), "gauge": ("",), "histogram": SUFFIXES, "info": ("_info",)}
SCRAPED: Final = {"instance", "job", "le"}
"""Labels that Prometheus and its histograms add."""


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def targets() -> list[tuple[str, str]]:
    """Every query of the dashboard: panel, expression."""
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def declared() -> dict[str, set[str]]:
    """Every metric of the proxy with its labels, by the names of its samples."""
    registry = Metrics("0")._registry
    found: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        [metric] = collector.collect()
        labels = set(getattr(collector, "_labelnames", getattr(collector, "_label_names", ())))
        if metric.type == "info":
            labels = {"version"}
        for suffix in SAMPLES[metric.type]:
            found[f"{metric.name}{suffix}"] = labels
    return found


def faults(expr: str) -> list[str]:
    """The metrics and labels of an expression that do not exist."""
    known = declared()
    wrong = []
    labels: set[str] = set()
    for name, selectors in SERIES.findall(expr):
        if name in known:
            labels |= known[name]
            given = set(re.findall(r"(\w+)\s*[!=]~?", selectors))
            wrong += [f"{name}: {label}" for label in given - known[name] - SCRAPED]
        else:
            wrong.append(name)
    grouped = {label.strip() for by in OPERAND.findall(expr) for label in by.split(",")}
    return wrong + [f"by {label}" for label in grouped - labels - SCRAPED]


@pytest.mark.parametrize("alert", alerts(), ids=lambda rule: rule["alert"])
def test_alert_asks_for_what_exists(alert: dict[str, Any]) -> None:
    """Each metric is declared by the proxy, with the labels that the rule uses."""
    assert faults(alert["expr"]) == []


@pytest.mark.parametrize(("panel", "expr"), targets())
def test_dashboard_asks_for_what_exists(panel: str, expr: str) -> None:
    """Each metric is declared by the proxy, with the labels that the panel uses."""
    del panel
    assert faults(expr) == []


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("ringside_request_total", ["ringside_request_total"]),
        ("ringside_requests_total_bucket", ["ringside_requests_total_bucket"]),
        ('ringside_requests_total{customer="x"}', ["ringside_requests_total: customer"]),
        ("sum by (model) (ringside_requests_total)", ["by model"]),
        ("sum by (route, le) (ringside_request_duration_seconds_bucket)", []),
        ("ringside_requests_total + ringside_run", ["ringside_run"]),
    ],
)
def test_names_check_catches(expr: str, wrong: list[str]) -> None:
    """A misspelt metric, a suffix that it does not have, and a label that it does not have."""
    assert faults(expr) == wrong


def test_every_metric_of_the_store_and_the_providers_is_shown() -> None:
    """The dashboard leaves nothing out that an operator would look for."""
    used = {name for _, expr in targets() for name in NAME.findall(expr)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in declared()}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    looked_for = {
        name
        for name in families
        if name.startswith(("ringside_store", "ringside_gen_ai", "ringside_upstream"))
    }

    assert looked_for - shown == set()


# ------------------------------------------------------------------------------------------ alerts


def test_alerts_say_how_urgent_they_are() -> None:
    """Two severities, one sentence, names that are unique."""
    names = [rule["alert"] for rule in alerts()]

    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert set(rule["annotations"]) == {"summary"}, rule["alert"]


def test_every_alert_is_explained() -> None:
    """The README has a section for each, with what it means and what to do; and no other."""
    section = README.split("## Alerts")[1].split("\n## ")[0]

    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == [r["alert"] for r in alerts()]
    for text in section.split("\n### ")[1:]:
        assert "\n**Do:** " in text, text.splitlines()[0]


def test_every_alert_is_seen_to_fire() -> None:
    """promtool's cases have each of them firing."""
    fired = {
        case["alertname"]
        for test in CASES["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert fired == {rule["alert"] for rule in alerts()}


def test_series_of_the_cases_exist() -> None:
    """The cases feed the rules with series that the proxy really has."""
    series = [s["series"] for test in CASES["tests"] for s in test["input_series"]]

    assert [fault for one in series for fault in faults(one)] == []


def promtool(tool: Callable[[str], Path], *args: str, cwd: Path = MONITORING) -> str:
    """What promtool says; raises if it is not content."""
    command = [tool("promtool"), *args]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_promtool_takes_the_rules(tool: Callable[[str], Path]) -> None:
    """Every expression and template parses."""
    assert promtool(tool, "check", "rules", "alerts.yaml") == ""


def test_alerts_fire_when_they_should(tool: Callable[[str], Path]) -> None:
    """Each fires on its series, after its time, and not beside them."""
    assert promtool(tool, "test", "rules", "alerts.test.yaml") == ""


def test_alert_tests_can_fail(tool: Callable[[str], Path], tmp_path: Path) -> None:
    """With another threshold the same cases are red."""
    changed = (MONITORING / "alerts.yaml").read_text().replace("> 1000", "> 5000")
    (tmp_path / "alerts.yaml").write_text(changed)
    (tmp_path / "alerts.test.yaml").write_text((MONITORING / "alerts.test.yaml").read_text())

    said = promtool(tool, "test", "rules", "alerts.test.yaml", cwd=tmp_path)

    assert "RingsideStoreQueue" in said


# --------------------------------------------------------------------------------------- dashboard


def test_dashboard_is_for_any_prometheus() -> None:
    """No data source of ours is in it: Grafana asks which one."""
    variables = {v["name"]: v["type"] for v in DASHBOARD["templating"]["list"]}
    sources = {
        target["datasource"]["uid"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    }

    assert variables == {"datasource": "datasource", "instance": "query"}
    assert sources == {"${datasource}"}
    assert "id" not in DASHBOARD


def test_dashboard_panels_are_whole() -> None:
    """Each has its own id and place, says what it shows, and in which unit."""
    panels = DASHBOARD["panels"]
    cells = {
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    }

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(cells) == sum(p["gridPos"]["w"] * p["gridPos"]["h"] for p in panels)
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_dashboard_queries_parse(tool: Callable[[str], Path], tmp_path: Path) -> None:
    """What Grafana would send, with its variables filled in, is PromQL."""
    rules = [
        {
            "record": f"panel:{number}",
            "expr": re.sub(r"\$__(rate_interval|range)", "5m", expr).replace("$instance", ".*"),
        }
        for number, (_, expr) in enumerate(targets())
    ]
    (tmp_path / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]})
    )

    assert promtool(tool, "check", "rules", "rules.yaml", cwd=tmp_path) == ""
