"""OpenAI's published document, compiled once: operations, response schemas, stream events.

`openai-assistants.yaml` is theirs (origin and licence in its header). Where recorded traffic of
the real service contradicts it, `_correct` says so; nothing else is changed.
"""

import functools
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema_rs import Draft202012Validator

from tests.conformance.faults import NonConformance

DOCUMENT = Path(__file__).with_name("openai-assistants.yaml")
BASE_PATH = "/v1"
SCHEMAS = "#/components/schemas/"


@functools.cache
def document() -> dict[str, Any]:
    """The document, corrected by what the real service was recorded to send."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(DOCUMENT.read_bytes(), Loader=loader)  # noqa: S506 - safe loaders both
    _correct(loaded)
    return loaded


def _correct(loaded: dict[str, Any]) -> None:
    schemas = loaded["components"]["schemas"]
    run, assistant = (schemas[name]["properties"] for name in ("RunObject", "AssistantObject"))
    # The service took a limit of 16 where the document says at least 256, and echoed it.
    for limit in ("max_prompt_tokens", "max_completion_tokens"):
        run[limit]["minimum"] = 1
    # Recorded on every run and assistant, declared on requests only.
    run["reasoning_effort"] = assistant["reasoning_effort"] = {"$ref": f"{SCHEMAS}ReasoningEffort"}
    run["tool_resources"] = assistant["tool_resources"]
    # Without a type, the document lets a model be a number.
    schemas["Model"]["type"] = "object"
    # One recorded chat completion in ten had no logprobs.
    choices = schemas["CreateChatCompletionResponse"]["properties"]["choices"]
    choices["items"]["required"].remove("logprobs")
    # SDKs ask for base64, and get a string where the document knows a list of numbers only.
    vector = schemas["Embedding"]["properties"]["embedding"]
    schemas["Embedding"]["properties"]["embedding"] = {"anyOf": [vector, {"type": "string"}]}
    # Every SDK raises its APIError for the wrapped form only; the bare one crashes some.
    schemas["ErrorEvent"]["properties"]["data"] = {"$ref": f"{SCHEMAS}ErrorResponse"}
    # Ringside's own: threads can be listed, in the envelope of the other lists.
    schemas["ListThreadsResponse"] = _list_of_threads(schemas["ListRunsResponse"])
    loaded["paths"]["/threads"]["get"] = _operation("ListThreadsResponse")


def _list_of_threads(envelope: dict[str, Any]) -> dict[str, Any]:
    data = {"type": "array", "items": {"$ref": f"{SCHEMAS}ThreadObject"}}
    return envelope | {"properties": envelope["properties"] | {"data": data}}


def _operation(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"{SCHEMAS}{schema}"}}}
    return {"responses": {"200": {"content": content}}}


@functools.cache
def _routes() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Every path as a pattern, literal ones first: `/threads/runs` is no thread."""
    paths = document()["paths"]
    return [(_pattern(path), paths[path]) for path in sorted(paths, key=lambda p: p.count("{"))]


def _pattern(path: str) -> re.Pattern[str]:
    # A model's name holds slashes; no other id does.
    expression = BASE_PATH + path.replace("{model}", ".+")
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", expression))


def response_schema(method: str, path: str) -> str | None:
    """The name of the schema of a 200, or None if there is no such operation."""
    for pattern, operations in _routes():
        if pattern.fullmatch(path) and method.lower() in operations:
            content = operations[method.lower()]["responses"]["200"]["content"]
            return _referenced(content["application/json"]["schema"])
    return None


@functools.cache
def event_schemas() -> dict[str, str | None]:
    """Every event of a run's stream with the name of its data's schema; None for `done`."""
    schemas = document()["components"]["schemas"]
    found: dict[str, str | None] = {}
    for group in schemas["AssistantStreamEvent"]["oneOf"]:
        variants = schemas[_referenced(group)]
        for variant in variants.get("oneOf", [variants]):
            (event,) = variant["properties"]["event"]["enum"]
            data = variant["properties"]["data"]
            found[event] = _referenced(data) if "$ref" in data else None
    return found


def _referenced(schema: dict[str, str]) -> str:
    return schema["$ref"].removeprefix(SCHEMAS)


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    components = document()["components"]
    return Draft202012Validator(
        {"$ref": f"{SCHEMAS}{schema}", "components": components}, offline=True
    )


def validate(schema: str, value: Any, at: str) -> None:
    """Raise NonConformance unless `value` is what the document's `schema` describes."""
    error = next(iter(_validator(schema).iter_errors(value)), None)
    if error is not None:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
        raise NonConformance(f"{at}{place}: {error.message} ({schema})")
