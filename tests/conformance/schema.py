"""Whether a JSON answer is OpenAI's, to the key.

    check_response("POST", "/v1/threads/thread_x/runs", 200, body)

It knows every operation of the Assistants surface, chat completions, embeddings, models, and
Ringside's list of threads. Streams are checked by `tests.conformance.stream`.
"""

import re
from collections.abc import Callable
from typing import Any

from tests.conformance.completions import check_completion, check_embeddings, check_models
from tests.conformance.faults import NonConformance, parse_json, require, require_keys
from tests.conformance.objects import check_object
from tests.conformance.spec import response_schema, validate

__all__ = ["NonConformance", "check_error", "check_response"]

OUR_OWN = re.compile(
    r"/v1/(customers|usage|webhooks|wallet|tokens|compatibility|config)(/.*)?|/openapi\.json|/healthz|/readyz|/metrics"
)
"""Ringside's endpoints that OpenAI never had; only their errors have to be OpenAI's."""
FIRST_ERROR = 400
ERROR_KEYS = ("message", "type", "param", "code")

NEIGHBOURS: dict[str, Callable[[dict[str, Any]], None]] = {
    "CreateChatCompletionResponse": check_completion,
    "CreateEmbeddingResponse": check_embeddings,
    "ListModelsResponse": check_models,
}


def check_response(method: str, path: str, status: int, body: bytes) -> None:
    """Raise NonConformance if the answer to a call is not OpenAI's. A query in `path` is ignored."""
    path = path.partition("?")[0]
    at = f"{method} {path} {status}"
    if status >= FIRST_ERROR:
        check_error(parse_json(body, at), at)
        return
    if OUR_OWN.fullmatch(path):
        return
    schema = response_schema(method, path)
    if schema is None:
        raise NonConformance(f"{at}: no such operation, so it is an error")
    require(status == 200, f"{at}: success is 200")
    value = parse_json(body, at)
    validate(schema, value, at)
    if schema in NEIGHBOURS:
        NEIGHBOURS[schema](value)
    elif schema != "Model":
        check_object(value, at)


def check_error(value: Any, at: str) -> None:
    """Raise NonConformance if an error's body is not the envelope with all four keys."""
    validate("ErrorResponse", value, at)
    require_keys(value, ("error",), at)
    shown = tuple(key for key in value["error"] if key in ERROR_KEYS)
    require(shown == ERROR_KEYS, f"{at}.error: key order is {', '.join(shown)}")
    require(value["error"]["message"] != "", f"{at}.error.message: says nothing")
