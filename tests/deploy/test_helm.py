"""The chart: linted, rendered in every mode, and held to the same rules as the manifests."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import ringside_proxy
from ringside_proxy.settings.load import load
from tests.deploy import pods
from tests.deploy.pods import Doc
from tests.deploy.test_kubernetes import (
    KUBERNETES,
    SECRETS_AT,
    VERSIONS,
    config_file,
    kinds,
    operator_faults,
    proxy,
    validated,
)

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy/helm/ringside-proxy"
KUBE_VERSION: Final = ["--kube-version", "1.31.0"]

EVERYTHING: Final[Doc] = {
    "image": {"repository": "registry.example/ringside", "pullSecrets": [{"name": "pull"}]},
    "config": {"auth": {"tokens": [{"name": "app", "token": "file:/run/secrets/ringside/t"}]}},
    "extraEnv": [{"name": "LANG", "value": "C.UTF-8"}],
    "persistence": {"accessMode": "ReadWriteOnce", "storageClass": "fast", "size": "20Gi"},
    "networkPolicy": {"extraEgress": [{"ports": [{"port": 8443}]}]},
    "monitoring": {
        **{"scrape": True, "rules": True, "dashboard": True},
        "labels": {"release": "prometheus"},
    },
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}

REFUSED: Final[list[tuple[str, Doc]]] = [
    ("mode", {"mode": "both"}),
    ("replicas", {"replicas": 2}),
    ("accessMode", {"persistence": {"accessMode": "ReadWriteMany"}}),
    ("size", {"persistence": {"size": "lots"}}),
    ("port", {"config": {"server": {"port": 9000}}}),
    ("url", {"config": {"store": {"url": "sqlite:////tmp/x.db"}}}),
    ("pullPolicy", {"image": {"pullPolicy": "Sometimes"}}),
    ("scrape", {"monitoring": {"scrape": "yes"}}),
]

PARENT_POD: Final = """\
apiVersion: v1
kind: Pod
metadata:
  name: app
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 60
  securityContext:
    {{- include "ringside-proxy.podSecurityContext" (index .Subcharts "ringside-proxy") | nindent 4 }}
  initContainers:
    {{- include "ringside-proxy.sidecar" (index .Subcharts "ringside-proxy") | nindent 4 }}
  containers:
    - name: app
      image: app:1
      resources: {requests: {cpu: 1m, memory: 1Mi}, limits: {memory: 1Mi}}
      securityContext:
        {{- include "ringside-proxy.securityContext" (index .Subcharts "ringside-proxy") | nindent 8 }}
  volumes:
    {{- include "ringside-proxy.volumes" (index .Subcharts "ringside-proxy") | nindent 4 }}
"""

Render = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def render(tool: Callable[[str], Path], tmp_path: Path) -> Render:
    """Runs `helm template` with values; `render(values, chart=…)`."""
    helm = tool("helm")

    def run(
        values: Doc | None = None, chart: Path = CHART, *more: str
    ) -> subprocess.CompletedProcess[str]:
        given = tmp_path / "values.yaml"
        given.write_text(yaml.safe_dump(values or {}))
        command = [helm, "template", "prod", chart, "--values", given, *KUBE_VERSION, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def objects(done: subprocess.CompletedProcess[str]) -> list[Doc]:
    """What was rendered."""
    assert done.returncode == 0, done.stderr
    return pods.documents(done.stdout)


def test_values_in_comments_can_be_taken(tmp_path: Path) -> None:
    """Without its # a provider stands where the proxy looks for it."""
    text = (CHART / "values.yaml").read_text().replace("#openai: ", "openai: ")
    named = yaml.safe_load(text)["config"] | {"auth": {"tokens": []}}
    named["providers"]["openai"]["api_key"] = "the-key"
    (tmp_path / "ringside.yaml").write_text(yaml.safe_dump(named))

    assert set(load(tmp_path / "ringside.yaml", {}).providers) == {"openai", "sandbox"}


def test_chart_is_of_this_version() -> None:
    """It installs the image that it belongs to."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == chart["version"] == ringside_proxy.__version__


def test_chart_passes_the_linter(tool: Callable[[str], Path]) -> None:
    """Not even a warning."""
    command = [tool("helm"), "lint", "--strict", CHART, *KUBE_VERSION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout
    assert "0 chart(s) failed" in done.stdout


def test_every_value_has_its_schema() -> None:
    """No value without a type; none in the schema that the chart does not have."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert set(schema) - {"global"} == set(values)
    for name, value in values.items():
        if schema[name].get("additionalProperties") is False:
            assert set(value) == set(schema[name]["properties"]), name


def test_defaults_render_what_a_proxy_alone_needs(render: Render) -> None:
    """A Deployment with a claim, behind a Service and a policy, and the test of it."""
    docs = objects(render())

    assert kinds(docs) == [
        *("ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "Service")
    ]
    assert [pods.broken(spec) for _, spec in pods.pods(docs)] == [{}, {}]


def test_container_is_that_of_the_manifests(render: Render) -> None:
    """Whoever moves from kustomize to Helm runs the same."""
    ours = proxy(objects(render()))
    theirs = proxy(pods.read(KUBERNETES / "base/standalone/deployment.yaml"))

    assert ours.pop("imagePullPolicy") == "IfNotPresent"
    assert ours == theirs


def test_everything_renders(render: Render) -> None:
    """With every value set, each lands in its place, and the rules still hold."""
    docs = objects(render(EVERYTHING))
    [deployment] = [doc for doc in docs if doc["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    by_kind = {doc["kind"]: doc for doc in docs if doc["kind"] != "ConfigMap"}

    assert pods.broken(spec) == {}
    assert proxy(docs)["image"] == f"registry.example/ringside:{ringside_proxy.__version__}"
    assert {"name": "LANG", "value": "C.UTF-8"} in proxy(docs)["env"]
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[key] == EVERYTHING[key]
    claim = by_kind["PersistentVolumeClaim"]["spec"]
    assert (claim["accessModes"], claim["storageClassName"]) == (["ReadWriteOnce"], "fast")
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert operator_faults(by_kind[kind]) == []
        assert by_kind[kind]["metadata"]["labels"]["release"] == "prometheus"


def test_rules_and_dashboard_are_the_files(render: Render) -> None:
    """The operator and Grafana get what stands in deploy/monitoring, unchanged."""
    docs = objects(render(EVERYTHING))
    [rule] = [doc for doc in docs if doc["kind"] == "PrometheusRule"]
    [shown] = [doc["data"] for doc in docs if "ringside.json" in doc.get("data", {})]
    monitoring = ROOT / "deploy/monitoring"

    assert rule["spec"] == yaml.safe_load((monitoring / "alerts.yaml").read_text())
    assert json.loads(shown["ringside.json"]) == json.loads(
        (monitoring / "dashboard.json").read_text()
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_rendered_chart_is_valid(
    render: Render, tool: Callable[[str], Path], version: str, tmp_path: Path
) -> None:
    """Kubernetes knows every key, with the defaults and with everything."""
    docs = objects(render()) + objects(render(EVERYTHING))

    assert validated(tool, docs, version, tmp_path) == ""


@pytest.mark.parametrize(("key", "values"), REFUSED, ids=[key for key, _ in REFUSED])
def test_schema_refuses(render: Render, key: str, values: Doc) -> None:
    """A wrong value is named before anything is installed."""
    done = render(values)

    assert done.returncode != 0
    assert key in done.stderr


def test_configuration_loads(render: Render, tmp_path: Path) -> None:
    """The default values make a valid ringside.yaml."""
    text = config_file(objects(render()))
    (tmp_path / "app-token").write_text("secret-of-a-test")
    (tmp_path / "ringside.yaml").write_text(text.replace(SECRETS_AT, str(tmp_path)))

    settings = load(tmp_path / "ringside.yaml", {"RINGSIDE_HOST": "0.0.0.0"})  # noqa: S104

    assert set(settings.providers) == {"sandbox"}


def test_an_edit_of_the_configuration_restarts_nothing(render: Render) -> None:
    """It is picked up live; the pod's template stays the same to the letter."""
    templates: list[Any] = []
    for level in ("info", "debug"):
        docs = objects(render({"config": {"log": {"level": level}}}))
        [deployment] = [doc for doc in docs if doc["kind"] == "Deployment"]
        templates.append(deployment["spec"]["template"])

    assert templates[0] == templates[1]


def test_sidecar_comes_into_the_pod_of_another_chart(
    render: Render, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    """A chart that depends on this one gets the container, the volumes and the configuration."""
    parent = tmp_path / "parent"
    (parent / "templates").mkdir(parents=True)
    (parent / "charts").mkdir()
    (parent / "charts/ringside-proxy").symlink_to(CHART)
    dependency = {"name": "ringside-proxy", "version": ringside_proxy.__version__, "repository": ""}
    (parent / "Chart.yaml").write_text(
        yaml.safe_dump(
            {"apiVersion": "v2", "name": "app", "version": "1.0.0", "dependencies": [dependency]}
        )
    )
    (parent / "templates/pod.yaml").write_text(PARENT_POD)

    values = {"ringside-proxy": {"mode": "sidecar", "monitoring": {"scrape": True}}}
    docs = objects(render(values, parent))

    assert kinds(docs) == ["ConfigMap", "PersistentVolumeClaim", "Pod", "PodMonitor"]
    [(_, spec)] = pods.pods(docs)
    assert pods.broken(spec) == {}
    beside = proxy(pods.read(KUBERNETES / "base/sidecar/app.yaml"))
    ours = proxy(docs)
    assert ours.pop("imagePullPolicy") == "IfNotPresent"
    assert ours == beside
    assert validated(tool, docs, VERSIONS[-1], tmp_path) == ""
    mounted = {volume["name"]: volume for volume in spec["volumes"]}
    names = {doc["kind"]: doc["metadata"]["name"] for doc in docs}
    assert mounted["ringside-config"]["configMap"]["name"] == names["ConfigMap"]
    claim = mounted["ringside-data"]["persistentVolumeClaim"]["claimName"]
    assert claim == names["PersistentVolumeClaim"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "http://prod-ringside.default:8080/v1"),
        ({"mode": "sidecar"}, 'include "ringside-proxy.sidecar"'),
        ({"persistence": {"enabled": False}}, "WARNING: persistence is off"),
        ({"secretName": "keys"}, "create secret generic keys"),
    ],
)
def test_notes_say_what_is_next(render: Render, values: Doc, said: str, tmp_path: Path) -> None:
    """What is printed after an installation fits what was installed."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    # Helm prints the notes only against a cluster; as the text of an object they need none.
    (chart / "templates/NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates/notes.yaml").write_text(
        'kind: Notes\ntext: |\n  {{- tpl (.Files.Get "NOTES.txt") . | nindent 2 }}\n'
    )

    [notes] = objects(render(values, chart, "--show-only", "templates/notes.yaml"))

    assert said in notes["text"]
