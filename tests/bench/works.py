"""The hot paths: each work is done by the contenders in turn, again and again, in one run."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Final

from tests.bench import load, peers, upstream
from tests.bench.field import MODEL, SHORT, TOKEN, Field, chat, run
from tests.bench.processes import Contender
from tests.bench.scale import Figure, percentile

AFTER_S: Final = 0.02
"""How long a caller of a run that is not streamed waits between two looks at it."""
LATENCY_S: Final = 1.0
RUN_ID: Final = b'"id":"run_'
THREAD_ID: Final = b'"thread_id":"thread_'
ID_BYTES: Final = 24
COMPLETED: Final = b'"status":"completed"'


@dataclass
class Shares:
    """How busy whose core was, as shares of the time that passed."""

    contender: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    strangers: list[float] = field(default_factory=list)
    """How long the contender could have run, but somebody outside of the bench had its core."""


Asking = Callable[[], Awaitable[int]]
"""Does some work; gives how many units it was."""


async def cpu_us(on: Field, contender: Contender, work: Asking, shares: Shares) -> float:
    """CPU microseconds that a unit of `work` costs the contender."""
    began_s, began_cpu_s = time.perf_counter(), contender.cpu_s()
    waited_s = contender.waited_s()
    others_s = on.upstream.cpu_s() + time.process_time()
    units = await work()
    took_cpu_s, took_s = contender.cpu_s() - began_cpu_s, time.perf_counter() - began_s
    others_s = on.upstream.cpu_s() + time.process_time() - others_s
    shares.contender.append(took_cpu_s / took_s)
    shares.others.append(others_s / took_s)
    shares.strangers.append((contender.waited_s() - waited_s) / took_s)
    return took_cpu_s * 10**6 / units


@dataclass(frozen=True)
class Turn:
    """What a contender does when it is its turn."""

    contender: Contender
    request: bytes
    requests: int
    callers: int


async def in_turn(
    on: Field, turns: dict[str, Turn], rounds: int | None = None
) -> tuple[dict[str, Figure], dict[str, Shares]]:
    """Every turn once per round, the rounds one after the other; before them once unmeasured."""
    figures = {name: Figure() for name in turns}
    shares = {name: Shares() for name in turns}
    with ExitStack() as stack:
        callers = {
            name: stack.enter_context(closing(load.Callers(turn.contender.port, turn.callers)))
            for name, turn in turns.items()
        }
        for number in range((rounds or on.scale.rounds) + 1):
            for name, turn in turns.items():

                async def work(name: str = name, turn: Turn = turn) -> int:
                    return len(await callers[name].ask(turn.request, turn.requests))

                if number == 0:
                    await callers[name].ask(turn.request, turn.callers)
                else:
                    cost_us = await cpu_us(on, turn.contender, work, shares[name])
                    figures[name].values.append(cost_us)
    return figures, shares


def _turn(on: Field, contender: Contender, request: bytes) -> Turn:
    return Turn(contender, request, on.scale.requests, on.scale.callers)


async def plain_chat(on: Field) -> tuple[dict[str, Figure], dict[str, Shares]]:
    """CPU µs per plain chat completion, of everybody."""
    turns = {
        "relay": _turn(on, on.relay, chat(MODEL)),
        "ringside": _turn(on, on.ringside, chat(f"fc:openai/{MODEL}")),
    }
    with ExitStack() as stack:  # they go again: what they do in the background would disturb
        for peer in peers.installed():
            contender = stack.enter_context(peer.started(on.home, on.url, TOKEN))
            request = chat(MODEL, *peer.headers(on.url))
            requests = min(peer.requests, on.scale.requests)
            turns[peer.name] = Turn(contender, request, requests, on.scale.callers)
        return await in_turn(on, turns)


async def headroom(on: Field) -> dict[str, float]:
    """Requests a second of the far end without anybody between, and through the relay."""
    rates = {}
    for name, contender in (("far end", on.upstream), ("relay", on.relay)):
        with closing(load.Callers(contender.port, on.scale.callers)) as callers:
            await callers.ask(chat(MODEL), on.scale.callers)
            began_s = time.perf_counter()
            count = len(await callers.ask(chat(MODEL), 10 * on.scale.requests))
            rates[name] = count / (time.perf_counter() - began_s)
    return rates


async def streamed(on: Field) -> dict[str, Figure]:
    """CPU µs per chunk of answers that come in one burst, of chats and of runs; and per run."""
    runs = {name: run(f"fc:openai/{name}", made) for name, made in on.assistants.items()}
    asked: dict[str, tuple[Contender, bytes]] = {
        "relay long": (on.relay, chat(MODEL, stream=True)),
        "relay short": (on.relay, chat(SHORT, stream=True)),
        "chat long": (on.ringside, chat(f"fc:openai/{MODEL}", stream=True)),
        "chat short": (on.ringside, chat(f"fc:openai/{SHORT}", stream=True)),
        "run long": (on.ringside, runs[MODEL]),
        "run short": (on.ringside, runs[SHORT]),
        "ideal long": (on.ideal, run(MODEL, "")),
        "ideal short": (on.ideal, run(SHORT, "")),
    }
    figures, _ = await in_turn(on, {name: _turn(on, *asking) for name, asking in asked.items()})
    more = upstream.CHUNKS - upstream.FEW_CHUNKS
    for name in ("relay", "chat", "run", "ideal"):
        # What one more chunk costs: the difference between a long and a short stream.
        figures[f"{name} chunk"] = figures[f"{name} long"].less(figures[f"{name} short"], more)
    return figures


async def plain_runs(on: Field) -> Figure:
    """CPU µs of a run that is not streamed: made, then looked at until it is completed."""
    request = run(f"fc:openai/{SHORT}", on.assistants[SHORT], stream=False)
    figure, port = Figure(), on.ringside.port

    async def work() -> int:
        left, done = on.scale.requests, 0

        async def call() -> None:
            nonlocal left, done
            connection = await load.connect(port)
            while left > 0:
                left -= 1
                await connection.ask(request)
                look = load.get(_address(connection.answer), TOKEN)
                while COMPLETED not in connection.answer:
                    await asyncio.sleep(AFTER_S)
                    await connection.ask(look)
                done += 1
            connection.close()

        await asyncio.gather(*(call() for _ in range(on.scale.callers)))
        return done

    await work()
    for _ in range(on.scale.rounds):
        figure.values.append(await cpu_us(on, on.ringside, work, Shares()))
    return figure


def _address(answer: bytes) -> str:
    """Where the run that was answered with is found."""

    def after(mark: bytes) -> str:
        start = answer.index(mark) + len(mark)
        return answer[start : start + ID_BYTES].decode()

    return f"/v1/threads/thread_{after(THREAD_ID)}/runs/run_{after(RUN_ID)}"


async def added_latency(on: Field) -> dict[str, Figure]:
    """Milliseconds at 200 requests a second, p50 and p99 of each round, of the relay and of ours."""
    asked = {
        "relay": (on.relay, chat(MODEL)),
        "ringside": (on.ringside, chat(f"fc:openai/{MODEL}")),
    }
    shares = {"p50": 0.5, "p99": 0.99}
    figures = {f"{name} {share}": Figure() for name in asked for share in shares}
    for number in range(on.scale.rounds):
        for name in asked if number % 2 else reversed(asked):
            contender, request = asked[name]
            took_s = await load.open_loop(
                contender.port, request, per_s=200, seconds=LATENCY_S, callers=32
            )
            for share, part in shares.items():
                figures[f"{name} {share}"].values.append(1000 * percentile(took_s, part))
    return figures


@dataclass(frozen=True)
class Paced:
    """Many streams, open together for some seconds."""

    p50_ms: float
    p99_ms: float
    starved: int
    """Streams that did not get every chunk."""
    chunk_us: float
    """CPU of the contender per chunk."""
    others: float
    """How busy the core of callers and far end was."""
    rss_bytes: int
    """The most that the contender had."""


async def paced(
    on: Field, contender: Contender, streams: int, per_s: int, request: Callable[[str], bytes]
) -> Paced:
    """How late the chunks are, and what they cost."""
    chunks = round(on.scale.seconds * per_s)
    asked, shares, peak_bytes = request(f"paced-{chunks}-{per_s}"), Shares(), contender.rss_bytes()
    late: list[list[float]] = []

    async def work() -> int:
        late.extend(await load.paced_streams(contender.port, asked, streams, within_s=1.0))
        return sum(map(len, late))

    async def watch() -> None:
        nonlocal peak_bytes
        while True:
            peak_bytes = max(peak_bytes, contender.rss_bytes())
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    try:
        chunk_us = await cpu_us(on, contender, work, shares)
    finally:
        watching.cancel()
    late_ms = [1000 * late_s for stream in late for late_s in stream]
    return Paced(
        p50_ms=statistics.median(late_ms),
        p99_ms=percentile(late_ms, 0.99),
        starved=sum(len(stream) < chunks for stream in late),
        chunk_us=chunk_us,
        others=shares.others[0],
        rss_bytes=peak_bytes,
    )


def relayed(model: str) -> bytes:
    """A streamed chat, as the far end wants it."""
    return chat(model, stream=True)


def proxied(model: str) -> bytes:
    """A streamed chat, as Ringside wants it."""
    return chat(f"fc:openai/{model}", stream=True)


def on_a_thread(on: Field) -> Callable[[str], bytes]:
    """A streamed run on a new thread."""
    return lambda model: run(f"fc:openai/{model}", on.assistants[SHORT])


async def paced_chunks(on: Field) -> dict[str, Figure]:
    """CPU µs per chunk of streams at a model's pace, of the relay, of chats and of runs."""
    streams, per_s = on.scale.streams[0]
    figures = {"relay": Figure(), "chat": Figure(), "run": Figure()}
    asked = {
        "relay": (on.relay, relayed),
        "chat": (on.ringside, proxied),
        "run": (on.ringside, on_a_thread(on)),
    }
    for _ in range(3):
        for name, (contender, request) in asked.items():
            done = await paced(on, contender, streams, per_s, request)
            figures[name].values.append(done.chunk_us)
    return figures
