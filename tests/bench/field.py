"""Who stands on the field: the far end, the contenders, and what is asked of them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.bench import load
from tests.bench.processes import OTHER_CPUS, Contender, free_port, module, started
from tests.bench.scale import Scale

TOKEN: Final = "ko_bench000000000000000000000000000000000000"
CHAT: Final = "/v1/chat/completions"
RUNS: Final = "/v1/threads/runs"
CUSTOMER: Final = "customer_1"
MODEL: Final = "gpt-4o-mini"
SHORT: Final = "short"
"""A model whose streamed answers are short."""
CONFIG: Final = """\
server: {{host: 127.0.0.1, port: {port}}}
admin: {{port: {admin}}}
store: {{url: "sqlite:///{store}", synchronous: full}}
auth: {{tokens: [{{name: bench, token: {token}}}]}}
providers: {{openai: {{api_key: k, base_url: "http://127.0.0.1:{upstream}/v1"}}}}
budgets: {{default_monthly_usd: 1000000}}
prices:
  "fc:openai/short*": {{input: 0.15, output: 0.6}}
  "fc:openai/paced*": {{input: 0.15, output: 0.6}}
log: {{level: warning}}
"""
"""Everything on: a token, a customer under a cap, holds and bookings, every commit durable."""
WEBHOOK: Final = """\
webhooks:
  endpoints: [{{url: "http://127.0.0.1:{port}/", events: [run.completed], secret: {secret}}}]
  allow_private: [127.0.0.1]
"""
SECRET: Final = "whsec_bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU="

MESSAGES: Final = [{"role": "user", "content": "How is the weather in Bern? " * 8}]


class Field:
    """The far end and the contenders, all running."""

    def __init__(self, home: Path, scale: Scale, stack: ExitStack) -> None:
        self.scale = scale
        self.home = home
        port = free_port()
        command = module("tests.bench.upstream", str(port))
        self.upstream = stack.enter_context(started("far end", port, command, cpus=OTHER_CPUS))
        self.url = f"http://127.0.0.1:{port}"
        chat_url = self.url + CHAT
        self.relay = stack.enter_context(_contender("relay", chat_url))
        self.ideal = stack.enter_context(_contender("ideal", chat_url, str(home / "ideal.db")))
        self.ringside = stack.enter_context(ringside(home / "ringside", port))
        self.assistants = {model: make_assistant(self.ringside, model) for model in (MODEL, SHORT)}


@contextmanager
def _contender(name: str, *arguments: str) -> Iterator[Contender]:
    port = free_port()
    command = module(f"tests.bench.{name}", str(port), *arguments)
    with started(name, port, command) as contender:
        yield contender


@contextmanager
def ringside(home: Path, upstream_port: int, more: str = "") -> Iterator[Contender]:
    """A proxy with everything on, its store new; `more` is further configuration."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    port = free_port()
    config = home / "ringside.yaml"
    text = CONFIG.format(
        port=port,
        admin=free_port(),
        store=home / "data" / "ringside.db",
        token=TOKEN,
        upstream=upstream_port,
    )
    config.write_text(text + more)
    command = module("ringside_proxy", "serve", "-c", str(config))
    with started("ringside", port, command) as contender:
        yield contender


def make_assistant(contender: Contender, model: str) -> str:
    """The id of a new assistant."""
    answer = api(contender, "POST", "/v1/assistants", {"model": f"fc:openai/{model}"})
    return str(answer["id"])


def api(contender: Contender, method: str, path: str, body: Any = None) -> Any:
    """One call that is not measured."""
    answer = httpx.request(
        method,
        f"http://127.0.0.1:{contender.port}{path}",
        json=body,
        headers={"authorization": f"Bearer {TOKEN}"},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.json()


def chat(model: str, *headers: str, stream: bool = False) -> bytes:
    """A chat completion."""
    body: dict[str, Any] = {"model": model, "messages": MESSAGES, "user": CUSTOMER}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return load.post(CHAT, _json(body), TOKEN, *headers)


def run(model: str, assistant: str, *, stream: bool = True) -> bytes:
    """A thread and a run on it."""
    body = {
        "assistant_id": assistant,
        "model": model,
        "user": CUSTOMER,
        "stream": stream,
        "thread": {"messages": MESSAGES},
    }
    return load.post(RUNS, _json(body), TOKEN)


def _json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
