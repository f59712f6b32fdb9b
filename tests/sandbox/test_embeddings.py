import base64
import math
import struct
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

EMBEDDINGS = "/v1/embeddings"


async def test_the_sdk_reads_unit_vectors(openai: AsyncOpenAI) -> None:
    """The SDK asks for base64 by itself; vectors have length 1 and 64 dimensions."""
    reply = await openai.embeddings.create(model="embed", input=["one two", "three"])

    vectors = [item.embedding for item in reply.data]
    assert [len(vector) for vector in vectors] == [64, 64]
    assert all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-6) for vector in vectors)
    assert [item.index for item in reply.data] == [0, 1]
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (3, 3)


async def test_the_same_text_has_the_same_vector(openai: AsyncOpenAI) -> None:
    """Alone or among others; another text has another vector."""
    alone = await openai.embeddings.create(model="embed", input="a")
    among = await openai.embeddings.create(model="embed", input=["b", "a"])

    assert among.data[1].embedding == alone.data[0].embedding
    assert among.data[0].embedding != alone.data[0].embedding


@pytest.mark.parametrize("dimensions", [1, 3, 4096])
async def test_both_encodings_carry_the_same_numbers(
    http: aiohttp.ClientSession, dimensions: int
) -> None:
    """base64 is little-endian 32-bit floats; floats are the default."""
    body = {"model": "embed", "input": "a", "dimensions": dimensions}
    async with http.post(EMBEDDINGS, json=body) as response:
        floats = (await response.json())["data"][0]["embedding"]
    async with http.post(EMBEDDINGS, json={**body, "encoding_format": "base64"}) as response:
        packed = base64.b64decode((await response.json())["data"][0]["embedding"])

    assert struct.unpack(f"<{dimensions}f", packed) == tuple(floats)


@pytest.mark.parametrize(
    ("given", "vectors", "tokens"),
    [("a b", 1, 2), (["a", "b c"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
async def test_input_may_be_texts_or_tokens(
    http: aiohttp.ClientSession, given: Any, vectors: int, tokens: int
) -> None:
    """One vector per text or token list; tokens are counted either way."""
    async with http.post(EMBEDDINGS, json={"model": "embed", "input": given}) as response:
        reply = await response.json()

    assert (len(reply["data"]), reply["usage"]["total_tokens"]) == (vectors, tokens)


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"dimensions": -42}, 400, "-42 is less than the minimum of 1 - 'dimensions'"),
        ({"dimensions": 4097}, 400, "4097 is greater than the maximum of 4096 - 'dimensions'"),
        ({"input": None}, 400, "Missing required parameter: 'input'."),
        (
            {"input": ["a", ""]},
            400,
            "Invalid 'input[1]': empty string. Expected a string with minimum length 1, "
            "but got an empty string instead.",
        ),
        (
            {"input": ["a"] * 2049},
            400,
            "Invalid 'input': array too long. Expected an array with maximum length 2048, "
            "but got an array with length 2049 instead.",
        ),
        (
            {"input": {}},
            400,
            "Invalid type for 'input': expected one of a string or array, "
            "but got an object instead.",
        ),
        (
            {"encoding_format": "int8"},
            400,
            "Invalid value: 'int8'. Supported values are: 'float' and 'base64'.",
        ),
        (
            {"input": ["a"] * 245, "dimensions": 4096},
            400,
            "At most 1000000 numbers in one answer: send fewer inputs.",
        ),
        ({"foo": 1}, 400, "Unrecognized request argument supplied: foo"),
        ({"model": "ada"}, 404, "The model 'ada' does not exist"),
        ({"model": "echo"}, 403, "You are not allowed to generate embeddings from this model"),
    ],
)
async def test_what_openai_refuses_is_refused(
    http: aiohttp.ClientSession, change: dict[str, Any], status: int, message: str
) -> None:
    """One change to a good request gives one error."""
    async with http.post(EMBEDDINGS, json={"model": "embed", "input": "a", **change}) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"] == message
