"""`ringside doctor`: what is wrong here, or soon will be, and what to do about it.

Each check is a function that looks at one thing and gives its findings; none changes anything. A
finding that has to be put right is a failure; a warning can wait.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal

import httpx
import msgspec

from ringside_proxy.commands.reach import TOKEN_VARIABLE
from ringside_proxy.delivery.secrets import count_readable
from ringside_proxy.domain import model_ref
from ringside_proxy.domain.ids import NewId
from ringside_proxy.services.live_config import ConfigStatus
from ringside_proxy.settings.environment import MASTER_KEYS
from ringside_proxy.settings.load import load, secret_files
from ringside_proxy.settings.problems import SettingsError
from ringside_proxy.settings.schema import LOCAL_TOKEN, Settings
from ringside_proxy.settings.tls import own_client_context
from ringside_proxy.settings.values import TokenHash
from ringside_proxy.store import checkup, files
from ringside_proxy.store.ballast import ENOUGH_FREE_BYTES
from ringside_proxy.store.vault import Vault
from ringside_proxy.system import Clock

Level = Literal["ok", "warn", "FAIL"]

FREE_BYTES_WANTED: Final = 1024**3
MIB: Final = 1024**2
ADMIN_S_MAX: Final = 6.0
"""One more than /healthz gives the store's writer."""
FIRST_DAY_MS: Final = 1_763_683_200_000
"""21 November 2025: no clock that is right shows an earlier time."""
MOUNTS: Final = Path("/proc/self/mounts")
SHARED_FILE_SYSTEMS: Final = (
    "nfs",
    "cifs",
    "smb",
    "fuse",
    "9p",
    "ceph",
    "gluster",
    "lustre",
    "afs",
)
"""How the names of file systems begin on which SQLite's locks are not to be trusted."""
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not to listen


class Finding(msgspec.Struct, frozen=True):
    """What one look found. `remedy` says what to do, unless all is well."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at. `settings` is None if the configuration is none."""

    path: Path | None
    env: Mapping[str, str]
    settings: Settings | None
    clock: Clock
    new_id: NewId


Check = Callable[[Patient], Iterator[Finding]]


def examine(
    path: Path | None, env: Mapping[str, str], clock: Clock, new_id: NewId
) -> tuple[Settings | None, list[Finding]]:
    """Every finding but those about keys, and the settings if there are any."""
    settings, findings = _configuration(path, env)
    patient = Patient(path=path, env=env, settings=settings, clock=clock, new_id=new_id)
    for check in CHECKS:
        findings.extend(check(patient))
    return settings, findings


def report(findings: Iterable[Finding]) -> str:
    """The findings as lines for a person, the sum last."""
    lines = []
    count = {"ok": 0, "warn": 0, "FAIL": 0}
    for finding in findings:
        count[finding.level] += 1
        lines.append(f"{finding.level:<5} {finding.subject:<12} {finding.text}")
        if finding.remedy:
            lines.append(f"      {'':<12} → {finding.remedy}")
    lines.append(f"{count['FAIL']} to put right, {count['warn']} to look at, {count['ok']} fine")
    return "\n".join(lines)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing has to be put right."""
    return all(finding.level != "FAIL" for finding in findings)


def _configuration(
    path: Path | None, env: Mapping[str, str]
) -> tuple[Settings | None, list[Finding]]:
    name = str(path or "the built-in configuration")
    try:
        settings = load(path, env)
    except SettingsError as error:
        return None, [
            Finding("FAIL", "config", f"{problem.path}: {problem.what}", problem.remedy)
            for problem in error.problems
        ]
    unused = [
        Finding("warn", "config", f"{key} is not in effect in this version", "remove it, or wait")
        for key in settings.not_in_effect
    ]
    return settings, [Finding("ok", "config", f"{name} is valid"), *unused]


def _access(patient: Patient) -> Iterator[Finding]:
    """Tokens, and who can guess them."""
    if patient.settings is None:
        return
    auth, host = patient.settings.auth, patient.settings.server.host
    if not auth.required:
        text = f"everyone on this machine may use the API ({host})"
        yield Finding("warn", "access", text, "set auth.required: true, and tokens")
    elif TokenHash.of(LOCAL_TOKEN) in (token.sha256 for token in auth.tokens):
        text = f"{LOCAL_TOKEN} opens the API to everyone on this machine"
        yield Finding("warn", "access", text, "set RINGSIDE_TOKEN, unless you alone use it")
    else:
        yield Finding("ok", "access", f"{len(auth.tokens)} tokens in the configuration")


def _slots(patient: Patient) -> Iterator[Finding]:
    """Whether there is somebody to answer for each slot."""
    if patient.settings is None or not patient.settings.slots:
        return
    on, is_fine = patient.settings.providers, True
    for alias, slot in patient.settings.slots.items():
        refs = [model_ref.stored(name) for name in slot.every_model]
        off = [ref for ref in refs if ref.provider not in on]
        missing = ", ".join(sorted({f"providers.{ref.provider}" for ref in off}))
        if len(off) == len(refs):
            text = f"slot:{alias} has nobody to answer: no provider of its models has a key"
            yield Finding("FAIL", "slots", text, f"give {missing} a key, or name another model")
        elif off:
            text = f"slot:{alias} passes over {', '.join(map(str, off))}: there is no key for it"
            yield Finding("warn", "slots", text, f"give {missing} a key, or take the model out")
        is_fine = is_fine and not off
    if is_fine:
        yield Finding("ok", "slots", "every model of every slot has its provider")


def _permissions(patient: Patient) -> Iterator[Finding]:
    """Who may read what holds secrets, and as whom this runs."""
    if os.geteuid() == 0:
        text = "this runs as root"
        yield Finding("warn", "permissions", text, "run it as a user of its own, as the image does")
    for file in _secret_files(patient):
        mode = file.stat().st_mode
        if mode & stat.S_IROTH:
            yield Finding("warn", "permissions", f"everyone may read {file}", f"chmod o-r {file}")
        if not os.access(file, os.R_OK):
            yield Finding("FAIL", "permissions", f"{file} cannot be read", "give its group a right")


def _secret_files(patient: Patient) -> list[Path]:
    if patient.path is None:
        return []
    try:
        named = secret_files(patient.path, patient.env)
    except SettingsError:
        return []
    # A link is what a Secret is mounted as; what counts is where it leads.
    return sorted(file.resolve() for file in named if file.exists())


def _store(patient: Patient) -> Iterator[Finding]:
    """Whether the store is whole, ours to write, and of a version that is known."""
    if patient.settings is None:
        return
    path = patient.settings.store.path
    yield from _folder(path)
    if not path.exists():
        yield Finding("ok", "store", f"there is none at {path} yet; the first start makes it")
        return
    owned = "a proxy runs on it" if checkup.is_owned(path) else "no proxy runs on it"
    try:
        found = checkup.examine(path, patient.clock.now_ms(), patient.new_id)
    except files.StoreError as error:
        yield Finding("FAIL", "store", str(error), "see *Damaged* in deploy/README.md")
        return
    size = f"{found.bytes / MIB:.1f} MiB"
    if found.schema > found.known_schema:
        text = f"{path} has schema {found.schema}, this version knows {found.known_schema}"
        yield Finding("FAIL", "store", text, "run the newer version, or restore what was before it")
    elif found.schema < found.known_schema:
        text = f"{path} has schema {found.schema}; the next start makes it {found.known_schema}"
        yield Finding("warn", "store", text, "take a backup before it")
    else:
        yield Finding("ok", "store", f"{path} is whole ({size}, schema {found.schema}); {owned}")
    if path.stat().st_mode & stat.S_IRWXO:
        yield Finding("warn", "store", f"everyone may read {path}", f"chmod 0600 {path}")
    if not found.is_clock_believed:
        text = "the machine's clock is more than 35 days ahead of everything stored"
        yield Finding("FAIL", "clock", text, "set it right, or start with RINGSIDE_TRUST_CLOCK=1")


def _secrets(patient: Patient) -> Iterator[Finding]:
    """Whether the keys that open the store's secrets are here: without them no start is made."""
    settings = patient.settings
    if settings is None or not settings.store.path.exists():
        return
    path, now_ms = settings.store.path, patient.clock.now_ms()
    try:
        read = partial(count_readable, vault=Vault.of(settings.master_keys, path))
        count = checkup.look(path, now_ms, patient.new_id, read)
    except files.StoreCorruptError:
        return  # the look at the store has said so
    except files.StoreError as error:
        remedy = f"let this command have the proxy's {MASTER_KEYS}; if it has, the key is lost"
        yield Finding("FAIL", "secrets", str(error), remedy)
    else:
        if count is not None:
            yield Finding("ok", "secrets", f"{count} in the store, and their keys are here")


def _folder(path: Path) -> Iterator[Finding]:
    folder = path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding("FAIL", "store", f"{there} cannot be written", "give it to the proxy's user")
    kind = _file_system(there)
    if kind.startswith(SHARED_FILE_SYSTEMS):
        text = f"{there} is on {kind}, where SQLite's locks are not to be trusted"
        yield Finding("FAIL", "store", text, "put store.url on a local disk or a block device")


def _file_system(place: Path) -> str:
    """The type of the file system that `place` is on; empty where that is not known."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    under = [(mount, kind) for mount, kind in mounts if place.resolve().is_relative_to(Path(mount))]
    return max(under, key=lambda found: len(found[0]), default=("", ""))[1]


def _disk(patient: Patient) -> Iterator[Finding]:
    """Whether there is room."""
    if patient.settings is None:
        return
    folder = patient.settings.store.path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    text = f"{free / MIB:,.0f} MiB are free at {there}"
    if free < ENOUGH_FREE_BYTES:
        yield Finding("FAIL", "disk", f"{text}: the store refuses writes", "make room")
    elif free < FREE_BYTES_WANTED:
        yield Finding("warn", "disk", text, "make room before it is full: 1 GiB at least")
    else:
        yield Finding("ok", "disk", text)


def _clock(patient: Patient) -> Iterator[Finding]:
    """Whether the machine knows what time it is."""
    if patient.clock.now_ms() < FIRST_DAY_MS:
        text = "the machine's clock is in the past; no signature and no certificate will hold"
        yield Finding("FAIL", "clock", text, "set it right (timedatectl set-ntp true)")
    else:
        yield Finding("ok", "clock", "the machine's clock is plausible")


def _sqlite(patient: Patient) -> Iterator[Finding]:
    """Which SQLite this Python brings."""
    del patient
    version = sqlite3.sqlite_version
    if files.sqlite_is_fixed():
        yield Finding("ok", "sqlite", f"version {version}")
    else:
        text = f"version {version} is safe with one writer, which the proxy is"
        yield Finding("ok", "sqlite", f"{text}; let no other program checkpoint the store")


def _running(patient: Patient) -> Iterator[Finding]:
    """What the proxy that serves here says of itself."""
    if patient.settings is None:
        return
    admin = patient.settings.admin
    if not admin.port:
        return
    url = _address(admin.host, admin.port)
    for page, remedy in (("healthz", "restart it"), ("readyz", "see the reasons")):
        try:
            answer = httpx.get(f"{url}/{page}", timeout=ADMIN_S_MAX, trust_env=False)
            reasons = ", ".join(map(str, answer.json()["reasons"]))
        except httpx.ConnectError:
            yield Finding("ok", "proxy", f"none serves on {url}")
            return
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            text = f"what serves on {url} does not answer as Ringside does"
            yield Finding("warn", "proxy", text, "give the proxy an admin.port of its own")
            return
        if answer.status_code == httpx.codes.OK:
            yield Finding("ok", "proxy", f"{url}/{page} is ok")
        else:
            yield Finding("FAIL", "proxy", f"{url}/{page} says: {reasons}", remedy)


def _live_configuration(patient: Patient) -> Iterator[Finding]:
    """Whether the proxy that serves here runs what the file holds; asked only with a token."""
    token = patient.env.get(TOKEN_VARIABLE)
    if patient.settings is None or not token or not patient.settings.server.port:
        return
    server = patient.settings.server
    url = f"{server.url(EVERYWHERE.get(server.host))}/v1/config/status"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.get(
            url,
            headers=headers,
            timeout=ADMIN_S_MAX,
            trust_env=False,
            verify=own_client_context(server.tls) or True,
        )
        status = msgspec.json.decode(answer.content, type=ConfigStatus)
    except (httpx.HTTPError, msgspec.DecodeError):
        return  # none serves here, or not for this token; the check before has said so
    for problem in status.problems:
        text = f"what runs is older than the file: {problem.path}: {problem.message}"
        yield Finding("FAIL", "reload", text, problem.remedy)
    for key in status.needs_restart:
        yield Finding("warn", "reload", f"{key} is not what runs", "restart the proxy")
    if status.state == "in_effect":
        yield Finding("ok", "reload", "what runs is what the file holds")


def _address(host: str, port: int) -> str:
    host = EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


CHECKS: Final[tuple[Check, ...]] = (
    *(_access, _slots, _permissions, _store, _secrets, _disk, _clock, _sqlite, _running),
    _live_configuration,
)
