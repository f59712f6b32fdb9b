"""Whose call it is, as the official SDK says it: `extra_body`, a header, a thread's default."""

from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from openai import OpenAI

from tests.e2e.ringside import Ringside

ECHO: Final = "fc:sandbox/echo"
MESSAGES: Final[Any] = [{"role": "user", "content": "hi"}]

Ask = Callable[[OpenAI, str], Any]


def on_a_thread_of(client: OpenAI, name: str) -> Any:
    assistant = client.beta.assistants.create(model=ECHO)
    thread = client.beta.threads.create(messages=MESSAGES, extra_body={"user": name})
    return client.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=20
    )


def in_a_run(client: OpenAI, name: str) -> Any:
    assistant = client.beta.assistants.create(model=ECHO)
    thread = client.beta.threads.create(messages=MESSAGES)
    return client.beta.threads.runs.create_and_poll(
        thread_id=thread.id,
        assistant_id=assistant.id,
        poll_interval_ms=20,
        extra_body={"user": name},
    )


def in_a_streamed_run(client: OpenAI, name: str) -> None:
    assistant = client.beta.assistants.create(model=ECHO)
    thread = client.beta.threads.create(messages=MESSAGES)
    with client.beta.threads.runs.stream(
        thread_id=thread.id, assistant_id=assistant.id, extra_body={"user": name}
    ) as stream:
        stream.until_done()


def with_the_thread(client: OpenAI, name: str) -> Any:
    assistant = client.beta.assistants.create(model=ECHO)
    return client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id,
        thread={"messages": MESSAGES},
        poll_interval_ms=20,
        extra_body={"user": name},
    )


def in_a_chat(client: OpenAI, name: str) -> Any:
    return client.chat.completions.create(model=ECHO, messages=MESSAGES, user=name)


def by_the_header(client: OpenAI, name: str) -> Any:
    return client.chat.completions.create(
        model=ECHO, messages=MESSAGES, extra_headers={"x-ringside-customer": name}
    )


def in_embeddings(client: OpenAI, name: str) -> Any:
    return client.embeddings.create(model="fc:sandbox/embed", input="hi", user=name)


WAYS: Final[tuple[Ask, ...]] = (
    on_a_thread_of,
    in_a_run,
    in_a_streamed_run,
    with_the_thread,
    in_a_chat,
    by_the_header,
    in_embeddings,
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Assistants API itself
@pytest.mark.parametrize("ask", WAYS, ids=lambda way: way.__name__)
def test_usage_is_the_customers_that_the_call_names(ask: Ask, ringside: Ringside) -> None:
    """One request is on the customer's account, which made itself."""
    name = f"attributed:{ask.__name__}"
    with OpenAI(base_url=f"{ringside.url}/v1", api_key=ringside.token) as client:
        ask(client, name)

    headers = {"authorization": f"Bearer {ringside.token}"}
    report = httpx.get(f"{ringside.url}/v1/customers/{name}/usage", headers=headers).json()
    assert report["total"]["requests"] == 1
    assert report["total"]["input_tokens"] > 0
