"""Which figures make which lines of the table, and the goals of the project."""

from typing import Final

from tests.bench.scale import Figure, Scale
from tests.bench.table import Line, number, spread
from tests.bench.works import Paced, Shares

PEER_GOALS: Final = {"LiteLLM": 1 / 40, "Portkey": 1 / 4}
CORE: Final = 100


def chats(figures: dict[str, Figure]) -> list[Line]:
    """Plain chats: against the relay, and against who else is there."""
    relay, ours = figures["relay"], figures["ringside"]
    ratio = ours.to(relay)
    rows = [
        Line(
            "plain chat completion, everything on, CPU",
            ratio.median,
            "x bare relay",
            2.0,
            f"{number(relay.median)} and {number(ours.median)} µs, {spread(ratio)}",
        )
    ]
    for name, goal in PEER_GOALS.items():
        if name in figures:
            ratio = ours.to(figures[name])
            note = f"{number(figures[name].median)} µs, {spread(figures[name])}"
            rows.append(Line(f"the same against {name}", ratio.median, "x", goal, note))
    return rows


def bursts(figures: dict[str, Figure], plain_run: Figure) -> list[Line]:
    """Streams that come in one burst, and whole runs."""
    relay, chat, run = (figures[f"{name} chunk"] for name in ("relay", "chat", "run"))
    ideal, whole = figures["ideal short"], figures["run short"]
    ratio = ideal.to(whole)
    us = f"{number(relay.median)} and {{}} µs, {{}}"
    return [
        Line(
            "streamed chat in one burst, CPU per chunk",
            chat.median / relay.median,
            "x bare relay",
            1.5,
            us.format(number(chat.median), spread(relay, chat)),
        ),
        Line(
            "streamed run in one burst, CPU per delta",
            run.median / relay.median,
            "x bare relay",
            4.0,
            us.format(number(run.median), spread(relay, run)),
        ),
        Line(
            "run lifecycle, streamed, durable, runs per CPU second",
            ratio.median,
            "x ideal engine",
            0.5,
            f"{number(ideal.median)} and {number(whole.median)} µs a run, {spread(ratio)}",
            at_least=True,
        ),
        Line(
            "run lifecycle, looked at until it is completed, CPU",
            plain_run.median,
            "µs",
            note=spread(plain_run),
        ),
    ]


def paced_chunks(figures: dict[str, Figure], scale: Scale) -> list[Line]:
    """What a chunk costs that comes by itself."""
    relay, (streams, per_s) = figures["relay"], scale.streams[0]
    works = (("chat", "streamed chat", "chunk", 1.5), ("run", "streamed run", "delta", 4.0))
    rows = []
    for name, work, unit, goal in works:
        ratio = figures[name].to(relay)
        rows.append(
            Line(
                f"{work} at a model's pace, CPU per {unit}",
                ratio.median,
                "x bare relay",
                goal,
                f"{number(relay.median)} and {number(figures[name].median)} µs, {spread(ratio)}; "
                f"{streams} streams of {per_s} chunks/s",
            )
        )
    return rows


def latency(figures: dict[str, Figure]) -> list[Line]:
    """What is added to the time that a caller waits: a second of the one, a second of the other."""
    rows = []
    for share, goal in (("p50", 1.0), ("p99", 5.0)):
        bare, ours = (figures[f"{name} {share}"] for name in ("relay", "ringside"))
        note = f"{bare.median:.2f} and {ours.median:.2f} ms, {spread(bare, ours)}"
        work = f"added latency at 200 requests/s, {share}"
        added = ours.less(bare).median
        rows.append(Line(work, added, "ms over bare relay", goal, note, by_clock=True))
    return rows


def paced(streams: int, per_s: int, done: dict[str, Paced], *, is_aimed: bool) -> list[Line]:
    """How late the chunks of many open streams are."""
    relay, ours = done["relay"], done["ringside"]
    work = f"{streams:,} streams at {per_s} chunks/s"
    note = (
        f"p50 {ours.p50_ms:.1f} ms; relay {relay.p50_ms:.1f} and {relay.p99_ms:.1f} ms; "
        f"callers' core {CORE * ours.others:.0f} % busy"
    )
    goals = (50.0, 0.0) if is_aimed else (None, None)
    rows = [Line(f"{work}, lag p99", ours.p99_ms, "ms", goals[0], note, by_clock=True)]
    if is_aimed or ours.starved:
        rows.append(Line(f"{work}, starved", ours.starved, "streams", goals[1]))
    return rows


def growth(figures: dict[int, Figure]) -> list[Line]:
    """Runs on threads of all sizes, against the one of a hundred messages, or the smallest."""
    base = 100 if 100 in figures else min(figures)
    most = max(figures)
    ratio = figures[most].to(figures[base])
    each = ", ".join(f"{size:,}: {number(figure.median)}" for size, figure in figures.items())
    return [
        Line(
            f"run on {most:,} messages against {base} (last_messages 10), CPU",
            ratio.median,
            "x",
            1.5,
            f"µs by messages: {each}; {spread(ratio)}",
        )
    ]


def pages(figures: dict[str, Figure], most: int) -> list[Line]:
    """Pages of lists."""
    few = next(iter(figures))
    middle, first = figures["middle"], figures["first"]
    note = (
        f"{number(middle.median)} µs; its first {number(first.median)}, of {few} "
        f"{number(figures[few].median)}, of threads {number(figures['threads'].median)} µs"
    )
    ratio = middle.to(first)
    work = f"page of 20 from the middle of {most:,} messages against the first, CPU"
    return [Line(work, ratio.median, "x", None, f"{note}; {spread(ratio)}")]


def store(figures: dict[str, Figure]) -> list[Line]:
    """The store alone."""
    ours, bare = figures["ours µs"], figures["bare µs"]
    note = (
        f"{number(ours.median)} µs of CPU each, {spread(figures['ours rate'])}; bare sqlite3, 64 to "
        f"a commit: {number(figures['bare rate'].median)}/s, {number(bare.median)} µs"
    )
    return [
        Line("store, 64 writers at once, durable", figures["ours rate"].median, "/s", None, note)
    ]


def large_store(figure: Figure, scale: Scale) -> list[Line]:
    """That its size does not matter when it is opened."""
    work = f"a store of {scale.large_store_bytes / 10**9:g} GB opens in"
    return [Line(work, 1000 * figure.median, "ms", 1_000)]


def webhooks(figures: dict[str, Figure]) -> list[Line]:
    """Deliveries, while the runs go on that they tell of."""
    added = figures["with"].less(figures["without"])
    note = f"{number(added.median)} µs of CPU added to a run, {spread(figures['rate'])}"
    work = "webhooks delivered while runs end"
    return [Line(work, figures["rate"].median, "/s", None, note)]


def start_up(figures: dict[str, Figure]) -> list[Line]:
    """From the command to the first answer."""
    note = (
        f"{figures['CPU seconds'].median:.2f} s of CPU, {figures['waited seconds'].median:.2f} s "
        f"waiting for a core that others had, {spread(figures['seconds'])}"
    )
    return [
        Line(
            "start to the first 200, on a new store",
            figures["seconds"].median,
            "s",
            0.8,
            note,
            by_clock=True,
        ),
        Line("resident memory, idle", figures["idle MB"].median, "MB", 70),
    ]


def memory(figures: dict[str, float], scale: Scale) -> list[Line]:
    """What use adds to it."""
    return [
        Line(f"added by {scale.memory_requests:,} requests", figures["requests"], "MB", 15),
        Line("added by each 1,000 open streams", figures["streams"], "MB"),
    ]


def installed(sizes: dict[str, float], stripped: float | None) -> list[Line]:
    """On disk."""
    total = sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda entry: -entry[1])[:3]
    note = f"bytecode with it; {', '.join(f'{name} {size:.1f}' for name, size in largest)}"
    rows = [Line("installed by pip", total, "MB", 60, note)]
    if stripped is not None:
        rows.append(
            Line(
                "installed in the image",
                stripped,
                "MB",
                60,
                f"without {total - stripped:.1f} MB of debuggers' symbols that wheels carry",
            )
        )
    return [*rows, Line("distributions", len(sizes), "", 30)]


def headroom(rates: dict[str, float], shares: dict[str, Shares]) -> list[Line]:
    """Whether it is the contender that was measured, and not who asks it."""
    busy = {name: (Figure(each.contender), Figure(each.others)) for name, each in shares.items()}
    note = "; ".join(
        f"{name}: its core {CORE * own.median:.0f} %, callers' and far end's "
        f"{CORE * others.median:.0f} % busy"
        for name, (own, others) in busy.items()
    )
    ratio = rates["far end"] / rates["relay"]
    work = "callers and far end by themselves, requests/s"
    return [Line(work, ratio, "x through the relay", None, note)]
