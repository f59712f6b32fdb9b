"""/openapi.json: what it says is what is served, and all of it."""

import re
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import orjson
import pytest

from ringside_proxy.api import bodies
from ringside_proxy.api.decode import decode_body, decode_open_body
from ringside_proxy.api.errors import STATUS_AND_TYPE
from ringside_proxy.api.openapi_document import document
from ringside_proxy.api.openapi_operations import EXAMPLES, OPERATIONS
from ringside_proxy.api.routes import ROUTES, Route
from tests.api.rig import CLIENT_A, Caller, Ringside, path_of
from tests.api.tenants import WEBHOOK, body_for, world_of

Json = dict[str, Any]

DOCUMENT: Final[Json] = orjson.loads(document())
JSON: Final = "application/json"
OPEN_ANSWERS: Final = ("/v1/chat/completions", "/v1/embeddings")
"""Providers may add keys to them."""
REFUSED_BY_STATE: Final = ("/cancel", "/submit_tool_outputs")
"""The run is over when they are called here."""


def template(route: Route) -> str:
    """The route's path as OpenAPI writes it."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)


def operation(route: Route) -> Json:
    """What the document says of the route."""
    found: Json = DOCUMENT["paths"][template(route)][route.method.lower()]
    return found


def validator(schema: Any) -> Any:
    """Judges values by a schema of the document."""
    return jsonschema_rs.Draft202012Validator(
        {"components": DOCUMENT["components"]} | schema, validate_formats=True
    )


def body_schema(route: Route) -> Any:
    """The schema of the route's body."""
    return operation(route)["requestBody"]["content"][JSON]["schema"]


WITH_BODY: Final = [route for route in ROUTES if "requestBody" in operation(route)]


def test_every_route_is_in_it_and_nothing_else() -> None:
    """As many operations as routes, each under its own method and path."""
    said = {(m.upper(), path) for path, entry in DOCUMENT["paths"].items() for m in entry}

    assert said == {(route.method, template(route)) for route in ROUTES}
    assert set(OPERATIONS) == {route.handler for route in ROUTES}


def test_every_operation_has_a_name_of_its_own() -> None:
    """Generators of clients name functions by it."""
    names = [operation(route)["operationId"] for route in ROUTES]

    assert len(set(names)) == len(ROUTES)


def test_every_reference_leads_somewhere() -> None:
    """No schema is named that the document does not hold, and none is held for nothing."""
    named = set(re.findall(rb"#/components/schemas/([^\"]+)", document()))

    assert {name.decode() for name in named} == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    """A validator takes it, with its patterns."""
    assert validator({"$ref": f"#/components/schemas/{name}"}).is_valid(0) is False


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: f"{route.method} {route.path}")
def test_every_example_is_a_body(route: Route) -> None:
    """The document takes its own example, and so does the API."""
    example = operation(route)["requestBody"]["content"][JSON]["example"]
    body_type = OPERATIONS[route.handler].body
    assert body_type is not None

    validator(body_schema(route)).validate(example)
    decode = decode_open_body if issubclass(body_type, bodies.OpenBody) else decode_body
    decode(orjson.dumps(example), body_type)


def test_no_example_is_left_over() -> None:
    """Each of them belongs to a body that some route reads."""
    assert set(EXAMPLES) == {OPERATIONS[route.handler].body for route in WITH_BODY}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/assistants", {}),
        ("/v1/assistants", {"model": ""}),
        ("/v1/assistants", {"model": "m", "zzz": 1}),
        ("/v1/assistants", {"model": "m", "temperature": 2.1}),
        ("/v1/assistants", {"model": "m", "metadata": {"a" * 65: "x"}}),
        ("/v1/assistants", {"model": "m", "metadata": {str(i): "" for i in range(17)}}),
        ("/v1/assistants", {"model": "m", "tools": [{"type": "function"}]}),
        ("/v1/threads", {"messages": [{"role": "system", "content": "x"}]}),
        ("/v1/threads/runs", {"assistant_id": "a", "expires_after": "2 minutes"}),
        ("/v1/chat/completions", {"model": "m", "messages": []}),
        ("/v1/customers", {"id": "a b"}),
        ("/v1/wallet/top_ups", {"amount_usd": 0}),
        ("/v1/tokens", {"name": "x", "role": "owner"}),
        ("/v1/webhooks", {"url": "https://example.com", "events": ["run.exploded"]}),
    ],
)
async def test_what_it_forbids_is_refused(api: Caller, path: str, body: Json) -> None:
    """Required keys, enums, patterns and limits are the ones in force."""
    [route] = [each for each in ROUTES if (each.method, each.path) == ("POST", path)]

    answer = await api.post(path, body)

    assert not validator(body_schema(route)).is_valid(body)
    assert answer.status == 400


async def test_every_answer_is_as_it_says(ringside: Ringside) -> None:
    """Each route, called: the answer's keys and types are the document's, also those of errors."""
    api = ringside.developer
    world = await world_of(api.using(CLIENT_A))
    ids = world.ids | await more_ids(api)
    deletions_last = sorted(ROUTES, key=lambda route: (route.method == "DELETE", -len(route.path)))
    for route in deletions_last:
        body = body_for(route, world.ids["assistant_id"])
        if isinstance(body, dict):
            body.pop("stream", None)

        served = await api.call(route.method, path_of(route, ids), body)
        refused = await api.using(None).call(route.method, path_of(route, ids))

        expected = 400 if route.path.endswith(REFUSED_BY_STATE) else 200
        assert served.status == expected, (route, served.body)
        validator(answer_schema(route, served.status)).validate(served.json)
        is_open = route.open_to == "everybody"
        assert (refused.status == 401) is (operation(route)["security"] == [{"token": []}])
        assert refused.status == (200 if is_open else 401)
        validator(answer_schema(route, refused.status)).validate(refused.json)


def answer_schema(route: Route, status: int) -> Any:
    """What the document says of an answer with this status."""
    responses = operation(route)["responses"]
    found = responses.get(str(status)) or responses[f"{status // 100}XX"]
    schema = found["content"][JSON]["schema"]
    return schema if route.path in OPEN_ANSWERS else closed(schema)


def closed(schema: Json) -> Json:
    """The same, refusing keys that are not described, where the object is all of Ringside's."""
    return schema | {"unevaluatedProperties": False} if "$ref" in schema else schema


async def more_ids(api: Caller) -> dict[str, str]:
    """Ids of what only developers have."""
    await api.post("/v1/customers/customer_a", {"name": "x"})
    token = await api.make("/v1/tokens", {"name": "x"})
    webhook = await api.make("/v1/webhooks", WEBHOOK)
    ping = await api.make(f"/v1/webhooks/{webhook['id']}/test")
    return {
        "customer_id": "customer_a",
        "token_id": token["id"],
        "model:.+": "slot:fast",
        "webhook_id": webhook["id"],
        "delivery_id": ping["id"],
    }


async def test_it_is_there_without_a_token(api: Caller) -> None:
    """Tools ask for it without a token, and it is the same for everybody."""
    mine, anybody_s = await api.get("/openapi.json"), await api.using(None).get("/openapi.json")

    assert mine.body == anybody_s.body == document()
    assert mine.headers["content-type"] == JSON


def test_every_type_of_error_is_said() -> None:
    """The envelope names each type that an error may have, and no other."""
    said = DOCUMENT["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["type"]

    assert set(said["enum"]) == {error_type for _, error_type in STATUS_AND_TYPE.values()}


def nested(value: Any) -> Iterator[Any]:
    """The value and all that is in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from nested(item)


def test_patterns_are_ecma_s() -> None:
    """Readers in other languages know no anchor but `^` and `$`."""
    patterns = [
        each["pattern"]
        for each in nested(DOCUMENT)
        if isinstance(each, dict) and isinstance(each.get("pattern"), str)
    ]

    assert patterns
    assert not [pattern for pattern in patterns if "\\Z" in pattern]
