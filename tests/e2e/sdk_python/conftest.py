"""What the suites share. It runs in each SDK's own virtual environment: nothing but openai there."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from openai import OpenAI

AssistantOf = Callable[..., str]


@pytest.fixture(scope="session")
def client() -> Iterator[OpenAI]:
    """A client set up by the two variables that an application changes."""
    with OpenAI() as client:
        yield client


@pytest.fixture(scope="session")
def assistant(client: OpenAI) -> AssistantOf:
    """The id of an assistant on a sandbox model, made at its first use; it offers `tools`."""

    @cache
    def assistant_of(model: str, *tools: str) -> str:
        created = client.beta.assistants.create(
            model=f"fc:sandbox/{model}", tools=[function_tool(name) for name in tools]
        )
        return created.id

    return assistant_of


def function_tool(name: str) -> dict[str, object]:
    """A function that takes a city."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "parameters": schema}}
