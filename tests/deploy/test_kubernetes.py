"""The manifests: rendered, held to Kubernetes' schemas, to "restricted", and to each other."""

import copy
import re
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

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "deploy/kubernetes"
README: Final = (ROOT / "deploy/README.md").read_text()
OVERLAYS: Final = ("emptydir", "pvc", "standalone")
VERSIONS: Final = ("1.29", "1.37")  # the first with native sidecars, and the newest
SECRETS_AT: Final = "/run/secrets/ringside"

MANIFESTS: Final = sorted(
    path for path in KUBERNETES.glob("**/*.yaml") if path.name != "kustomization.yaml"
)
WHOLE: Final = [path for path in MANIFESTS if path.parent.parent.name != "overlays"]
"""The manifests that are no patches."""

OPERATOR_KEYS: Final = {
    "PodMonitor": {"selector": dict, "podMetricsEndpoints": list},
    "ServiceMonitor": {"selector": dict, "endpoints": list},
    "PrometheusRule": {"groups": list},
}
"""The Prometheus operator's kinds, of which no schema is bundled: the keys we use."""

Tool = Callable[[str], Path]


def proxy(docs: list[Doc]) -> Doc:
    """The one Ringside container in `docs`."""
    found = [pods.proxy_of(spec) for _, spec in pods.pods(docs)]
    [one] = [container for container in found if container]
    return one


def kinds(docs: list[Doc]) -> list[str]:
    """What `docs` are, in order."""
    return sorted(doc["kind"] for doc in docs)


@pytest.fixture(scope="module")
def rendered(tool: Tool) -> dict[str, list[Doc]]:
    """Each overlay as kustomize renders it."""
    kustomize = tool("kustomize")
    return {
        name: pods.documents(
            subprocess.run(
                [kustomize, "build", KUBERNETES / "overlays" / name],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout
        )
        for name in OVERLAYS
    }


def test_the_page_applies_the_image_that_it_pushes(rendered: dict[str, list[Doc]]) -> None:
    """As typed; the manifests themselves name no registry."""
    [pushed] = re.findall(r"docker push (\S+)", README)
    [(old, new)] = re.findall(r"sed 's\|image: (\S+)\|image: (\S+)\|'", README)

    for docs in rendered.values():
        assert proxy(docs)["image"].replace(old, new) == pushed


def validated(tool: Tool, docs: list[Doc], version: str, folder: Path) -> str:
    """What the schemas of a Kubernetes version say against `docs`; nothing, if all is well."""
    path = folder / "manifests.yaml"
    native = [doc for doc in docs if doc["kind"] not in OPERATOR_KEYS]
    path.write_text(yaml.safe_dump_all(native))
    command = [tool("kubernetes-validate"), "--strict", "--quiet", "-k", version, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


# ----------------------------------------------------------------------------- as they are written


@pytest.mark.parametrize("path", WHOLE, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_manifest_keeps_the_rules(path: Path) -> None:
    """Every pod that is written down is "restricted", and more."""
    for name, spec in pods.pods(pods.read(path)):
        assert pods.broken(spec) == {}, name


def test_proxy_is_the_same_beside_an_application_and_alone() -> None:
    """As a sidecar it restarts always; alone it listens beyond loopback. Nothing else differs."""
    beside = proxy(pods.read(KUBERNETES / "base/sidecar/app.yaml"))
    alone = proxy(pods.read(KUBERNETES / "base/standalone/deployment.yaml"))

    assert beside.pop("restartPolicy") == "Always"
    assert alone.pop("env") == [{"name": "RINGSIDE_HOST", "value": "0.0.0.0"}]  # noqa: S104
    assert alone["ports"].pop(0) == {"name": "ringside-api", "containerPort": 8080}
    assert beside == alone


def test_sidecar_is_up_before_the_application_and_native() -> None:
    """It is an init container that goes on running: started first, stopped last."""
    [(_, spec)] = pods.pods(pods.read(KUBERNETES / "base/sidecar/app.yaml"))

    assert [c["name"] for c in spec["initContainers"]] == ["ringside"]
    assert "env" not in spec["initContainers"][0], "the API stays on loopback"


def test_images_are_of_this_version() -> None:
    """What is deployed is what these files belong to."""
    tags = {
        tag
        for path in (*MANIFESTS, ROOT / "deploy/compose/docker-compose.yaml")
        for tag in re.findall(r"image: ringside-proxy:(\S+)", path.read_text())
    }

    assert tags == {ringside_proxy.__version__}


def test_standalone_is_one_and_never_two() -> None:
    """One process owns the file: the next pod waits until the last one has gone."""
    [deployment] = pods.read(KUBERNETES / "base/standalone/deployment.yaml")

    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def config_file(docs: list[Doc]) -> str:
    """The ringside.yaml of the one ConfigMap that has one."""
    [text] = [
        doc["data"]["ringside.yaml"] for doc in docs if "ringside.yaml" in doc.get("data", {})
    ]
    return str(text)


def test_configuration_loads_with_the_secret_of_the_readme(tmp_path: Path) -> None:
    """The ConfigMap is a valid configuration, and the Secret has just the files that it names."""
    text = config_file(pods.read(KUBERNETES / "base/config/configmap.yaml"))
    named = re.findall(rf"file:{SECRETS_AT}/([\w-]+)", text)
    made = re.findall(r"--from-literal=([\w-]+)=", README.split("## On Kubernetes")[1])
    for name in named:
        (tmp_path / name).write_text("secret-of-a-test\n")
    (tmp_path / "ringside.yaml").write_text(text.replace(SECRETS_AT, str(tmp_path)))

    settings = load(tmp_path / "ringside.yaml", {"RINGSIDE_HOST": "0.0.0.0"})  # noqa: S104

    assert set(settings.providers) == {"openai"}
    assert set(named) <= set(made)
    assert "stringData" not in text


def test_network_policies_name_ports_that_exist() -> None:
    """A policy's ingress is about ports of the pods that it selects."""
    for folder, workload in (("sidecar", "app"), ("standalone", "deployment")):
        [policy] = pods.read(KUBERNETES / f"base/{folder}/networkpolicy.yaml")
        [made] = pods.read(KUBERNETES / f"base/{folder}/{workload}.yaml")
        labels = made["spec"]["template"]["metadata"]["labels"]
        ports = {port["name"] for port in proxy([made])["ports"]}

        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= ports


def test_network_policies_keep_private_addresses_out() -> None:
    """Neither the cluster's networks nor the metadata service are reached by accident."""
    private = {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"}
    for path in KUBERNETES.glob("base/*/networkpolicy.yaml"):
        [policy] = pods.read(path)
        blocks = [
            to["ipBlock"]
            for rule in policy["spec"]["egress"]
            for to in rule["to"]
            if "ipBlock" in to
        ]
        [(everywhere, denied)] = [(b["cidr"], b["except"]) for b in blocks if "." in b["cidr"]]
        assert everywhere == "0.0.0.0/0"
        assert set(denied) == private


def operator_faults(doc: Doc) -> list[str]:
    """What is wrong with an object of the Prometheus operator."""
    keys: dict[str, Any] = OPERATOR_KEYS[doc["kind"]]
    spec = doc["spec"]
    faults = [] if doc["apiVersion"] == "monitoring.coreos.com/v1" else ["apiVersion"]
    faults += [key for key in spec if not isinstance(spec[key], keys.get(key, ()))]
    faults += [key for key in keys if key not in spec]
    endpoints = spec.get("endpoints", []) + spec.get("podMetricsEndpoints", [])
    known = {"port", "path", "interval", "relabelings"}
    return faults + [key for endpoint in endpoints for key in endpoint if key not in known]


@pytest.mark.parametrize(
    "path", sorted(KUBERNETES.glob("components/*/*monitor.yaml")), ids=lambda p: p.stem
)
def test_monitors_scrape_the_admin_port_as_the_job_ringside(path: Path) -> None:
    """The alerts find the proxy by its job; the port is the one that serves /metrics."""
    [doc] = pods.read(path)
    spec = doc["spec"]
    [endpoint] = spec.get("endpoints") or spec["podMetricsEndpoints"]

    assert operator_faults(doc) == []
    assert (endpoint["port"], endpoint["path"]) == ("ringside-admin", "/metrics")
    assert {"targetLabel": "job", "replacement": "ringside"} in endpoint["relabelings"]


def test_monitors_check_catches() -> None:
    """A key of another kind, and a missing one, are named."""
    [doc] = pods.read(KUBERNETES / "components/podmonitor/podmonitor.yaml")
    doc["spec"]["endpoints"] = doc["spec"].pop("podMetricsEndpoints")

    assert operator_faults(doc) == ["endpoints", "podMetricsEndpoints"]


# ----------------------------------------------------------------------------- as they are rendered


@pytest.mark.parametrize("version", VERSIONS)
def test_overlays_are_valid(
    tool: Tool, rendered: dict[str, list[Doc]], version: str, tmp_path: Path
) -> None:
    """What kustomize renders is what Kubernetes knows, key for key."""
    docs = [doc for overlay in OVERLAYS for doc in rendered[overlay]]

    assert kinds(docs).count("Deployment") == len(OVERLAYS)
    assert validated(tool, docs, version, tmp_path) == ""


def test_validation_catches(tool: Tool, rendered: dict[str, list[Doc]], tmp_path: Path) -> None:
    """An unknown key and a wrong type are refused."""
    unknown, mistyped = (
        copy.deepcopy(next(doc for doc in rendered["standalone"] if doc["kind"] == "Deployment"))
        for _ in range(2)
    )
    unknown["spec"]["replica"] = 1
    mistyped["spec"]["replicas"] = "one"

    said = validated(tool, [unknown, mistyped], VERSIONS[-1], tmp_path)

    assert "'replica' was unexpected" in said
    assert "'one' is not of type" in said


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_keeps_the_rules(rendered: dict[str, list[Doc]], overlay: str) -> None:
    """No patch takes away what the base has."""
    found = list(pods.pods(rendered[overlay]))

    assert len(found) == 1
    assert [pods.broken(spec) for _, spec in found] == [{}]


def test_overlays_differ_in_where_state_lives(rendered: dict[str, list[Doc]]) -> None:
    """emptyDir with a limit; a claim that is there, for one pod alone."""
    sources = {}
    for overlay, docs in rendered.items():
        [(_, spec)] = pods.pods(docs)
        volumes = {volume.pop("name"): volume for volume in copy.deepcopy(spec["volumes"])}
        sources[overlay] = volumes["ringside-data"]
    claim = {"persistentVolumeClaim": {"claimName": "ringside-data"}}

    assert sources == {
        "emptydir": {"emptyDir": {"sizeLimit": "1Gi"}},
        "pvc": claim,
        "standalone": claim,
    }
    for overlay in ("pvc", "standalone"):
        docs = rendered[overlay]
        [made] = [doc for doc in docs if doc["kind"] == "PersistentVolumeClaim"]
        [deployment] = [doc for doc in docs if doc["kind"] == "Deployment"]
        assert made["metadata"]["name"] == "ringside-data"
        assert made["spec"]["accessModes"] == ["ReadWriteOncePod"]
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_overlays_hold_no_secret(rendered: dict[str, list[Doc]]) -> None:
    """Secrets are made by hand, or by what makes secrets; none is in the tree."""
    for docs in rendered.values():
        assert "Secret" not in kinds(docs)


@pytest.mark.parametrize("component", ["podmonitor", "servicemonitor"])
def test_component_fits_into_an_overlay(tool: Tool, component: str, tmp_path: Path) -> None:
    """Named under `components:`, it adds its one object."""
    (tmp_path / "kubernetes").symlink_to(KUBERNETES)  # kustomize takes no absolute paths
    overlay = {
        "resources": ["kubernetes/overlays/standalone"],
        "components": [f"kubernetes/components/{component}"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))

    done = subprocess.run(
        [tool("kustomize"), "build", "--load-restrictor", "LoadRestrictionsNone", tmp_path],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    added = {"podmonitor": "PodMonitor", "servicemonitor": "ServiceMonitor"}[component]
    assert added in kinds(pods.documents(done.stdout))
