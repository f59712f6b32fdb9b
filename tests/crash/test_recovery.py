"""What a killed proxy leaves behind, and the exact state in which the next one begins."""

from contextlib import aclosing
from typing import Any, Final

from ringside_proxy.domain.runs import RunEvent
from ringside_proxy.services import run_transactions
from ringside_proxy.store import runs, threads
from tests.crash import rows
from tests.crash.client import Client, until
from tests.crash.journal import RESTARTED
from tests.crash.load import TOOL, outputs_for
from tests.crash.process import Home, kill
from tests.crash.story import QUESTION, ask_again, begin, messages_of, path_of, text_of
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, text_reply

Json = dict[str, Any]

NOTHING_USED: Final = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_token_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
SAVED_BYTES: Final = 8 * 1024


async def test_a_run_at_work_fails_and_keeps_what_it_said(home: Home) -> None:
    """A streamed run that was cut off is failed, its step too, its message incomplete with text."""
    async with home.serving() as server, Client.of(server.url) as client:
        made = await client.post("/v1/assistants", {"model": "fc:sandbox/hang-midstream"})
        body = {"assistant_id": made["id"], "thread": {"messages": []}, "instructions": "Talk."}
        events: dict[str, Json] = {}
        async with aclosing(client.stream("/v1/threads/runs", body)) as stream:
            async for event, data in stream:
                events[event] = data
                if event == "thread.message.delta":
                    break
            await kill(server.process)
    seen = events["thread.run.in_progress"]

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.get(path_of(seen))
        [step] = await client.every(f"{path_of(seen)}/steps")
        [message] = await messages_of(client, seen)
        again = await ask_again(client, seen, "fc:sandbox/echo")

    ended = {"status": "failed", "failed_at": run["failed_at"], "last_error": RESTARTED}
    assert run == seen | ended | {"expires_at": None, "usage": NOTHING_USED}
    assert run["failed_at"] >= seen["started_at"]
    told = events["thread.run.step.in_progress"]
    assert step == told | ended | {"expires_at": None, "usage": NOTHING_USED}
    began = events["thread.message.in_progress"]
    assert message == began | {
        "status": "incomplete",
        "incomplete_details": {"reason": "run_failed"},
        "incomplete_at": run["failed_at"],
        "content": message["content"],
    }
    assert text_of(message).startswith("Here")
    assert again["status"] == "completed"


async def test_an_unheard_run_keeps_its_last_save(home: Home) -> None:
    """Of a run that nobody streams, at least the text up to its last 8 KiB is there afterwards."""
    words = [f"word {i:06} " for i in range(SAVED_BYTES // 8)]
    async with FakeUpstream() as upstream:
        home.configure(providers={"openai": {"api_key": "k", "base_url": upstream.base_url}})
        gate = Gate()
        chunks = [chunk({"content": word}) for word in words]
        upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": ""}), *chunks, gate))
        async with home.serving() as server, Client.of(server.url) as client:
            made = await begin(client, "openai/gpt-4.1")
            await until(lambda: messages_of(client, made), bool)
            await kill(server.process)
        gate.release()

        async with home.serving() as server, Client.of(server.url) as client:
            run = await client.get(path_of(made))
            [message] = await messages_of(client, made)

    assert (run["status"], run["last_error"]) == ("failed", RESTARTED)
    assert message["incomplete_details"] == {"reason": "run_failed"}
    assert len(text_of(message)) >= SAVED_BYTES
    assert "".join(words).startswith(text_of(message))


async def test_calls_cut_off_are_not_shown_to_the_next_model(home: Home) -> None:
    """A run killed while its model wrote a call has a failed step, and its thread goes on."""
    async with FakeUpstream() as upstream:
        home.configure(providers={"openai": {"api_key": "k", "base_url": upstream.base_url}})
        gate = Gate()
        call = {"index": 0, "id": "call_1", "type": "function"}
        opening = {**call, "function": {"name": "look_up", "arguments": '{"wo'}}
        upstream.enqueue(stream_reply(chunk({"tool_calls": [opening]}), gate), text_reply("Here."))
        async with home.serving() as server, Client.of(server.url) as client:
            assistant = await client.post(
                "/v1/assistants", {"model": "fc:openai/gpt-4.1", "tools": [TOOL]}
            )
            thread = {"messages": [{"role": "user", "content": QUESTION}]}
            body = {"assistant_id": assistant["id"], "thread": thread}
            async with aclosing(client.stream("/v1/threads/runs", body)) as stream:
                async for event, data in stream:
                    if event == "thread.run.created":
                        made = data
                    if event == "thread.run.step.delta":
                        break
                await kill(server.process)
        gate.release()

        async with home.serving() as server, Client.of(server.url) as client:
            run = await client.get(path_of(made))
            [step] = await client.every(f"{path_of(made)}/steps")
            again = await ask_again(client, made, "fc:openai/gpt-4.1")

    assert (run["status"], run["required_action"]) == ("failed", None)
    assert (step["status"], step["last_error"]) == ("failed", RESTARTED)
    assert step["step_details"] == {"type": "tool_calls", "tool_calls": []}
    assert again["status"] == "completed"
    assert [message["role"] for message in upstream.requests[1].body["messages"]] == ["user"]


async def test_a_run_being_cancelled_is_cancelled(home: Home) -> None:
    """A cancel that was acknowledged is carried out, whatever the run was doing."""
    async with home.serving() as server, Client.of(server.url) as client:
        made = await begin(client, "sandbox/hang")
        await until(lambda: client.get(path_of(made)), lambda run: run["status"] == "in_progress")
        await kill(server.process)
    with rows.transaction(home.store) as tx:
        runs.move(tx, rows.find_run(tx, made), RunEvent.CANCEL)

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.get(path_of(made))

    assert (run["status"], run["last_error"]) == ("cancelled", None)
    assert run["cancelled_at"] is not None


async def test_a_run_that_waits_for_outputs_goes_on_waiting(home: Home) -> None:
    """`requires_action` is untouched by a crash, and the outputs are taken afterwards."""
    async with home.serving() as server, Client.of(server.url) as client:
        made = await begin(client, "sandbox/tools", tools=[TOOL])
        waiting = await client.settled(made)
        [step] = await client.every(f"{path_of(made)}/steps")
        await kill(server.process)

    async with home.serving() as server, Client.of(server.url) as client:
        found = await client.get(path_of(made))
        [found_step] = await client.every(f"{path_of(made)}/steps")
        path = f"{path_of(made)}/submit_tool_outputs"
        ended = await client.settled(await client.post(path, outputs_for(found)))

    assert waiting["status"] == "requires_action"
    assert (found, found_step) == (waiting, step)
    assert ended["status"] == "completed"


async def test_a_queued_run_is_begun(home: Home) -> None:
    """A run that was stored and never started is done by the next process."""
    async with home.serving() as server, Client.of(server.url) as client:
        assistant = await client.post("/v1/assistants", {"model": "fc:sandbox/echo"})
        thread = await client.post("/v1/threads")
        await kill(server.process)
    with rows.transaction(home.store) as tx:
        queued = rows.queue_run(tx, thread["id"], assistant["id"], "fc:sandbox/echo", QUESTION)

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.settled({"thread_id": thread["id"], "id": queued.id})
        [answer] = await messages_of(client, run)

    assert run["status"] == "completed"
    assert text_of(answer) == QUESTION


async def test_a_run_queued_with_its_outputs_is_begun(home: Home) -> None:
    """Outputs that were stored just before the crash reach the model after it."""
    async with home.serving() as server, Client.of(server.url) as client:
        waiting = await client.settled(await begin(client, "sandbox/tools", tools=[TOOL]))
        await kill(server.process)
    [call] = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    with rows.transaction(home.store) as tx:
        run = rows.find_run(tx, waiting)
        run_transactions.submit(tx, run, [(call["id"], "thirty-six")], rows.new_id)

    async with home.serving() as server, Client.of(server.url) as client:
        ended = await client.settled(waiting)
        [answer] = await messages_of(client, waiting)

    assert ended["status"] == "completed"
    assert "thirty-six" in text_of(answer)


async def test_a_queued_run_whose_provider_is_gone_fails(home: Home) -> None:
    """A queued run on a model that is configured no more fails with the reason, and frees."""
    async with home.serving() as server, Client.of(server.url) as client:
        assistant = await client.post("/v1/assistants", {"model": "fc:sandbox/echo"})
        thread = await client.post("/v1/threads")
        await kill(server.process)
    with rows.transaction(home.store) as tx:
        queued = rows.queue_run(tx, thread["id"], assistant["id"], "fc:openai/gpt-4.1", QUESTION)

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.settled({"thread_id": thread["id"], "id": queued.id})
        again = await ask_again(client, run, "fc:sandbox/echo")

    assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
    assert "openai" in run["last_error"]["message"]
    assert again["status"] == "completed"


async def test_a_deleted_thread_is_purged_by_the_next_process(home: Home) -> None:
    """The rows of a thread that was deleted just before the crash go after it."""
    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.settled(await begin(client, "sandbox/echo"))
        await kill(server.process)
    with rows.transaction(home.store) as tx:
        threads.delete(tx, rows.find_thread(tx, run["thread_id"]))

    async with home.serving() as server, Client.of(server.url) as client:
        assert await client.find(f"/v1/threads/{run['thread_id']}") is None
        await until(lambda: rows.count(home.store, "conversations"), lambda left: left == 0)

    left = {table: await rows.count(home.store, table) for table in rows.OF_THREADS}
    assert left == dict.fromkeys(rows.OF_THREADS, 0)


async def test_a_message_deleted_while_it_is_written_harms_nobody(home: Home) -> None:
    """A run whose message was deleted under it ends like any other, also by a restart."""
    async with home.serving() as server, Client.of(server.url) as client:
        made = await client.post("/v1/assistants", {"model": "fc:sandbox/hang-midstream"})
        body = {"assistant_id": made["id"], "thread": {"messages": []}, "instructions": "Talk."}
        async with aclosing(client.stream("/v1/threads/runs", body)) as stream:
            async for event, data in stream:
                if event == "thread.run.created":
                    run = data
                if event == "thread.message.created":
                    message = data
                    break
            await client.delete(f"/v1/threads/{run['thread_id']}/messages/{message['id']}")
            await kill(server.process)

    async with home.serving() as server, Client.of(server.url) as client:
        ended = await client.get(path_of(run))
        [step] = await client.every(f"{path_of(run)}/steps")
        left = await messages_of(client, run)

    assert (ended["status"], step["status"], left) == ("failed", "failed", [])
    assert step["step_details"]["message_creation"] == {"message_id": message["id"]}
