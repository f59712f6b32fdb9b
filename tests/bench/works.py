"""What is measured: each work is done by the contenders in turn, again and again, in one run."""

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.bench import load, upstream
from tests.bench.processes import Contender, free_port, other_cpus, started

TOKEN: Final = "ko_bench000000000000000000000000000000000000"
CHAT: Final = "/v1/chat/completions"
RUNS: Final = "/v1/threads/runs"
CUSTOMER: Final = "customer_1"
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

MESSAGES: Final = [{"role": "user", "content": "How is the weather in Bern? " * 8}]


@dataclass
class Figure:
    """What was measured of one contender, once per round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    rounds: int
    requests: int
    callers: int
    streams: int
    seconds: float


FULL: Final = Scale(rounds=5, requests=2_000, callers=32, streams=600, seconds=8.0)
QUICK: Final = Scale(rounds=2, requests=200, callers=16, streams=50, seconds=1.0)


class Field:
    """The far end and the contenders, all running."""

    def __init__(self, home: Path, scale: Scale, stack: ExitStack) -> None:
        self.scale = scale
        cpus = other_cpus()
        self.upstream = stack.enter_context(
            started(
                "upstream", port := free_port(), "-m", "tests.bench.upstream", str(port), cpus=cpus
            )
        )
        url = f"http://127.0.0.1:{self.upstream.port}{CHAT}"
        port = free_port()
        self.relay = stack.enter_context(
            started("bare relay", port, "-m", "tests.bench.relay", str(port), url)
        )
        port = free_port()
        self.ideal = stack.enter_context(
            started(
                "ideal engine",
                port,
                "-m",
                "tests.bench.ideal",
                str(port),
                url,
                str(home / "ideal.db"),
            )
        )
        self.ringside = stack.enter_context(ringside(home / "ringside", self.upstream.port))
        self.assistants = {
            model: make_assistant(self.ringside, model) for model in ("gpt-4o-mini", "short")
        }


@contextmanager
def ringside(home: Path, upstream_port: int) -> Iterator[Contender]:
    """A proxy with everything on."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = home / "ringside.yaml"
    config.write_text(
        CONFIG.format(
            port=port,
            admin=free_port(),
            store=home / "ringside.db",
            token=TOKEN,
            upstream=upstream_port,
        )
    )
    command = ("-m", "ringside_proxy", "serve", "-c", str(config))
    with started("ringside", port, *command) as contender:
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


def chat(model: str, *, stream: bool) -> bytes:
    """A chat completion."""
    body: dict[str, Any] = {"model": model, "messages": MESSAGES, "user": CUSTOMER}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return load.post(CHAT, json.dumps(body, separators=(",", ":")).encode(), TOKEN)


def run(model: str, assistant: str) -> bytes:
    """A thread and a run on it, streamed."""
    body = {
        "assistant_id": assistant,
        "model": model,
        "user": CUSTOMER,
        "stream": True,
        "thread": {"messages": MESSAGES},
    }
    return load.post(RUNS, json.dumps(body, separators=(",", ":")).encode(), TOKEN)


Work = Callable[[Contender], Awaitable[float]]


async def cpu_us(contender: Contender, request: bytes, scale: Scale) -> float:
    """CPU microseconds that a request costs the contender."""
    await load.closed_loop(contender.port, request, scale.callers, scale.callers)
    before_s = contender.cpu_s()
    took_s = await load.closed_loop(contender.port, request, scale.requests, scale.callers)
    return (contender.cpu_s() - before_s) * 10**6 / len(took_s)


async def in_turn(
    rounds: int, works: dict[str, Callable[[], Awaitable[float]]]
) -> dict[str, Figure]:
    """Every work once per round, the rounds one after the other."""
    figures = {name: Figure() for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            figures[name].values.append(await work())
    return figures


async def plain_chat(on: Field) -> dict[str, Figure]:
    """CPU µs per plain chat completion."""
    return await in_turn(
        on.scale.rounds,
        {
            "relay": lambda: cpu_us(on.relay, chat("gpt-4o-mini", stream=False), on.scale),
            "ringside": lambda: cpu_us(
                on.ringside, chat("fc:openai/gpt-4o-mini", stream=False), on.scale
            ),
        },
    )


def per_chunk(long: Figure, short: Figure) -> Figure:
    """What one more chunk costs: the difference between a long and a short stream."""
    more = upstream.CHUNKS - upstream.FEW_CHUNKS
    return Figure([(a - b) / more for a, b in zip(long.values, short.values, strict=True)])


async def streamed(on: Field) -> dict[str, Figure]:
    """CPU µs per chunk, of chats and of runs, and runs per CPU second."""
    runs = {name: run(f"fc:openai/{name}", made) for name, made in on.assistants.items()}
    figures = await in_turn(
        on.scale.rounds,
        {
            "relay long": lambda: cpu_us(on.relay, chat("gpt-4o-mini", stream=True), on.scale),
            "relay short": lambda: cpu_us(on.relay, chat("short", stream=True), on.scale),
            "chat long": lambda: cpu_us(
                on.ringside, chat("fc:openai/gpt-4o-mini", stream=True), on.scale
            ),
            "chat short": lambda: cpu_us(
                on.ringside, chat("fc:openai/short", stream=True), on.scale
            ),
            "run long": lambda: cpu_us(on.ringside, runs["gpt-4o-mini"], on.scale),
            "run short": lambda: cpu_us(on.ringside, runs["short"], on.scale),
            "ideal short": lambda: cpu_us(on.ideal, run("short", ""), on.scale),
        },
    )
    return figures | {
        "relay chunk": per_chunk(figures["relay long"], figures["relay short"]),
        "chat chunk": per_chunk(figures["chat long"], figures["chat short"]),
        "run chunk": per_chunk(figures["run long"], figures["run short"]),
    }


async def latency_ms(contender: Contender, request: bytes, scale: Scale) -> tuple[float, float]:
    """p50 and p99 at 200 requests a second, in milliseconds."""
    took_s = await load.open_loop(
        contender.port, request, per_s=200, seconds=scale.seconds, callers=64
    )
    ordered = sorted(took_s)
    return 1000 * statistics.median(ordered), 1000 * ordered[int(len(ordered) * 0.99)]


async def added_latency(on: Field) -> dict[str, Figure]:
    """Milliseconds at 200 requests a second: of the relay, and what Ringside adds to them."""
    figures = {name: Figure() for name in ("p50", "p99", "relay p50", "relay p99")}
    for _ in range(on.scale.rounds):
        bare = await latency_ms(on.relay, chat("gpt-4o-mini", stream=False), on.scale)
        ours = await latency_ms(on.ringside, chat("fc:openai/gpt-4o-mini", stream=False), on.scale)
        for name, value in zip(figures, (ours[0] - bare[0], ours[1] - bare[1], *bare), strict=True):
            figures[name].values.append(value)
    return figures


async def paced(on: Field) -> dict[str, Figure]:
    """How late the chunks of many open streams are, p50 and p99 in milliseconds."""
    chunks, per_s = round(on.scale.seconds * 25), 25
    request = chat(f"fc:openai/paced-{chunks}-{per_s}", stream=True)
    streams = await load.paced_streams(on.ringside.port, request, on.scale.streams)
    late_ms = sorted(1000 * late for stream in streams for late in stream)
    starved = sum(len(stream) < chunks for stream in streams)
    return {
        "p50": Figure([statistics.median(late_ms)]),
        "p99": Figure([late_ms[int(len(late_ms) * 0.99)]]),
        "starved": Figure([float(starved)]),
    }


async def growth(on: Field) -> dict[str, Figure]:
    """CPU µs of a run on a thread of many messages and on one of few, ten of them sent."""
    assistant = on.assistants["short"]
    sizes = {"few": 100, "many": 4_900 if on.scale is FULL else 400}
    paths = {}
    for name, size in sizes.items():
        thread = api(on.ringside, "POST", "/v1/threads", {"messages": MESSAGES})["id"]
        message = {"role": "user", "content": "word " * 20}
        for _ in range(0, size - 1, 32):
            many = {"messages": [message] * min(32, size - 1)}
            del many
        paths[name] = (thread, message, size)
    requests = {}
    for name, (thread, message, size) in paths.items():
        await fill(on.ringside, thread, message, size - 1)
        body = {
            "assistant_id": assistant,
            "stream": True,
            "truncation_strategy": {"type": "last_messages", "last_messages": 10},
        }
        requests[name] = load.post(f"/v1/threads/{thread}/runs", json.dumps(body).encode(), TOKEN)
    few_requests = Scale(on.scale.rounds, 40, 1, 0, 0)
    return await in_turn(
        on.scale.rounds,
        {
            name: lambda request=request: cpu_us(on.ringside, request, few_requests)
            for name, request in requests.items()
        },
    )


async def fill(contender: Contender, thread: str, message: dict[str, Any], count: int) -> None:
    """Add messages to a thread."""
    body = json.dumps(message).encode()
    request = load.post(f"/v1/threads/{thread}/messages", body, TOKEN)
    await load.closed_loop(contender.port, request, count, 16)


async def start_up(home: Path, upstream_port: int, rounds: int) -> dict[str, Figure]:
    """Seconds from the command to the first 200, and the resident memory of an idle proxy in MB."""
    loop = asyncio.get_running_loop()
    figures = {"seconds": Figure(), "idle MB": Figure()}
    for number in range(rounds):
        began_s = loop.time()
        with ringside(home / f"start-{number}", upstream_port) as contender:
            await load.closed_loop(
                contender.port, chat("fc:openai/gpt-4o-mini", stream=False), 1, 1
            )
            figures["seconds"].values.append(loop.time() - began_s)
            figures["idle MB"].values.append(contender.rss_bytes() / 10**6)
    return figures


async def memory(home: Path, upstream_port: int, requests: int) -> dict[str, Figure]:
    """MB that many requests leave behind."""
    request = chat("fc:openai/gpt-4o-mini", stream=False)
    with ringside(home / "memory", upstream_port) as contender:
        await load.closed_loop(contender.port, request, 100, 32)
        before = contender.rss_bytes()
        await load.closed_loop(contender.port, request, requests, 32)
        return {"grown MB": Figure([(contender.rss_bytes() - before) / 10**6])}
