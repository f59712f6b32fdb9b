"""Embeddings at a provider that takes one text a call: many answers become one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.settings.schema import ProviderSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import Caller, serving
from tests.fakes import FakeUpstream, json_reply

MODEL = "fc:bedrock/amazon.titan-embed-text-v2:0"


@pytest.fixture
async def titan() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(is_strict=False) as upstream:
        yield upstream


@pytest.fixture
async def caller(tmp_path: Path, titan: FakeUpstream) -> AsyncIterator[Caller]:
    bedrock = ProviderSettings(api_key=Secret("k"), base_url=titan.base_url, max_retries=0)
    async with serving(tmp_path, providers={"bedrock": bedrock}) as proxy:
        yield proxy.developer


def answer(vector: list[float], **fields: Any) -> Any:
    return json_reply({"embedding": vector} | fields)


async def test_answers_come_together(caller: Caller, titan: FakeUpstream) -> None:
    """The vectors stand in the order of the inputs, the usage is the sum of all calls."""
    titan.enqueue(answer([1, 2], inputTextTokenCount=3), answer([3, 4], inputTextTokenCount=4))

    got = await caller.post("/v1/embeddings", {"model": MODEL, "input": ["a", "b"]})

    assert [row["embedding"] for row in got.json["data"]] == [[1, 2], [3, 4]]
    assert [row["index"] for row in got.json["data"]] == [0, 1]
    assert got.json["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


async def test_call_that_is_not_counted_is_estimated(caller: Caller, titan: FakeUpstream) -> None:
    """One silent answer does not make the others free, nor itself."""
    titan.enqueue(answer([1, 2], inputTextTokenCount=300), answer([3, 4]))

    got = await caller.post("/v1/embeddings", {"model": MODEL, "input": ["a", "b" * 400]})

    assert got.json["usage"]["prompt_tokens"] > 350
