"""Assistants, threads and messages: create, retrieve, update, list, delete."""

from itertools import islice
from typing import Any

import pytest
from conftest import function_tool
from openai import NotFoundError, OpenAI
from story import same, text_of

MODEL = "fc:sandbox/echo"


def test_assistant_keeps_what_it_was_given(client: OpenAI) -> None:
    created = client.beta.assistants.create(
        model=MODEL,
        name="Ada",
        description="answers",
        instructions="Be brief.",
        tools=[function_tool("get_weather")],
        metadata={"team": "blue"},
        temperature=0.5,
        top_p=0.25,
        response_format={"type": "text"},
    )

    assert created.id.startswith("asst_")
    assert (created.name, created.description) == ("Ada", "answers")
    assert (created.model, created.instructions) == (MODEL, "Be brief.")
    assert (created.temperature, created.top_p) == (0.5, 0.25)
    assert created.metadata == {"team": "blue"}
    assert created.tools[0].function.name == "get_weather"
    assert created.response_format.type == "text"
    assert same(client.beta.assistants.retrieve(created.id), created)


def test_assistant_update_changes_only_what_is_given(client: OpenAI) -> None:
    created = client.beta.assistants.create(model=MODEL, name="Ada", instructions="Be brief.")

    updated = client.beta.assistants.update(
        created.id, name="Eve", instructions=None, metadata={"a": "b"}
    )

    assert (updated.name, updated.instructions, updated.model) == ("Eve", None, MODEL)
    assert updated.metadata == {"a": "b"}
    assert updated.created_at == created.created_at
    assert same(client.beta.assistants.retrieve(created.id), updated)


def test_assistant_is_gone_after_delete(client: OpenAI) -> None:
    created = client.beta.assistants.create(model=MODEL)

    deleted = client.beta.assistants.delete(created.id)

    assert (deleted.id, deleted.object, deleted.deleted) == (created.id, "assistant.deleted", True)
    with pytest.raises(NotFoundError):
        client.beta.assistants.retrieve(created.id)


def test_assistants_are_listed_page_by_page(client: OpenAI) -> None:
    ids = [client.beta.assistants.create(model=MODEL).id for _ in range(5)]
    assistants = client.beta.assistants

    upwards = [item.id for item in assistants.list(order="asc", limit=2, after=ids[0])]
    downwards = [item.id for item in islice(assistants.list(limit=2), 5)]
    page = assistants.list(order="asc", limit=2, before=ids[3])

    assert upwards == ids[1:]
    assert downwards == ids[::-1]
    assert [item.id for item in page.data] == ids[1:3]


def test_thread_keeps_its_messages_and_metadata(client: OpenAI) -> None:
    thread = client.beta.threads.create(
        messages=[
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two", "metadata": {"n": "2"}},
        ],
        metadata={"topic": "numbers"},
    )

    messages = client.beta.threads.messages.list(thread.id).data

    assert thread.metadata == {"topic": "numbers"}
    assert [(message.role, text_of(message)) for message in messages] == [
        ("assistant", "two"),
        ("user", "one"),
    ]
    assert messages[0].metadata == {"n": "2"}
    assert same(client.beta.threads.retrieve(thread.id), thread)


def test_thread_update_replaces_the_metadata(client: OpenAI) -> None:
    thread = client.beta.threads.create(metadata={"a": "1", "b": "2"})

    updated = client.beta.threads.update(thread.id, metadata={"b": "3"})

    assert updated.metadata == {"b": "3"}
    assert same(client.beta.threads.retrieve(thread.id), updated)


def test_thread_takes_its_messages_along_when_deleted(client: OpenAI) -> None:
    thread = client.beta.threads.create()
    message = client.beta.threads.messages.create(thread.id, role="user", content="hi")

    deleted = client.beta.threads.delete(thread.id)

    assert (deleted.id, deleted.object, deleted.deleted) == (thread.id, "thread.deleted", True)
    with pytest.raises(NotFoundError):
        client.beta.threads.retrieve(thread.id)
    with pytest.raises(NotFoundError):
        client.beta.threads.messages.retrieve(message.id, thread_id=thread.id)


def test_message_content_comes_back_as_parts(client: OpenAI) -> None:
    thread = client.beta.threads.create()
    content: list[Any] = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    ]

    message = client.beta.threads.messages.create(thread.id, role="user", content=content)

    text, image = message.content
    assert (message.status, message.role, message.thread_id) == ("completed", "user", thread.id)
    assert (text.text.value, text.text.annotations) == ("look", [])
    assert (image.image_url.url, image.image_url.detail) == ("https://example.com/a.png", "low")
    found = client.beta.threads.messages.retrieve(message.id, thread_id=thread.id)
    assert same(found, message)


def test_message_is_updated_and_deleted(client: OpenAI) -> None:
    thread = client.beta.threads.create()
    messages = client.beta.threads.messages
    message = messages.create(thread.id, role="user", content="hi", metadata={"seen": "no"})

    updated = messages.update(message.id, thread_id=thread.id, metadata={"seen": "yes"})
    deleted = messages.delete(message.id, thread_id=thread.id)

    assert (updated.id, updated.metadata) == (message.id, {"seen": "yes"})
    assert text_of(updated) == "hi"
    assert (deleted.id, deleted.object) == (message.id, "thread.message.deleted")
    assert deleted.deleted is True
    assert messages.list(thread.id).data == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_messages_are_listed_page_by_page(client: OpenAI, order: Any) -> None:
    words = ["one", "two", "three", "four", "five"]
    thread = client.beta.threads.create(
        messages=[{"role": "user", "content": word} for word in words]
    )
    messages = client.beta.threads.messages
    expected = words if order == "asc" else words[::-1]

    everything = list(messages.list(thread.id, order=order, limit=2))
    ids = [message.id for message in everything]
    after = messages.list(thread.id, order=order, limit=2, after=ids[1]).data
    before = messages.list(thread.id, order=order, limit=2, before=ids[3]).data

    assert [text_of(message) for message in everything] == expected
    assert [message.id for message in after] == ids[2:4]
    assert [message.id for message in before] == ids[1:3]
