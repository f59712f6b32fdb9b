"""The configuration in effect, exchanged whole while requests go on.

    read → check → build what depends on it → swap one reference → let go of the old

Any failure on the way keeps what runs, and says what is wrong. A request finishes on the snapshot
it began with. `server`, `admin` and `store` belong to the process: a change of theirs is named, and
waits for a restart; until then the running values go on counting, also where the rest of the file
is checked against them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.settings.changes import Change, changes
from ringside_proxy.settings.load import exposure_faults
from ringside_proxy.settings.problems import Problem, SettingsError
from ringside_proxy.settings.schema import Settings
from ringside_proxy.settings.source import ConfigSource
from ringside_proxy.settings.watch import changes as file_changes
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

NEED_RESTART: Final = ("server", "admin", "store")
LINES_MAX: Final = 50
"""How many changes or problems are logged one by one."""
MS_PER_S: Final = 1000

Build = Callable[[Settings], Awaitable[Snapshot]]
"""Makes everything that depends on settings; may raise, and then nothing has changed."""
Observer = Callable[[Snapshot, Snapshot], None]
"""Told of every exchange: the snapshot before, the one after. Must not fail."""


class ConfigProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to put right in the file."""

    path: str
    message: str
    remedy: str


class ConfigStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /v1/config/status` answers with; times are seconds since the epoch.

    `state`: `in_effect`; `restart_needed`, for the keys in `needs_restart`; or `refused`, for the
    reasons in `problems`, while the configuration of `in_effect_since` goes on.
    """

    object: Literal["config.status"] = "config.status"
    state: Literal["in_effect", "restart_needed", "refused"]
    file: str | None
    in_effect_since: int
    last_checked_at: int
    reloads: int
    refusals: int
    problems: list[ConfigProblem]
    needs_restart: list[str]
    not_in_effect: list[str]


class LiveConfig:
    """Holds the snapshot that requests begin with, and exchanges it when the file changes."""

    def __init__(
        self,
        snapshot: Snapshot,
        source: ConfigSource | None,
        build: Build,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.snapshot = snapshot
        self._source = source
        self._build = build
        self._clock = clock
        self._metrics = metrics
        self._observers: list[Observer] = []
        self._renewals: list[Callable[[], None]] = []
        self._one_at_a_time = asyncio.Lock()
        self._problems: tuple[Problem, ...] = ()
        self._needs_restart: list[str] = []
        self._reloads = self._refusals = 0
        self._since_ms = self._checked_ms = clock.now_ms()
        self._note_success()

    def observe(self, observer: Observer) -> None:
        """Have `observer` told of every exchange from now on."""
        self._observers.append(observer)

    def renew(self, renewal: Callable[[], None]) -> None:
        """Have `renewal` done whenever the files were read and found right."""
        self._renewals.append(renewal)

    async def run(self, asked: asyncio.Event) -> None:
        """Follow the file, and reload when `asked` is set; for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_requests(asked))
            if self._source is not None:
                group.create_task(self._follow_file(self._source))

    async def reload(self) -> bool:
        """Read the file and put it into effect; False if what runs was kept. Never raises."""
        async with self._one_at_a_time:
            if self._source is None:
                logger.warning("there is no configuration file to reload")
                return False
            self._checked_ms = self._clock.now_ms()
            try:
                await self._exchange(await asyncio.to_thread(self._source.load))
            except SettingsError as error:
                self._refuse(error.problems)
            except Exception:
                # A supervisor: whatever it was, the running configuration is whole.
                logger.exception("the reload failed")
                remedy = "see the log, and restart if it goes on"
                self._refuse([Problem(str(self._source.path), "could not be applied", remedy)])
            return not self._problems

    def status(self) -> ConfigStatus:
        """Whether the file is in effect, and if not, why."""
        problems = [
            ConfigProblem(path=problem.path, message=problem.what, remedy=problem.remedy)
            for problem in self._problems
        ]
        waiting = self._needs_restart
        return ConfigStatus(
            state="refused" if problems else "restart_needed" if waiting else "in_effect",
            file=str(self._source.path) if self._source else None,
            in_effect_since=self._since_ms // MS_PER_S,
            last_checked_at=self._checked_ms // MS_PER_S,
            reloads=self._reloads,
            refusals=self._refusals,
            problems=problems,
            needs_restart=waiting,
            not_in_effect=list(self.snapshot.settings.not_in_effect),
        )

    async def _follow_file(self, source: ConfigSource) -> None:
        async for _ in file_changes(source):
            await self.reload()

    async def _follow_requests(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            await self.reload()

    async def _exchange(self, wanted: Settings) -> None:
        old = self.snapshot
        effective = _with_restart_only_of(old.settings, wanted)
        changed = changes(old.settings, effective)
        waiting = [change for change in changes(old.settings, wanted) if _needs_restart(change)]
        if effective != old.settings:
            new = await self._build(effective)
            self.snapshot = new
            for observer in self._observers:
                observer(old, new)
            self._since_ms = self._clock.now_ms()
            self._reloads += 1
        for renewal in self._renewals:
            renewal()
        self._problems = ()
        self._needs_restart = [change.path for change in waiting]
        self._note_success()
        _log_exchange(changed, waiting)

    def _refuse(self, problems: "tuple[Problem, ...] | list[Problem]") -> None:
        self._problems = tuple(problems)
        self._refusals += 1
        self._metrics.config_reload_failed_total.inc()
        self._metrics.config_in_sync.set(0)
        logger.error(
            "the configuration is refused, the running one goes on",
            extra=fields(count=len(self._problems)),
        )
        for problem in self._problems[:LINES_MAX]:
            logger.error(
                "configuration problem",
                extra=fields(setting=problem.path, reason=f"{problem.what}; {problem.remedy}"),
            )

    def _note_success(self) -> None:
        now_s = self._clock.now_ms() / MS_PER_S
        self._metrics.config_last_success_timestamp_seconds.set(now_s)
        self._metrics.config_in_sync.set(not self._needs_restart)


def _with_restart_only_of(running: Settings, wanted: Settings) -> Settings:
    """`wanted`, with what a running process cannot change. Raises SettingsError.

    What may not stand beside the running listener is refused, though it may beside the wanted one.
    """
    kept = {section: getattr(running, section) for section in NEED_RESTART}
    effective = msgspec.structs.replace(wanted, **kept)
    faults = [
        Problem(fault.path, fault.what, f"{fault.remedy}, or restart for server.host to change")
        for fault in exposure_faults(effective.server, effective.auth)
    ]
    if faults:
        raise SettingsError(faults)
    return effective


def _needs_restart(change: Change) -> bool:
    return change.section in NEED_RESTART


def _log_exchange(changed: list[Change], waiting: list[Change]) -> None:
    if changed:
        logger.info("the configuration is in effect", extra=fields(count=len(changed)))
    elif not waiting:
        logger.info("the configuration is in effect as it was")
    for change in changed[:LINES_MAX]:
        logger.info("configuration changed", extra=fields(setting=change.path, change=change.text))
    for change in waiting[:LINES_MAX]:
        logger.warning(
            "needs a restart to take effect", extra=fields(setting=change.path, change=change.text)
        )
