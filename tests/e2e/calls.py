"""Calls through a running proxy, held to OpenAI's shapes."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.schema import check_response
from tests.conformance.stream import check_run_stream

Events = list[tuple[str, Any]]
JSON_TYPE: Final = "application/json"
CHAT: Final = "/v1/chat/completions"
MARK: Final = "that-nobody-may-see"
"""Stands in every key that a test gives a provider, and may stand nowhere else."""


class Calls:
    """A proxy, and calls through it; `status` and `headers` are those of the last answer."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        models: Mapping[str, str] = TYPICAL_MODELS,
    ) -> None:
        self.models = models
        self.headers: Mapping[str, str] = {}
        self.status = 0
        self._url, self._session = url, session

    def model(self, provider: str) -> str:
        """The provider's model, as callers write it."""
        return f"fc:{provider}/{self.models[provider]}"

    async def post(self, path: str, body: dict[str, Any], *, status: int = 200) -> bytes:
        """The answer's bytes, held to OpenAI's shape; streams are for the caller to check."""
        raw = await self.anyhow(path, body)
        assert self.status == status, f"{self.status} {raw!r} {self._hint()}"
        return raw

    async def anyhow(self, path: str, body: dict[str, Any]) -> bytes:
        """The answer's bytes, whatever its status is."""
        async with self._session.post(self._url + path, json=body) as response:
            raw = await response.read()
        assert MARK.encode() not in raw + repr(response.headers).encode()
        self.headers, self.status = response.headers, response.status
        if response.content_type == JSON_TYPE:
            check_response("POST", path, response.status, raw)
        return raw

    async def call(self, path: str, body: dict[str, Any], *, status: int = 200) -> Any:
        """The answer, parsed."""
        return json.loads(await self.post(path, body, status=status))

    async def get(self, path: str) -> Any:
        """What stands there."""
        async with self._session.get(self._url + path) as response:
            raw = await response.read()
        assert response.status == 200, f"{response.status} {raw!r}"
        return json.loads(raw)

    async def assistant(self, provider: str, **fields: Any) -> str:
        """The id of a new assistant on the provider's model."""
        made = await self.call("/v1/assistants", {"model": self.model(provider)} | fields)
        return str(made["id"])

    async def run(self, provider: str, **fields: Any) -> Events:
        """The events of a streamed run on a new thread, held to their order."""
        message = {"role": "user", "content": "How is the weather in Bern?"}
        body = {
            "assistant_id": await self.assistant(provider),
            "thread": {"messages": [message]},
            "stream": True,
        }
        return check_run_stream(await self.post("/v1/threads/runs", body | fields))

    async def again(self, thread_id: str, **fields: Any) -> Events:
        """The events of one more run on a thread."""
        path = f"/v1/threads/{thread_id}/runs"
        return check_run_stream(await self.post(path, {"stream": True} | fields))

    async def submit(self, run: dict[str, Any], output: str) -> Events:
        """The events after the same output for every call that the run waits for."""
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs"
        outputs = [{"tool_call_id": call["id"], "output": output} for call in calls_of(run)]
        return check_run_stream(await self.post(path, {"stream": True, "tool_outputs": outputs}))

    def _hint(self) -> str:
        """What a failure is told with."""
        return ""


def model_of(provider: str) -> str:
    return f"fc:{provider}/{TYPICAL_MODELS[provider]}"


def calls_of(run: dict[str, Any]) -> list[Any]:
    """The calls a run waits for."""
    assert run["status"] == "requires_action", run["last_error"]
    calls: list[Any] = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return calls


def last_run(events: Events) -> dict[str, Any]:
    """The run as the stream leaves it."""
    run: dict[str, Any] = [data for name, data in events if name.startswith("thread.run.")][-1]
    assert run["object"] == "thread.run"
    return run
