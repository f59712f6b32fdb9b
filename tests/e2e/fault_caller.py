"""Calls that meet a provider's faults, and what they show of them."""

import asyncio
import contextlib
import json
from typing import Any, Final, Literal

import aiohttp

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.schema import check_response
from tests.conformance.stream import check_chat_stream, check_run_stream
from tests.e2e.faults import ALL, GOOD, KEY, Fault, Means, wire
from tests.e2e.rude_end import QUIET_S

TOKENS_MAX: Final = 1_000_000_000
POLL_S: Final = 0.02
ASSISTANTS: Final = "/v1/assistants"
RUNS: Final = "/v1/threads/runs"
CHAT: Final = "/v1/chat/completions"
DONE: Final = b"data: [DONE]\n\n"


def check_counts(usage: dict[str, Any] | None) -> None:
    """Token counts that can be true; none at all is for those that have no answer."""
    for key in ("prompt_tokens", "completion_tokens") if usage else ():
        assert 0 <= usage[key] <= TOKENS_MAX, usage


async def passed(seconds: float) -> None:
    """A moment in which everything else goes on."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


class Caller:
    """Calls through a proxy, and what they show of a fault."""

    def __init__(self, provider: str, url: str, session: aiohttp.ClientSession) -> None:
        self.provider = provider
        self.model = f"fc:{provider}/{TYPICAL_MODELS[provider]}"
        self.complaints: list[str] = []
        self.assistant_id = ""
        self.mode: Literal["always", "once"] = "always"
        """Whether the far end does it to every attempt of a call, or to the first alone."""
        self.calls = 0
        self._url, self._session = url, session

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer that tells no secret."""
        async with self._session.post(self._url + path, json=body) as response:
            answered = await response.read()
        assert KEY.encode() not in answered + repr(response.headers).encode(), "the key leaked"
        return response.status, response.headers, answered

    async def get(self, path: str) -> Any:
        """What stands there."""
        async with self._session.get(self._url + path) as response:
            return json.loads(await response.read())

    async def make_assistant(self) -> None:
        """Makes the assistant of all the runs."""
        _, _, made = await self.post(ASSISTANTS, {"model": self.model})
        self.assistant_id = json.loads(made)["id"]

    def _prompt(self, fault: Fault) -> list[dict[str, Any]]:
        """What the far end reads of a call: the fault, how often, and whose attempts they are."""
        self.calls += 1
        return [{"role": "user", "content": f"fault-{ALL.index(fault)}-{self.mode}-{self.calls}-"}]

    async def suffer(self, *faults: Fault, then_again: bool = True) -> None:
        """Meets faults at the same time, each in runs and chats, plain and streamed."""
        trials = [
            self._kept(kind, fault, trial)
            for fault in faults
            for kind, trial in (
                ("streamed run", self._streamed_run(fault, then_again=then_again)),
                ("plain run", self._plain_run(fault)),
                ("plain chat", self.plain_chat(fault)),
                ("streamed chat", self._streamed_chat(fault)),
            )
        ]
        await asyncio.gather(*trials)

    async def _kept(self, kind: str, fault: Fault, trial: Any) -> None:
        complaint = None
        try:
            await trial
        except AssertionError as error:
            complaint = str(error).partition("\n")[0]
        if complaint is not None:
            self.complaints.append(f"{fault.name}, {kind}: {complaint}")

    async def _streamed_run(self, fault: Fault, *, then_again: bool) -> None:
        """A streamed run that meets the fault, then one more on its thread that does not."""
        prompt = self._prompt(fault)
        body = {"assistant_id": self.assistant_id, "stream": True}
        run, thread_id = await self._streamed(RUNS, body | {"thread": {"messages": prompt}})

        means = self._means(fault, is_relayed=False)
        self._check_run(run, means)
        if then_again:
            again = self._prompt(GOOD)
            path = f"/v1/threads/{thread_id}/runs"
            run, _ = await self._streamed(path, body | {"additional_messages": again})
            assert run["status"] == "completed", f"the next run: {run['last_error']}"

    async def _plain_run(self, fault: Fault) -> None:
        """A run that is asked for until it is over; its thread is free then."""
        prompt = self._prompt(fault)
        body = {"assistant_id": self.assistant_id, "thread": {"messages": prompt}}
        status, _, made = await self.post(RUNS, body)
        assert status == 200, f"{status} {made!r}"
        run = json.loads(made)
        path = f"/v1/threads/{run['thread_id']}"

        async with asyncio.timeout(QUIET_S):
            while run["status"] in ("queued", "in_progress"):
                await passed(POLL_S)
                run = await self.get(f"{path}/runs/{run['id']}")

        self._check_run(run, self._means(fault, is_relayed=False))
        status, _, _ = await self.post(f"{path}/messages", {"role": "user", "content": "And now?"})
        assert status == 200, "the thread is not free"

    async def run_to_its_end(self, fault: Fault, **fields: Any) -> dict[str, Any]:
        """A streamed run, whatever comes of it."""
        prompt = self._prompt(fault)
        body = {"assistant_id": self.assistant_id, "stream": True, "thread": {"messages": prompt}}
        run, _ = await self._streamed(RUNS, body | fields)
        return run

    async def chat_to_its_end(self, fault: Fault, **fields: Any) -> None:
        """A plain chat, whatever comes of it, in OpenAI's shape."""
        status, _, answered = await self.post(CHAT, self._asked(fault, False, **fields))
        if self.provider != "openai" or status != 200:
            check_response("POST", CHAT, status, answered)

    async def leave_a_chat(self, fault: Fault) -> None:
        """A streamed chat whose caller goes away after the first words."""
        async with self._session.post(self._url + CHAT, json=self._asked(fault, True)) as response:
            assert response.status == 200
            assert await response.content.readany()

    async def _streamed(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The run as its stream leaves it, and its thread."""
        status, _, answered = await self.post(path, body)
        assert status == 200, f"{path}: {status} {answered!r}"
        events: list[Any] = check_run_stream(answered)
        run = [data for name, data in events if data != "[DONE]" and name.startswith("thread.run.")]
        assert run[-1]["object"] == "thread.run"
        return run[-1], run[-1]["thread_id"]

    def _check_run(self, run: dict[str, Any], means: Means | None) -> None:
        error = run["last_error"]
        shown = run["status"], error and error["code"]
        assert shown == (("failed", means.run_code) if means else ("completed", None)), (
            f"{shown} {error}"
        )
        assert error is None or self.provider in error["message"], error
        assert means or run["usage"], "an answer without usage"
        check_counts(run["usage"])

    def _asked(self, fault: Fault, is_stream: bool, **fields: Any) -> dict[str, Any]:
        prompt = self._prompt(fault)
        return {"model": self.model, "messages": prompt, "stream": is_stream, **fields}

    async def plain_chat(self, fault: Fault, **fields: Any) -> None:
        """A plain chat completion that meets the fault."""
        status, headers, answered = await self.post(CHAT, self._asked(fault, False, **fields))

        is_relayed = self.provider == "openai"
        means = self._means(fault, is_relayed=is_relayed)
        said = json.loads(answered)
        if means is None:
            assert status == 200, f"{status} {said}"
            if not is_relayed:  # which passes on what the vendor says
                check_response("POST", CHAT, status, answered)
                check_counts(said.get("usage"))
            return
        self._check_error(status, answered, means)
        if fault.retry_after is not None:
            assert headers["retry-after"] == fault.retry_after, headers["retry-after"]

    async def _streamed_chat(self, fault: Fault) -> None:
        """A streamed one: an error has a status until the first words are out, then a frame."""
        status, _, answered = await self.post(CHAT, self._asked(fault, True))

        means = self._means(fault, is_relayed=False)
        if means is None:
            assert status == 200, f"{status} {answered!r}"
            assert answered.endswith(DONE), "no end"
            if self.provider != "openai":  # which passes on what the vendor says
                check_chat_stream(answered)
        elif status == 200:
            assert DONE not in answered, "an end after an error"
            self._check_error(means.status, answered.split(b"data: ")[-1], means)
        else:
            self._check_error(status, answered, means)

    def _check_error(self, status: int, answered: bytes, means: Means) -> None:
        check_response("POST", CHAT, status, answered)
        said = json.loads(answered)
        assert (status, said["error"]["type"]) == means[:2], f"{status} {said}"
        assert self.provider in said["error"]["message"], said

    def _means(self, fault: Fault, *, is_relayed: bool) -> Means | None:
        if self.mode == "once":
            return None
        at = wire(self.provider, is_relayed=is_relayed)
        return fault.means(at) if callable(fault.means) else fault.means
