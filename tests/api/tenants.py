"""Callers side by side, and what each of them has made."""

from dataclasses import dataclass
from typing import Any, Final

from ringside_proxy.api.routes import Route
from tests.api.rig import CLIENT_A, CLIENT_B, DEVELOPER, ECHO, Caller

WEBHOOK: Final = {"url": "https://hooks.invalid/ringside", "events": ["run.failed"]}
TOKENS: Final = {"developer": DEVELOPER, "a": CLIENT_A, "b": CLIENT_B}


@dataclass(frozen=True)
class World:
    """What one caller made: the ids, by their names in paths."""

    caller: Caller
    ids: dict[str, str]

    async def look(self) -> list[Any]:
        """Everything in it, as its owner sees it."""
        thread = f"/v1/threads/{self.ids['thread_id']}"
        run = f"{thread}/runs/{self.ids['run_id']}"
        paths = ["/v1/assistants", "/v1/threads", thread, f"{thread}/messages"]
        paths += [f"{thread}/runs", f"{run}/steps", f"/v1/assistants/{self.ids['assistant_id']}"]
        return [(await self.caller.get(path)).json for path in paths]


async def world_of(caller: Caller, word: str = "hello") -> World:
    """An assistant, and a thread with a message and a finished run; `word` is in all of them."""
    metadata = {"word": word}
    assistant = await caller.assistant(name=word, metadata=metadata)
    thread = await caller.thread(word, metadata=metadata)
    run = await caller.run(thread, assistant)
    messages = await caller.get(f"/v1/threads/{thread}/messages?order=asc")
    steps = await caller.get(f"/v1/threads/{thread}/runs/{run['id']}/steps")
    ids = {
        "assistant_id": assistant,
        "thread_id": thread,
        "run_id": run["id"],
        "message_id": messages.json["data"][0]["id"],
        "step_id": steps.json["data"][0]["id"],
    }
    return World(caller, ids)


def body_for(route: Route, assistant_id: str) -> Any:
    """A body that the route accepts."""
    if route.method not in ("POST", "PATCH"):
        return None
    whole = {
        "/v1/assistants": {"model": ECHO},
        "/v1/threads": {},
        "/v1/threads/runs": {
            "assistant_id": assistant_id,
            "thread": {"messages": [{"role": "user", "content": "x"}]},
            "stream": True,
        },
        "/v1/chat/completions": {"model": ECHO, "messages": [{"role": "user", "content": "x"}]},
        "/v1/embeddings": {"model": "fc:sandbox/embed", "input": "x"},
        "/v1/customers": {"id": "made"},
        "/v1/wallet/top_ups": {"amount_usd": 1},
        "/v1/tokens": {"name": "made"},
        "/v1/webhooks": WEBHOOK,
        "/v1/webhooks/{webhook_id}/replay": {"from": 0},
    }
    if route.path in whole:
        return whole[route.path]
    return {
        "messages": {"role": "user", "content": "intruder"},
        "runs": {"assistant_id": assistant_id, "stream": True},
        "submit_tool_outputs": {"tool_outputs": []},
        "cancel": None,
    }.get(route.path.rpartition("/")[2], {"metadata": {"changed": "yes"}})
