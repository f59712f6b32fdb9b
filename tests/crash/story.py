"""What most crash tests do: begin a run, look at it, ask for another one."""

from typing import Any, Final

from tests.crash.client import Client

Json = dict[str, Any]

QUESTION: Final = "Who goes there?"


async def begin(client: Client, model: str, **options: Any) -> Json:
    """A plain run with a question, on a thread of its own."""
    assistant = await client.post("/v1/assistants", {"model": f"fc:{model}"})
    thread = {"messages": [{"role": "user", "content": QUESTION}]}
    body = {"assistant_id": assistant["id"], "thread": thread, **options}
    return await client.post("/v1/threads/runs", body)


def path_of(run: Json) -> str:
    return f"/v1/threads/{run['thread_id']}/runs/{run['id']}"


async def messages_of(client: Client, run: Json) -> list[Json]:
    """What the run said, oldest first."""
    every = await client.every(f"/v1/threads/{run['thread_id']}/messages")
    return [message for message in every if message["run_id"] == run["id"]]


def text_of(message: Json) -> str:
    return "".join(part["text"]["value"] for part in message["content"])


async def ask_again(client: Client, run: Json, model: str) -> Json:
    """Another run on the run's thread, when it has ended."""
    body = {"assistant_id": run["assistant_id"], "model": model}
    made = await client.post(f"/v1/threads/{run['thread_id']}/runs", body)
    return await client.settled(made)
