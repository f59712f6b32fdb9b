"""What must not grow: runs and pages on threads of few and of many messages."""

import json

from tests.bench import load
from tests.bench.field import SHORT, TOKEN, Field, api
from tests.bench.scale import Figure
from tests.bench.works import Turn, in_turn

ROUNDS = 9
RUNS_A_ROUND = 8
"""Each run leaves a message: all of them together stay below a hundred, and the thread below 5,000."""
PAGES_A_ROUND = 40
MESSAGE = {"role": "user", "content": "word " * 20}


async def threads(on: Field) -> dict[int, str]:
    """A thread of each size."""
    made = {}
    for size in on.scale.thread_sizes:
        thread = api(on.ringside, "POST", "/v1/threads", {"messages": [MESSAGE]})["id"]
        request = load.post(f"/v1/threads/{thread}/messages", json.dumps(MESSAGE).encode(), TOKEN)
        await load.closed_loop(on.ringside.port, request, size - 1, min(16, size - 1))
        made[size] = thread
    return made


async def runs(on: Field, threads: dict[int, str]) -> dict[int, Figure]:
    """CPU µs of a run on each thread, ten messages of it sent."""
    body = {
        "assistant_id": on.assistants[SHORT],
        "stream": True,
        "truncation_strategy": {"type": "last_messages", "last_messages": 10},
    }
    turns = {
        str(size): Turn(
            on.ringside,
            load.post(f"/v1/threads/{thread}/runs", json.dumps(body).encode(), TOKEN),
            RUNS_A_ROUND,
            1,
        )
        for size, thread in threads.items()
    }
    figures, _ = await in_turn(on, turns, min(on.scale.rounds, ROUNDS))
    return {int(size): figure for size, figure in figures.items()}


async def pages(on: Field, threads: dict[int, str]) -> dict[str, Figure]:
    """CPU µs of a page of 20 messages: a small thread's, a large one's first and one in its middle;
    and of a page of threads.
    """
    few, many = min(threads), max(threads)
    listing = f"/v1/threads/{threads[many]}/messages"
    after = _middle(on, listing, many)
    paths = {
        f"{few} messages": f"/v1/threads/{threads[few]}/messages?limit=20",
        "first": f"{listing}?limit=20",
        "middle": f"{listing}?limit=20&after={after}",
        "threads": "/v1/threads?limit=20",
    }
    turns = {
        name: Turn(on.ringside, load.get(path, TOKEN), PAGES_A_ROUND, 4)
        for name, path in paths.items()
    }
    figures, _ = await in_turn(on, turns)
    return figures


def _middle(on: Field, listing: str, size: int) -> str:
    """The id of a message in the thread's middle."""
    after = ""
    for _ in range(max(1, size // 200)):
        page = api(on.ringside, "GET", f"{listing}?limit=100{after}")
        after = f"&after={page['last_id']}"
        if not page["has_more"]:
            break
    return str(after.removeprefix("&after="))
