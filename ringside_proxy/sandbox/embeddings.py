"""The simulated embeddings model: a text's hash, spread over a unit vector."""

import base64
import hashlib
import math
import struct
from typing import Any, Final

from ringside_proxy.sandbox.checks import (
    Check,
    array,
    integer,
    one_of,
    string,
    wrong_type,
)
from ringside_proxy.sandbox.errors import APIError, invalid, missing, no_such_model
from ringside_proxy.sandbox.models import MODELS
from ringside_proxy.sandbox.requests import read_json, refuse_unknown
from ringside_proxy.sandbox.tokens import count

NAME: Final = "embed"
DESCRIPTION: Final = "embeddings: the same unit vector for the same text, 1 to 4096 dimensions"
DIMENSIONS_DEFAULT: Final = 64
DIMENSIONS_MAX: Final = 4096
INPUTS_MAX: Final = 2048
TOKENS_MAX: Final = 8192
NUMBERS_MAX: Final = 1_000_000
"""Numbers in one answer: inputs times dimensions. OpenAI has no such limit; one loop serves all."""

BYTES_PER_NUMBER: Final = 4

Input = str | list[int]


def embed(data: bytes) -> dict[str, Any]:
    """The embeddings that a body asks for, as OpenAI's list object. Raises APIError."""
    body = read_json(data)
    refuse_unknown(body, PARAMETERS.keys())
    for name in ("model", "input"):
        if name not in body:
            raise missing(name)
    for name, value in body.items():
        PARAMETERS[name](value, name)
    if body["model"] != NAME:
        raise _not_for_embeddings(body["model"])
    inputs = _inputs(body["input"])
    dimensions = body.get("dimensions", DIMENSIONS_DEFAULT)
    if len(inputs) * dimensions > NUMBERS_MAX:
        raise invalid(f"At most {NUMBERS_MAX} numbers in one answer: send fewer inputs.", "input")
    is_base64 = body.get("encoding_format") == "base64"
    tokens = sum(count(item) if isinstance(item, str) else len(item) for item in inputs)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": _vector(item, dimensions, is_base64)}
            for i, item in enumerate(inputs)
        ],
        "model": NAME,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _not_for_embeddings(model: str) -> APIError:
    if model in MODELS:
        return APIError(403, "You are not allowed to generate embeddings from this model")
    return no_such_model(model)


def _dimensions(value: Any, path: str) -> None:
    integer()(value, path)
    if value < 1:
        raise invalid(f"{value} is less than the minimum of 1 - '{path}'")
    if value > DIMENSIONS_MAX:
        raise invalid(f"{value} is greater than the maximum of {DIMENSIONS_MAX} - '{path}'")


def _input(value: Any, path: str) -> None:
    if not isinstance(value, str | list):
        raise wrong_type(path, "one of a string or array", value)
    if isinstance(value, str):
        TEXT(value, path)
    elif value and isinstance(value[0], int):
        TOKENS(value, path)
    else:
        array(_text_or_tokens, most=INPUTS_MAX)(value, path)


def _text_or_tokens(value: Any, path: str) -> None:
    check = TOKENS if isinstance(value, list) else TEXT
    check(value, path)


TEXT: Final = string(is_empty_allowed=False)
TOKENS: Final = array(integer(0), most=TOKENS_MAX)
PARAMETERS: Final[dict[str, Check]] = {
    "model": string(is_empty_allowed=False),
    "input": _input,
    "dimensions": _dimensions,
    "encoding_format": one_of("float", "base64"),
    "user": string(),
}


def _inputs(value: Any) -> list[Input]:
    is_one = isinstance(value, str) or isinstance(value[0], int)
    return [value] if is_one else value


def _vector(item: Input, dimensions: int, is_base64: bool) -> str | list[float]:
    """Both encodings carry the same numbers: little-endian 32-bit floats."""
    seed = item if isinstance(item, str) else " ".join(map(str, item))
    digest = hashlib.shake_256(seed.encode()).digest(dimensions * BYTES_PER_NUMBER)
    numbers = struct.unpack(f"<{dimensions}i", digest)
    length = math.sqrt(sum(number * number for number in numbers))
    packed = struct.pack(f"<{dimensions}f", *(number / length for number in numbers))
    if is_base64:
        return base64.b64encode(packed).decode()
    return list(struct.unpack(f"<{dimensions}f", packed))
