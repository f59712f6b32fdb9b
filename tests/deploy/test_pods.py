"""Each rule of `pods.py` refuses what it is for, and nothing else does."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.deploy import pods
from tests.deploy.pods import Doc

BASE: Final = Path(__file__).parents[2] / "deploy/kubernetes/base"
Change = Callable[[Doc], None]


def sidecar_pod() -> Doc:
    """The example's pod, which keeps every rule."""
    [(_, spec)] = pods.pods(pods.read(BASE / "sidecar/app.yaml"))
    return copy.deepcopy(spec)


def in_pod(**values: object) -> Change:
    """A change of the pod's spec."""
    return lambda spec: spec.update(values)


def in_proxy(**values: object) -> Change:
    """A change of the proxy's container."""
    return lambda spec: spec["initContainers"][0].update(values)


def in_context(**values: object) -> Change:
    """A change of the security context of the proxy's container."""
    return lambda spec: spec["initContainers"][0]["securityContext"].update(values)


def in_pod_context(**values: object) -> Change:
    """A change of the pod's security context."""
    return lambda spec: spec["securityContext"].update(values)


def without(*keys: str) -> Change:
    """The last of `keys` is gone; the ones before lead to it."""

    def change(spec: Doc) -> None:
        place = spec
        for key in keys[:-1]:
            place = place[key][0] if isinstance(place[key], list) else place[key]
        del place[keys[-1]]

    return change


def with_volume(**source: object) -> Change:
    """One more volume."""
    return lambda spec: spec["volumes"].append({"name": "more", **source})


def with_mount(**mount: object) -> Change:
    """One more mount in the proxy's container."""
    return lambda spec: spec["initContainers"][0]["volumeMounts"].append(mount)


REFUSED: Final[list[tuple[str, Change]]] = [
    ("host_namespaces", in_pod(hostNetwork=True)),
    ("host_namespaces", in_pod(hostPID=True)),
    ("host_namespaces", in_pod(hostIPC=True)),
    ("privileged", in_context(privileged=True)),
    ("privilege_escalation", in_context(allowPrivilegeEscalation=True)),
    (
        "privilege_escalation",
        without("containers", "securityContext", "allowPrivilegeEscalation"),
    ),
    ("capabilities", in_context(capabilities={"drop": ["NET_RAW"]})),
    ("capabilities", in_context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
    ("capabilities", without("containers", "securityContext", "capabilities")),
    ("root", in_context(runAsUser=0)),
    ("root", in_context(runAsNonRoot=False)),
    ("root", without("securityContext", "runAsNonRoot")),
    ("seccomp", in_context(seccompProfile={"type": "Unconfined"})),
    ("seccomp", without("securityContext", "seccompProfile")),
    ("volume_types", with_volume(hostPath={"path": "/"})),
    ("volume_types", with_volume(nfs={"server": "s", "path": "/"})),
    ("host_ports", in_proxy(ports=[{"name": "ringside-admin", "hostPort": 9090}])),
    ("kernel", in_context(procMount="Unmasked")),
    ("kernel", in_context(seLinuxOptions={"type": "spc_t"})),
    ("kernel", in_context(seLinuxOptions={"user": "system_u"})),
    ("kernel", in_context(appArmorProfile={"type": "Unconfined"})),
    ("kernel", in_pod_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}])),
    ("read_only_root", in_context(readOnlyRootFilesystem=False)),
    ("read_only_root", without("containers", "securityContext", "readOnlyRootFilesystem")),
    ("service_account_token", without("automountServiceAccountToken")),
    ("resources", without("initContainers", "resources", "limits", "memory")),
    ("resources", without("containers", "resources", "requests", "cpu")),
    ("mounts", with_mount(name="nowhere", mountPath="/x")),
    ("mounts", with_mount(name="ringside-config", mountPath="/x", subPath="ringside.yaml")),
    ("image_tags", in_proxy(image="ringside-proxy")),
    ("image_tags", in_proxy(image="ringside-proxy:latest")),
    ("image_tags", in_proxy(image="registry.example:5000/ringside-proxy")),
    ("grace", in_pod(terminationGracePeriodSeconds=30)),
    ("identity", in_pod_context(runAsUser=1000)),
    ("identity", without("securityContext", "fsGroup")),
    ("probes", without("initContainers", "startupProbe")),
    ("probes", in_proxy(livenessProbe={"httpGet": {"path": "/readyz", "port": "ringside-admin"}})),
    (
        "probes",
        in_proxy(
            livenessProbe={
                "httpGet": {"path": "/healthz", "port": "ringside-admin"},
                "periodSeconds": 10,
                "failureThreshold": 3,
            }
        ),
    ),
]


@pytest.mark.parametrize(("rule", "change"), REFUSED)
def test_rule_refuses_what_it_is_for(rule: str, change: Change) -> None:
    """One wrong thing in a sound pod breaks one rule."""
    spec = sidecar_pod()

    change(spec)

    assert set(pods.broken(spec)) == {rule}


def test_every_rule_has_been_seen_to_refuse() -> None:
    """A rule that nothing breaks would be no rule."""
    assert {rule for rule, _ in REFUSED} == {rule.__name__ for rule in pods.RULES}


def test_sound_pod_breaks_no_rule() -> None:
    """The example itself passes, and so does a pod without the proxy that keeps the standard."""
    spec = sidecar_pod()
    alone = sidecar_pod()
    del alone["initContainers"]

    assert pods.broken(spec) == {}
    assert pods.broken(alone) == {}
