"""The published OpenAPI 3.1 document, from the route table and the types of what goes in and out.

Bodies are the structs that `decode.py` holds requests to, so their limits are those in force. An
answer's type says which keys it has: those with a default in the struct are always written.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy import __version__
from ringside_proxy.api.errors import STATUS_AND_TYPE
from ringside_proxy.api.openapi_operations import CSV, EVENTS, EXAMPLES, OPERATIONS, Operation
from ringside_proxy.api.routes import ROUTES, Route
from ringside_proxy.api.runs import WAYS, WHEN_BUSY_HEADER
from ringside_proxy.domain.callers import CUSTOMER_ID
from ringside_proxy.domain.idempotency import KEY_CHARACTERS_MAX

Json = dict[str, Any]

REF: Final = "#/components/schemas/"
REQUEST: Final = "Request"
"""Ends the names of what goes in: a few structs have the name of one that comes out."""
PATH_FIELD: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
TITLE: Final = "Ringside Proxy"
ABOUT: Final = (
    "OpenAI's Assistants API v2, chat completions, embeddings and models on any provider, and "
    "Ringside's own endpoints. Bodies are JSON of at most 64 levels without NUL characters; "
    "integers fit 64 bits and are written without a point; null counts as not given. Every error is the envelope of `Error`."
)
STREAMED: Final = (
    "With `stream: true`: server-sent events as OpenAI sends them, the last of them `[DONE]`."
)


def document() -> bytes:
    """The document as JSON; made when it is first asked for."""
    return _document()


@cache
def _document() -> bytes:
    bodies, queries = _requests(), _queries()
    answers, shapes = _answers()
    paths: dict[str, Json] = {}
    for route in ROUTES:
        operation = OPERATIONS[route.handler]
        entry = paths.setdefault(PATH_FIELD.sub(r"{\1}", route.path), {})
        entry[route.method.lower()] = {
            **_head(route),
            "parameters": [
                *_path_parameters(route),
                *_headers(route, operation),
                *(queries[operation.query] if operation.query else ()),
            ],
            **_body(operation),
            "responses": _responses(route, operation, answers[route.handler]),
        }
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": TITLE, "version": __version__, "description": ABOUT},
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {
                "schemas": bodies | shapes | {"Error": _error()},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _head(route: Route) -> Json:
    noun = route.handler.__module__.rpartition(".")[2]
    name = route.handler.__name__
    patch = "_patch" if route.method == "PATCH" else ""
    remark = (route.handler.__doc__ or "").partition("\n")[0].partition(": ")[2]
    return {
        "operationId": f"{noun}_{name}{patch}",
        "tags": [noun],
        "summary": f"{noun}: {name}".replace("_", " ").capitalize(),
        **({"description": remark[0].upper() + remark[1:]} if remark else {}),
        "security": [] if route.open_to == "everybody" else [{"token": []}],
        "x-ringside-open-to": route.open_to,
    }


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PATH_FIELD.findall(route.path)
    ]


def _headers(route: Route, operation: Operation) -> list[Json]:
    schemas: dict[str, Json] = {}
    if route.method == "POST":
        schemas["Idempotency-Key"] = {
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_CHARACTERS_MAX,
            "pattern": "^[!#-~][ -~]*$",
        }
    if operation.is_call:
        schemas["x-ringside-customer"] = {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"}
    if route.method == "POST" and route.path.endswith("/runs"):
        schemas[WHEN_BUSY_HEADER] = {"type": "string", "enum": list(WAYS)}
    return [{"name": name, "in": "header", "schema": schema} for name, schema in schemas.items()]


def _body(operation: Operation) -> Json:
    if operation.body is None:
        return {}
    required = any(field.required for field in msgspec.structs.fields(operation.body))
    content = {
        "schema": {"$ref": f"{REF}{operation.body.__name__}{REQUEST}"},
        "example": EXAMPLES[operation.body],
    }
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def _responses(route: Route, operation: Operation, answer: Json) -> Json:
    content: Json = {"application/json": {"schema": answer}}
    if operation.also:
        content[operation.also] = {"schema": {"type": "string"}}
    refused = {
        "description": "What was wrong, where, and what to do.",
        "content": {"application/json": {"schema": {"$ref": f"{REF}Error"}}},
    }
    said = {EVENTS: STREAMED, CSV: "JSON, or CSV for who accepts that rather."}
    responses = {"200": {"description": said.get(operation.also or "", "OK"), "content": content}}
    if route.path == "/healthz":
        return responses | {"503": {"description": "Not well.", "content": content}}
    return responses | {"4XX": refused, "5XX": refused}


def _requests() -> Json:
    types = {operation.body for operation in OPERATIONS.values() if operation.body}
    _, schemas = msgspec.json.schema_components(
        _in_order(types), ref_template=f"{REF}{{name}}{REQUEST}"
    )
    return {f"{name}{REQUEST}": _portable(schema) for name, schema in schemas.items()}


def _answers() -> tuple[dict[Any, Json], Json]:
    handlers = list(OPERATIONS)
    types = [OPERATIONS[handler].answer for handler in handlers]
    refs, schemas = msgspec.json.schema_components(types, ref_template=f"{REF}{{name}}")
    for schema in schemas.values():
        _require_what_is_written(schema)
    written = {name: _portable(schema) for name, schema in schemas.items()}
    return dict(zip(handlers, refs, strict=True)), written


def _require_what_is_written(schema: Json) -> None:
    """All but what may be unset, which is what has neither a default nor to be given."""
    required = schema.get("required", ())
    schema["required"] = [
        name
        for name, field in schema.get("properties", {}).items()
        if name in required or "default" in field
    ]
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


def _queries() -> dict[Any, list[Json]]:
    return {
        query: _query_parameters(query)
        for query in {operation.query for operation in OPERATIONS.values() if operation.query}
    }


def _query_parameters(query: type[msgspec.Struct]) -> list[Json]:
    _, schemas = msgspec.json.schema_components([query], ref_template=REF)
    parameters = []
    for name, schema in schemas[query.__name__]["properties"].items():
        parameter = {"name": name, "in": "query", "schema": _portable(schema)}
        if schema.get("type") == "object":
            parameter |= {"style": "deepObject", "explode": True}
        parameters.append(parameter)
    return parameters


def _in_order(types: Iterable[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    return sorted(types, key=lambda each: each.__name__)


def _portable(schema: Any) -> Any:
    r"""The same for readers that know only ECMA's regular expressions, which have no `\Z`."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" else _portable(value)
            for key, value in schema.items()
        }
    return [_portable(item) for item in schema] if isinstance(schema, list) else schema


def _error() -> Json:
    nullable = {"type": ["string", "null"]}
    types = sorted({error_type for _, error_type in STATUS_AND_TYPE.values()})
    error = {
        "type": "object",
        "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {"type": "string", "minLength": 1},
            "type": {"enum": types},
            "param": nullable,
            "code": nullable,
            "content": {"description": "What did not meet the schema, after all repairs."},
        },
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
