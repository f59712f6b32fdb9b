"""One proxy process with all nineteen providers, and calls through it."""

import json
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import yaml

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.schema import check_response
from tests.conformance.stream import check_run_stream
from tests.e2e.ringside import Ringside, serving
from tests.vendors.far_end import FarEnd, Said, far_end, key_of
from tests.vendors.recorded import recorded

Events = list[tuple[str, Any]]
JSON_TYPE: Final = "application/json"
CHAT: Final = "/v1/chat/completions"
MARK: Final = "that-nobody-may-see"
"""Stands in every provider's key, and may stand nowhere else."""
CAN_CALL: Final = [name for name in TYPICAL_MODELS if name != "replicate"]
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Proxy:
    """A proxy with every provider, and calls through it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, far: FarEnd) -> None:
        self.far = far
        self.may_be_refused = False
        self.headers: Mapping[str, str] = {}
        self.status = 0
        self._url, self._session = url, session

    def answers(self, provider: str, *answers: str | Said) -> None:
        """What the provider says from now on, in order; a name is a recorded answer."""
        self.far.queues[provider] = deque(
            recorded(provider, answer) if isinstance(answer, str) else answer for answer in answers
        )

    def sent(self, provider: str) -> list[Any]:
        """The bodies the provider has received."""
        return [received.asked.body for received in self.far.received[provider]]

    async def post(self, path: str, body: dict[str, Any], *, status: int = 200) -> bytes:
        """The answer's bytes, held to OpenAI's shape; streams are for the caller to check."""
        raw = await self.anyhow(path, body)
        assert self.status == status, f"{self.status} {raw!r} {self.far.refused}"
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

    async def assistant(self, provider: str, **fields: Any) -> str:
        """The id of a new assistant on the provider's typical model."""
        made = await self.call("/v1/assistants", {"model": model_of(provider)} | fields)
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


def nineteen_yaml(far_url: str, admin_port: int) -> str:
    """A configuration with every provider, each at its own path of the far end."""
    providers = {
        name: {"api_key": key_of(name), "base_url": f"{far_url}/{name}", "max_retries": 0}
        for name in TYPICAL_MODELS
    }
    return CONFIG + yaml.safe_dump({"admin": {"port": admin_port}, "providers": providers})


CONFIG: Final = """\
server: {{port: 0}}
store: {{url: "sqlite:///{store}"}}
auth: {{tokens: [{{name: app, token: {token}}}]}}
images: {{allow_private: [127.0.0.1]}}
"""


class Nineteen:
    """A proxy process, and the vendors that it calls."""

    def __init__(self, ringside: Ringside, far: FarEnd) -> None:
        self.ringside, self.far = ringside, far


@contextmanager
def nineteen(home: Path) -> Iterator[Nineteen]:
    """Runs both until the block ends; no key of a provider may stand in the metrics or the log."""
    port = _free_port()
    with far_end() as far, serving(home, nineteen_yaml(far.url, port)) as ringside:
        yield Nineteen(ringside, far)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "ringside_upstream_requests_total" in metrics.text
        assert MARK not in metrics.text + ringside.log.read_text()


def _free_port() -> int:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        return int(given.getsockname()[1])
