"""What clients were told, and so what has to be true after a crash.

An answer that came whole is a promise: the object is as it said. What was asked for and never
answered may have been done or not, so an object may then be one of several things. For a run that
was at work, RUN_TRANSITIONS says what may follow; which events can happen depends on its model.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ringside_proxy.domain.runs import RUN_TRANSITIONS, TERMINAL, RunEvent, RunStatus

Json = dict[str, Any]

RESTARTED: Final = {
    "code": "server_error",
    "message": "The proxy was restarted while the run was in progress.",
}
MOVING: Final = frozenset(
    {"status", "started_at", "expires_at", "cancelled_at", "failed_at", "completed_at"}
    | {"required_action", "last_error", "incomplete_details", "usage", "metadata"}
)
"""What may change in a run."""


class Belief:
    """What an object may be. None among `options` is: gone."""

    def __init__(self, known: Json) -> None:
        self.id: str = known["id"]
        self.options: list[Json | None] = [known]

    @property
    def is_gone(self) -> bool:
        """Whether its deletion was acknowledged, or seen."""
        return self.options == [None]

    @property
    def known(self) -> Json:
        """The object as it was last acknowledged."""
        assert self.options[0] is not None
        return self.options[0]

    def ask(self, wanted: Json | None) -> None:
        """A change was sent off."""
        self.options.append(wanted)

    def check(self, found: Json | None) -> None:
        """The object as it is; from now on, it is that."""
        assert found in self.options, f"found {found}, acknowledged {self.options}"
        self.options = [found]

    def answered(self, found: Json | None) -> None:
        """The change was acknowledged: no other option is left."""
        assert found == self.options[-1], f"answered {found}, asked for {self.options[-1]}"
        self.options = [found]


@dataclass(frozen=True)
class Plan:
    """A run that was asked for: its model, its question, what can happen to it, what it says."""

    model: str
    question: str
    events: frozenset[RunEvent]
    answer: str | None

    @property
    def hangs(self) -> bool:
        """Whether it never ends by itself."""
        return RunEvent.COMPLETE not in self.events


class RunBelief:
    """A run that was acknowledged, with the steps and messages that its stream announced."""

    def __init__(self, plan: Plan, run: Json) -> None:
        self.plan = plan
        self.seen = run
        self.events = set(plan.events)
        self.metadata = [run["metadata"]]
        self.steps: dict[str, Json | None] = {}
        self.messages: dict[str, Json | None] = {}

    @property
    def id(self) -> str:
        """Its id."""
        run_id: str = self.seen["id"]
        return run_id

    @property
    def is_over(self) -> bool:
        """Whether it was seen to have ended."""
        return self.seen["status"] in TERMINAL

    def learn(self, run: Json) -> None:
        """The run as it is; raises AssertionError if it cannot have become that."""
        status = run["status"]
        assert status in self._reachable(), f"{self.seen} became {run}"
        assert run["metadata"] in self.metadata
        fixed = run.keys() - MOVING if status != self.seen["status"] else run.keys() - {"metadata"}
        for key in fixed:
            assert run[key] == self.seen[key], f"{key}: {run}, acknowledged {self.seen}"
        if status == RunStatus.FAILED:
            assert run["last_error"] == RESTARTED
        self.seen, self.metadata = run, [run["metadata"]]

    def ask_metadata(self, wanted: Json) -> None:
        """A change of the metadata was sent off."""
        self.metadata.append(wanted)

    def ask_cancel(self) -> None:
        """A cancel was sent off."""
        self.events.add(RunEvent.CANCEL)

    def ask_submit(self) -> None:
        """The outputs of all its calls were sent off; the model then answers in words."""
        self.events -= {RunEvent.REQUIRE_ACTION}
        self.events.add(RunEvent.SUBMIT_OUTPUTS)

    def hear(self, event: str, data: Json) -> None:
        """An event of its stream."""
        kind = data.get("object") if isinstance(data, dict) else None
        if kind == "thread.run":
            self.learn(data)
        elif kind == "thread.run.step":
            self.steps[data["id"]] = None if data["status"] == "in_progress" else data
        elif kind == "thread.message":
            self.messages[data["id"]] = None if data["status"] == "in_progress" else data

    def check_steps(self, found: list[Json]) -> None:
        """Every announced step is there, ended ones as they were told, none left open."""
        by_id = {step["id"]: step for step in found}
        for step_id, told in self.steps.items():
            assert step_id in by_id, f"{step_id} of {self.id} was announced and is gone"
            if told is not None:
                # A step that ended before its run was told with the run's expiry time.
                assert by_id[step_id] | {"expires_at": told["expires_at"]} == told
        if self.is_over:
            assert all(step["status"] != "in_progress" for step in found), found
        self.steps = dict(by_id) if self.is_over else {}

    def check_text(self, messages: Iterable[Json]) -> None:
        """What it said is the model's answer, or the beginning of it if it was cut off."""
        if self.plan.answer is None or not self.is_over:
            return
        said = "".join(part["text"]["value"] for each in messages for part in each["content"])
        if self.seen["status"] == RunStatus.COMPLETED:
            assert said == self.plan.answer
        else:
            assert self.plan.answer.startswith(said)

    def _reachable(self) -> set[RunStatus]:
        found: set[RunStatus] = set()
        waiting = [RunStatus(self.seen["status"])]
        while waiting:
            status = waiting.pop()
            found.add(status)
            after = (to for event, to in RUN_TRANSITIONS[status].items() if event in self.events)
            waiting += [to for to in after if to not in found]
        return found


@dataclass
class ThreadNotes:
    """A thread, and everything in it that was acknowledged or asked for.

    `promised` and `asked` are texts of messages whose ids no answer has told; `plans` are runs
    that were asked for, by the number in their metadata.
    """

    belief: Belief
    messages: dict[str, Belief] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    runs: dict[str, RunBelief] = field(default_factory=dict)
    promised: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    plans: dict[str, Plan] = field(default_factory=dict)
    is_touched: bool = True

    def __post_init__(self) -> None:
        self.path = f"/v1/threads/{self.belief.id}"

    @property
    def waiting(self) -> RunBelief | None:
        """The run that waits for tool outputs."""
        runs = (run for run in self.runs.values() if run.seen["status"] == "requires_action")
        return next(runs, None)

    def told(self, message: Json) -> None:
        """A message was acknowledged."""
        self.messages[message["id"]] = Belief(message)
        self.order.append(message["id"])

    def began(self, run: Json) -> RunBelief:
        """A run was acknowledged, and with it the question that came along."""
        plan = self.plans.pop(run["metadata"]["number"])
        self.asked.discard(plan.question)
        self.promised.add(plan.question)
        self.runs[run["id"]] = RunBelief(plan, run)
        return self.runs[run["id"]]

    def check_messages(self, found: list[Json]) -> None:
        """Every message is as acknowledged, in its place, and none came from nowhere."""
        by_id = {message["id"]: message for message in found}
        assert len(by_id) == len(found)
        for message_id, belief in self.messages.items():
            belief.check(by_id.get(message_id))
        for run in self.runs.values():
            for message_id, told in run.messages.items():
                assert message_id in by_id, f"{message_id} of {run.id} was announced and is gone"
                assert told in (None, by_id[message_id])
            run.check_text(each for each in found if each["run_id"] == run.id)
            run.messages = {}
        for message in found:
            self._adopt(message)
        assert not self.promised, f"acknowledged and not there: {self.promised}"
        self.asked.clear()
        present = [message_id for message_id in self.order if message_id in by_id]
        assert present == [each["id"] for each in found if each["id"] in set(present)]
        self.order = list(by_id)

    def _adopt(self, message: Json) -> None:
        """A message that no answer told of: a run's, or one that was asked for."""
        if message["id"] in self.messages:
            return
        if message["run_id"] is None:
            [part] = message["content"]
            text = part["text"]["value"]
            assert text in self.asked | self.promised, f"nobody asked for {message}"
            self.asked.discard(text)
            self.promised.discard(text)
        else:
            assert message["run_id"] in self.runs
            assert message["status"] != "in_progress" or not self.runs[message["run_id"]].is_over
        self.messages[message["id"]] = Belief(message)
