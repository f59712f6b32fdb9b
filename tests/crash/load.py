"""Mixed load: clients that do everything at random until the server is gone."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ringside_proxy.domain.runs import RunEvent
from ringside_proxy.sandbox.models import LONG_TEXT
from tests.crash.client import Client, LostError
from tests.crash.journal import Belief, Plan, RunBelief, ThreadNotes

Json = dict[str, Any]

THREADS_MAX: Final = 3
E = RunEvent
ENDS: Final = frozenset({E.START, E.COMPLETE, E.FAIL, E.STOP})
CALLS: Final = ENDS | {E.REQUIRE_ACTION}
HANGS: Final = frozenset({E.START, E.FAIL, E.STOP})
MODELS: Final = ("echo", "slow-5", "long-500", "tools", "say-then-tools")
LONG_ANSWER: Final = " ".join(LONG_TEXT * 50)
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}},
            "required": ["word"],
        },
    },
}


@dataclass
class World:
    """What the clients have made, over all crashes.

    `acknowledged` counts answers, and events other than deltas.
    """

    assistant_id: str
    random: random.Random
    threads: list[ThreadNotes] = field(default_factory=list)
    assistants: list[Belief] = field(default_factory=list)
    acknowledged: int = 0
    last_number: int = 0
    _goal: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self) -> None:
        """One more answer or event has come."""
        self.acknowledged += 1
        if self.acknowledged >= self._goal:
            self._reached.set()

    async def more(self, answers: int) -> None:
        """Until that many more have come."""
        self._goal = self.acknowledged + answers
        self._reached.clear()
        await self._reached.wait()

    def number(self) -> str:
        """One that was never given before."""
        self.last_number += 1
        return str(self.last_number)

    def words(self) -> str:
        """A text that was never said before."""
        return f"no {self.number()}: " + "la " * self.random.randint(1, 12) + "end"

    def plan(self, model: str) -> Plan:
        """A run on a model."""
        question = self.words()
        if model == "hang":
            return Plan(model, question, HANGS, "")
        if model.endswith("tools"):
            return Plan(model, question, CALLS, None)
        return Plan(model, question, ENDS, LONG_ANSWER if model == "long-500" else question)


class Actor:
    """One client. It alone uses its threads, so it knows what order things came in."""

    def __init__(self, world: World, client: Client, threads: list[ThreadNotes]) -> None:
        self._world = world
        self._client = client
        self._threads = threads
        self._assistants: list[Belief] = []
        self._random = world.random

    async def act(self) -> None:
        """Do things at random, until the server is gone."""
        try:
            while True:
                await self._one_thing()
        except LostError:
            return

    async def _one_thing(self) -> None:
        if not self._threads or self._random.random() < 0.05:
            await self._new_thread()
            return
        thread = self._random.choice(self._threads)
        thread.is_touched = True
        waiting = thread.waiting
        if waiting is not None:
            await self._go_on(thread, waiting)
            return
        deeds: dict[Callable[[ThreadNotes], Awaitable[None]], int] = {
            self._add_message: 3,
            self._change_message: 2,
            self._delete_message: 1,
            self._change_thread: 2,
            self._delete_thread: 1,
            self._change_run: 1,
            self._use_assistants: 2,
            self._run: 4,
            self._stream: 8,
            self._cancel: 2,
            self._run_on_new_thread: 1,
        }
        [deed] = self._random.choices(list(deeds), list(deeds.values()))
        await deed(thread)

    async def _post(self, path: str, body: Json | None = None) -> Json:
        answer = await self._client.post(path, body)
        self._world.count()
        return answer

    async def _streamed(self, path: str, body: Json) -> AsyncIterator[tuple[str, Any]]:
        async for event, data in self._client.stream(path, body):
            if not event.endswith(".delta"):
                self._world.count()
            yield event, data

    # --- assistants

    async def _use_assistants(self, _: ThreadNotes) -> None:
        if not self._assistants or self._random.random() < 0.3:
            made = await self._post("/v1/assistants", {"model": "fc:sandbox/echo"})
            self._assistants.append(Belief(made))
            self._world.assistants.append(self._assistants[-1])
            return
        belief = self._random.choice(self._assistants)
        path = f"/v1/assistants/{belief.id}"
        if self._random.random() < 0.3:
            self._assistants.remove(belief)
            belief.ask(None)
            await self._client.delete(path)
            self._world.count()
            belief.answered(None)
        else:
            changes = {"name": self._world.words(), "temperature": 0.5}
            belief.ask(belief.known | changes)
            belief.answered(await self._post(path, changes))

    # --- threads and messages

    async def _new_thread(self) -> None:
        if len(self._threads) >= THREADS_MAX:
            self._threads.pop(0)  # it stays as it is, and is looked at in the end
        text = self._world.words()
        made = await self._post(
            "/v1/threads", {"messages": [{"role": "user", "content": text}], "metadata": {"a": "b"}}
        )
        self._keep(ThreadNotes(Belief(made), promised={text}))

    def _keep(self, thread: ThreadNotes) -> None:
        self._threads.append(thread)
        self._world.threads.append(thread)

    async def _change_thread(self, thread: ThreadNotes) -> None:
        changes = {"metadata": {"number": self._world.number()}}
        thread.belief.ask(thread.belief.known | changes)
        thread.belief.answered(await self._post(thread.path, changes))

    async def _delete_thread(self, thread: ThreadNotes) -> None:
        self._threads.remove(thread)
        path = thread.path
        thread.belief.ask(None)
        await self._client.delete(path)
        self._world.count()
        thread.belief.answered(None)

    async def _add_message(self, thread: ThreadNotes) -> None:
        text = self._world.words()
        thread.asked.add(text)
        message = await self._post(f"{thread.path}/messages", {"role": "user", "content": text})
        thread.asked.discard(text)
        thread.told(message)

    async def _change_message(self, thread: ThreadNotes) -> None:
        belief = self._some_message(thread)
        if belief is not None:
            changes = {"metadata": {"number": self._world.number()}}
            belief.ask(belief.known | changes)
            path = f"{thread.path}/messages/{belief.id}"
            belief.answered(await self._post(path, changes))

    async def _delete_message(self, thread: ThreadNotes) -> None:
        belief = self._some_message(thread)
        if belief is not None:
            path = f"{thread.path}/messages/{belief.id}"
            belief.ask(None)
            await self._client.delete(path)
            self._world.count()
            belief.answered(None)

    def _some_message(self, thread: ThreadNotes) -> Belief | None:
        """A message a user wrote and that is there: a run's are compared with its answer."""
        present = [
            belief
            for belief in thread.messages.values()
            if belief.options[0] is not None and belief.known["run_id"] is None
        ]
        return self._random.choice(present) if present else None

    # --- runs

    def _run_body(self, plans: dict[str, Plan], plan: Plan, question_at: str) -> Json:
        number = self._world.number()
        plans[number] = plan
        question = [{"role": "user", "content": plan.question}]
        return {
            "assistant_id": self._world.assistant_id,
            "model": f"fc:sandbox/{plan.model}",
            "metadata": {"number": number},
            **(
                {"thread": {"messages": question}}
                if question_at == "thread"
                else {"additional_messages": question}
            ),
        }

    async def _begin(self, thread: ThreadNotes, model: str) -> RunBelief:
        plan = self._world.plan(model)
        thread.asked.add(plan.question)
        body = self._run_body(thread.plans, plan, "run")
        return thread.began(await self._post(f"{thread.path}/runs", body))

    async def _run(self, thread: ThreadNotes) -> None:
        run = await self._begin(thread, self._random.choice(MODELS))
        await self._follow(run)

    async def _follow(self, run: RunBelief) -> None:
        """Look at it until it is no longer at work."""
        run.learn(await self._client.settled(run.seen))
        self._world.count()

    async def _stream(self, thread: ThreadNotes) -> None:
        model = "hang" if self._random.random() < 0.05 else self._random.choice(MODELS)
        plan = self._world.plan(model)
        thread.asked.add(plan.question)
        body = self._run_body(thread.plans, plan, "run")
        async for event, data in self._streamed(f"{thread.path}/runs", body):
            if event == "thread.run.created":
                run = thread.began(data)
            elif event != "done":
                run.hear(event, data)

    async def _run_on_new_thread(self, _: ThreadNotes) -> None:
        plans: dict[str, Plan] = {}
        body = self._run_body(plans, self._world.plan("slow-5"), "thread")
        async for event, data in self._streamed("/v1/threads/runs", body):
            if event == "thread.created":
                thread = ThreadNotes(Belief(data), plans=plans)
                self._keep(thread)
            elif event == "thread.run.created":
                run = thread.began(data)
            elif event != "done":
                run.hear(event, data)
        del self._threads[:-THREADS_MAX]

    async def _change_run(self, thread: ThreadNotes) -> None:
        if thread.runs:
            run = self._random.choice(list(thread.runs.values()))
            wanted = {**run.seen["metadata"], "seen": self._world.number()}
            run.ask_metadata(wanted)
            answer = await self._post(f"{thread.path}/runs/{run.id}", {"metadata": wanted})
            assert answer["metadata"] == wanted
            run.learn(answer)

    async def _cancel(self, thread: ThreadNotes) -> None:
        run = await self._begin(thread, "hang")
        await self._cancel_run(thread, run)

    async def _cancel_run(self, thread: ThreadNotes, run: RunBelief) -> None:
        run.ask_cancel()
        run.learn(await self._post(f"{thread.path}/runs/{run.id}/cancel"))
        await self._follow(run)

    async def _go_on(self, thread: ThreadNotes, run: RunBelief) -> None:
        """Answer the run's calls, or give it up."""
        chance = self._random.random()
        if chance < 0.1:
            await self._delete_thread(thread)
        elif chance < 0.25:
            await self._cancel_run(thread, run)
        else:
            await self._submit(thread, run)

    async def _submit(self, thread: ThreadNotes, run: RunBelief) -> None:
        path = f"{thread.path}/runs/{run.id}/submit_tool_outputs"
        body = outputs_for(run.seen)
        run.ask_submit()
        if self._random.random() < 0.5:
            run.learn(await self._post(path, body))
            await self._follow(run)
            return
        async for event, data in self._streamed(path, body):
            if event != "done":
                run.hear(event, data)


def outputs_for(run: Json) -> Json:
    """What is sent to a run that waits for its calls' outputs."""
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return {"tool_outputs": [{"tool_call_id": call["id"], "output": "42"} for call in calls]}
