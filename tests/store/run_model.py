"""What should happen to runs, without a store: the table of transitions, and plain lists."""

from dataclasses import dataclass, field

from ringside_proxy.domain.run_steps import StepStatus
from ringside_proxy.domain.runs import RUN_TRANSITIONS, TERMINAL, RunEvent, RunStatus
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.services.run_transactions import MESSAGE_ENDINGS, STEP_ENDINGS


@dataclass
class StepModel:
    """A step; `message` is its id, status and reason if it writes one, else it has `calls`."""

    step_id: str
    status: str = "in_progress"
    usage: TokenUsage | None = None
    message: tuple[str, str, str | None] | None = None
    calls: list[str] = field(default_factory=list)


@dataclass
class CallModel:
    """A model call: its usage, null while it is open or if it was never told."""

    number: int
    usage: TokenUsage | None = None
    is_open: bool = True


@dataclass
class RunModel:
    """A run and what hangs on it."""

    run_id: str
    thread: int
    expires_ms: int
    status: RunStatus = RunStatus.QUEUED
    is_purged: bool = False
    steps: list[StepModel] = field(default_factory=list)
    calls: list[CallModel] = field(default_factory=list)
    passed: list[tuple[RunStatus, RunStatus]] = field(default_factory=list)
    """The transitions that it went through."""

    def enter(self, status: RunStatus) -> None:
        """The run moves on; to `cancelled` it comes through `cancelling` only."""
        if status is RunStatus.CANCELLED and self.status is not RunStatus.CANCELLING:
            self.enter(RunStatus.CANCELLING)
        self.passed.append((self.status, status))
        self.status = status

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    @property
    def open_step(self) -> StepModel | None:
        """The step in progress: it can only be the last one."""
        last = self.steps[-1] if self.steps else None
        return last if last is not None and last.status == "in_progress" else None

    @property
    def open_call(self) -> CallModel | None:
        """The model call in progress."""
        last = self.calls[-1] if self.calls else None
        return last if last is not None and last.is_open else None

    @property
    def usage(self) -> TokenUsage | None:
        """The sum over the calls; null until it has ended."""
        told = [call.usage for call in self.calls if call.usage is not None]
        return sum(told, NO_USAGE) if self.is_over else None

    def after(self, event: RunEvent) -> RunStatus | None:
        """Where the table leads; None if it refuses."""
        return RUN_TRANSITIONS[self.status].get(event)

    def ending_after(self, event: RunEvent) -> RunStatus | None:
        """Where the end of a model call leads: a cancel stops at once, and one that came first wins."""
        if event is RunEvent.EXPIRE or (
            event is not RunEvent.CANCEL and self.status is not RunStatus.CANCELLING
        ):
            return self.after(event)
        return None if self.is_over else RunStatus.CANCELLED

    def finish(self, status: RunStatus, usage: TokenUsage | None) -> None:
        """The model call ends, and with it the run, or its segment while calls wait."""
        self.enter(status)
        if self.open_call is not None:
            self.open_call.usage, self.open_call.is_open = usage, False
        step = self.open_step
        if step is None:
            return
        step.usage = usage if usage is not None else step.usage
        if status not in STEP_ENDINGS:
            step.usage = usage or NO_USAGE
            return
        was_cut = status is RunStatus.INCOMPLETE and step.message is None
        step.status = StepStatus.FAILED if was_cut else STEP_ENDINGS[status]
        if step.message is not None:
            reason = MESSAGE_ENDINGS.get(status)
            step.message = (step.message[0], "incomplete" if reason else "completed", reason)

    def complete_step(self) -> None:
        """The open step is done, while the run goes on."""
        step = self.open_step
        assert step is not None
        step.status = "completed"
        if step.message is not None:
            step.message = (step.message[0], "completed", None)
