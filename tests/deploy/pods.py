"""What a pod has to be: Pod Security's "restricted", and what the proxy asks for beyond it.

A rule takes a pod's `spec` and names what breaks it. The rules are tables: each is shown to refuse
the one thing it is for (`test_pods.py`).

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, read 2026-11-21.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

Doc = dict[str, Any]
Rule = Callable[[Doc], Iterator[str]]

USER: Final = 10001
GRACE_S: Final = 60
VOLUMES: Final = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
HOST_NAMESPACES: Final = ("hostNetwork", "hostPID", "hostIPC")
SELINUX_TYPES: Final = {"container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SAFE_SYSCTLS: Final = {"net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"}
PROXY: Final = "ringside"


def documents(text: str) -> list[Doc]:
    """The objects of a YAML stream."""
    return [doc for doc in yaml.safe_load_all(text) if doc]


def read(path: Path) -> list[Doc]:
    """The objects of a file."""
    return documents(path.read_text())


def pods(docs: list[Doc]) -> Iterator[tuple[str, Doc]]:
    """Every pod in `docs`: what makes it, and its spec."""
    for doc in docs:
        name = f"{doc['kind']}/{doc['metadata']['name']}"
        if doc["kind"] == "Pod":
            yield name, doc["spec"]
        elif "template" in doc.get("spec", {}):
            yield name, doc["spec"]["template"]["spec"]


def containers(spec: Doc) -> list[Doc]:
    """Every container of a pod, of whatever kind."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind, [])]


def proxy_of(spec: Doc) -> Doc | None:
    """The pod's Ringside container, if it has one."""
    return next((c for c in containers(spec) if c["name"] == PROXY), None)


def _contexts(spec: Doc) -> Iterator[tuple[str, Doc]]:
    """Each container's security context over the pod's, as the kubelet reads them."""
    for container in containers(spec):
        yield (
            container["name"],
            spec.get("securityContext", {}) | container.get("securityContext", {}),
        )


# ------------------------------------------------------------------------- "baseline", "restricted"


def host_namespaces(spec: Doc) -> Iterator[str]:
    """The node's network, processes and IPC stay the node's."""
    yield from (name for name in HOST_NAMESPACES if spec.get(name))


def privileged(spec: Doc) -> Iterator[str]:
    """Nothing is privileged."""
    yield from (name for name, context in _contexts(spec) if context.get("privileged"))


def privilege_escalation(spec: Doc) -> Iterator[str]:
    """Nothing can become more than it is."""
    for name, context in _contexts(spec):
        if context.get("allowPrivilegeEscalation") is not False:
            yield name


def capabilities(spec: Doc) -> Iterator[str]:
    """All are dropped; one, for low ports, may come back."""
    for name, context in _contexts(spec):
        given = context.get("capabilities", {})
        if "ALL" not in given.get("drop", []) or set(given.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield name


def root(spec: Doc) -> Iterator[str]:
    """Nothing runs as root, nor would it if the image said so."""
    for name, context in _contexts(spec):
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            yield name


def seccomp(spec: Doc) -> Iterator[str]:
    """The runtime's filter of system calls, or one of the node's."""
    for name, context in _contexts(spec):
        kind = context.get("seccompProfile", {}).get("type")
        if kind not in ("RuntimeDefault", "Localhost"):
            yield name


def volume_types(spec: Doc) -> Iterator[str]:
    """No volume reaches into the node."""
    for volume in spec.get("volumes", []):
        if set(volume) - {"name"} - VOLUMES:
            yield volume["name"]


def host_ports(spec: Doc) -> Iterator[str]:
    """No port of the node is taken."""
    for container in containers(spec):
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield container["name"]


def kernel(spec: Doc) -> Iterator[str]:
    """/proc masks, SELinux, AppArmor and sysctls stay what the node made them."""
    for name, context in _contexts(spec):
        selinux = context.get("seLinuxOptions", {})
        if (
            context.get("procMount", "Default") != "Default"
            or selinux.keys() & {"user", "role"}
            or selinux.get("type", "container_t") not in SELINUX_TYPES
            or context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined"
            or {s["name"] for s in context.get("sysctls", [])} - SAFE_SYSCTLS
        ):
            yield name


# ------------------------------------------------------------------------------- what we ask beyond


def read_only_root(spec: Doc) -> Iterator[str]:
    """Nothing is written outside of the volumes."""
    for name, context in _contexts(spec):
        if context.get("readOnlyRootFilesystem") is not True:
            yield name


def service_account_token(spec: Doc) -> Iterator[str]:
    """No pod can talk to the API server: none has to."""
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken"


def resources(spec: Doc) -> Iterator[str]:
    """The scheduler knows what each container needs, and memory has an end."""
    for container in containers(spec):
        given = container.get("resources", {})
        if {"cpu", "memory"} - given.get("requests", {}).keys() or "memory" not in given.get(
            "limits", {}
        ):
            yield container["name"]


def mounts(spec: Doc) -> Iterator[str]:
    """Each mount has its volume, and is the whole of it: with subPath, edits never arrive."""
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in containers(spec):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes or mount.keys() & {"subPath", "subPathExpr"}:
                yield f"{container['name']}: {mount['name']}"


def image_tags(spec: Doc) -> Iterator[str]:
    """An image has a version."""
    for container in containers(spec):
        _, colon, tag = container["image"].rpartition(":")
        if not colon or "/" in tag or tag == "latest":
            yield container["name"]


def grace(spec: Doc) -> Iterator[str]:
    """The proxy's drain has the time it takes."""
    if proxy_of(spec) and spec.get("terminationGracePeriodSeconds") != GRACE_S:
        yield "terminationGracePeriodSeconds"


def identity(spec: Doc) -> Iterator[str]:
    """The proxy runs as the image's user, and the volumes are its group's."""
    context = spec.get("securityContext", {})
    wanted = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    if proxy_of(spec):
        yield from (key for key, value in wanted.items() if context.get(key) != value)


def probes(spec: Doc) -> Iterator[str]:
    """Started within 30 s, alive within 30 s, and waited for as long as /healthz takes."""
    proxy = proxy_of(spec)
    if proxy is None:
        return
    wanted: dict[str, tuple[str, Doc]] = {
        "startupProbe": ("/readyz", {"periodSeconds": 1, "failureThreshold": 30}),
        "livenessProbe": (
            "/healthz",
            {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 6},
        ),
        "readinessProbe": ("/readyz", {}),
    }
    for name, (path, numbers) in wanted.items():
        probe = proxy.get(name, {})
        asks = probe.get("httpGet", {})
        if (asks.get("path"), asks.get("port")) != (
            path,
            "ringside-admin",
        ) or not numbers.items() <= probe.items():
            yield name


RULES: Final[tuple[Rule, ...]] = (
    *(host_namespaces, privileged, privilege_escalation, capabilities, root, seccomp),
    *(volume_types, host_ports, kernel),
    *(read_only_root, service_account_token, resources, mounts, image_tags),
    *(grace, identity, probes),
)


def broken(spec: Doc) -> dict[str, list[str]]:
    """The rules that a pod breaks, each with where."""
    found = {rule.__name__: list(rule(spec)) for rule in RULES}
    return {name: places for name, places in found.items() if places}
