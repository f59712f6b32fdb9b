"""Bodies, paths and queries that nobody sane would send: an answer in the 400s, and never a crash."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ringside_proxy.api.openapi_operations import OPERATIONS
from ringside_proxy.api.routes import ROUTES
from tests.api.rig import ECHO, FUNCTION, PATH_IDS, Answer, Ringside, exchange, path_of, serving

BODY_OF: Final = {
    route.path: body
    for route in ROUTES
    if route.method == "POST" and (body := OPERATIONS[route.handler].body)
}
POSTS: Final = [route for route in ROUTES if route.method == "POST" and route.path in BODY_OF]
GETS: Final = [route for route in ROUTES if route.method == "GET" and route.path.startswith("/v1")]
PATIENCE_S: Final = 0.1
"""An answer to half a request is not waited for any longer."""
EXAMPLES_PER_ROUTE: Final = 180
HOSTILE: Final = settings(
    max_examples=EXAMPLES_PER_ROUTE,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

MODELS: Final = (ECHO, "slot:fast", "fc:sandbox/tools", "fc:sandbox/embed", "fc:sandbox/json")
WORDS: Final = (
    *MODELS,
    *("auto", "none", "user", "assistant", "function", "text", "json_object", "json_schema"),
    *("image_url", "last_messages", "file_search", "required", "client", "f", "45s", "a" * 300),
    *(
        "",
        "\u2028",
        "\ufeff",
        "🥊",
        "\r\nx-evil: 1",
        "'; DROP TABLE runs; --",
        "%s%n",
        "../..",
        "${HOME}",
    ),
)
NAMES: Final = sorted(
    {field.encode_name for body in BODY_OF.values() for field in msgspec.structs.fields(body)}
    | {
        "type",
        "function",
        "name",
        "parameters",
        "strict",
        "text",
        "url",
        "image_url",
        "json_schema",
    }
    | {"schema", "last_messages", "tool_call_id", "output", "file_id", "tool_outputs", "detail"}
    | {"temperature", "tools", "response_format", "stop", "logit_bias", "__proto__", "$ref"}
)
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63), 1.5, -0.0, 1e308, 5e-324)),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), inner, max_size=5),
    ),
    max_leaves=12,
)


def valid(route_path: str, ids: dict[str, str]) -> dict[str, Any]:
    """A body that the route takes, for the mutations to start from."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}], "metadata": {}}]
    run = {
        "assistant_id": ids["assistant_id"],
        "model": ECHO,
        "instructions": "x",
        "tools": [FUNCTION],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "truncation_strategy": {"type": "last_messages", "last_messages": 1},
    }
    assistant = {"model": ECHO, "name": "n", "tools": [FUNCTION], "metadata": {"a": "b"}}
    return {
        "/v1/assistants": assistant,
        "/v1/assistants/{assistant_id}": assistant,
        "/v1/threads": {"messages": messages, "metadata": {"a": "b"}},
        "/v1/threads/runs": run | {"thread": {"messages": messages}},
        "/v1/threads/{thread_id}/messages": messages[0],
        "/v1/threads/{thread_id}/runs": run | {"additional_messages": messages},
        "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs": {
            "tool_outputs": [{"tool_call_id": "call_1", "output": "x"}]
        },
        "/v1/chat/completions": {"model": ECHO, "messages": [{"role": "user", "content": "hi"}]},
        "/v1/embeddings": {"model": "fc:sandbox/embed", "input": ["x"]},
        "/v1/customers": {"id": "c", "name": "n", "monthly_budget_usd": 0.1},
        "/v1/customers/{customer_id}": {"rate_limits": {"requests_per_minute": 1}},
        "/v1/wallet/top_ups": {"amount_usd": 0.1, "note": "n"},
        "/v1/tokens": {"name": "n", "role": "client", "customer": "c"},
        "/v1/webhooks": {"url": "https://hooks.invalid/x", "events": ["run.failed"]},
        "/v1/webhooks/{webhook_id}": {"events": ["*"], "enabled": False},
        "/v1/webhooks/{webhook_id}/replay": {"from": 1763700000, "to": 1763800000},
    }.get(route_path, {"metadata": {"a": "b"}})


@st.composite
def mutated(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    """The body with one place in it replaced, removed, or joined by something else."""
    copy = orjson.loads(orjson.dumps(body))
    place, key = copy, draw(st.sampled_from(sorted(copy) or ["x"]))
    while isinstance(place, dict) and key in place and draw(st.booleans()):
        inner = place[key]
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if not isinstance(inner, dict) or not inner:
            break
        place, key = inner, draw(st.sampled_from(sorted(inner)))
    match draw(st.sampled_from(("replace", "remove", "add"))):
        case "replace":
            place[key] = draw(VALUES)
        case "remove":
            place.pop(key, None)
        case _:
            place[draw(st.sampled_from(NAMES))] = draw(VALUES)
    return copy


class Target:
    """A proxy that is called from synchronous tests."""

    def __init__(self, runner: asyncio.Runner, ringside: Ringside, ids: dict[str, str]) -> None:
        self._runner = runner
        self._ringside = ringside
        self.ids = ids

    def call(self, method: str, path: str, body: Any = None, **sent: Any) -> Answer:
        """An answer of the API, held to the contract."""
        data = {} if body is None else {"data": orjson.dumps(body)}
        return self._runner.run(self._ringside.developer.call(method, path, **data, **sent))

    def send(self, data: bytes) -> bytes:
        """What the server says to bytes after which nothing more comes."""
        url = self._ringside.proxy.url
        return self._runner.run(exchange(url, data, patience_s=PATIENCE_S))


@pytest.fixture
def target(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Target]:
    """A proxy with an object of each kind; at the end it is alive and nothing went wrong in it."""
    caplog.set_level(logging.ERROR)
    with asyncio.Runner() as runner, _serving(runner, tmp_path) as ringside:
        target = Target(runner, ringside, runner.run(_ids(ringside)))
        yield target
        assert target.call("GET", "/healthz").status == 200
        assert runner.run(ringside.admin("/readyz")).status == 200
    assert [record.getMessage() for record in caplog.records] == []


@contextmanager
def _serving(runner: asyncio.Runner, home: Path) -> Iterator[Ringside]:
    context = serving(home)
    ringside = runner.run(context.__aenter__())
    try:
        yield ringside
    finally:
        runner.run(context.__aexit__(None, None, None))


async def _ids(ringside: Ringside) -> dict[str, str]:
    api = ringside.developer
    assistant = await api.assistant(model="fc:sandbox/tools", tools=[FUNCTION])
    thread = await api.thread("hi")
    run = await api.run(thread, assistant)
    [message] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]
    return PATH_IDS | {
        "assistant_id": assistant,
        "thread_id": thread,
        "run_id": run["id"],
        "message_id": message["id"],
    }


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_hostile_bodies_are_answered(target: Target, route: Any) -> None:
    """Whatever JSON comes, the answer is a 200 or in the 400s, on every route that reads a body."""
    fields = [field.encode_name for field in msgspec.structs.fields(BODY_OF[route.path])]
    path, start = path_of(route, target.ids), valid(route.path, target.ids)
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUES))

    @HOSTILE
    @given(st.one_of(mutated(start), mutated(start), known, VALUES))
    def attack(body: Any) -> None:
        answer = target.call("POST", path, body)

        assert answer.status < 500 or _is_refused_by_provider(answer), answer.body

    attack()


def _is_refused_by_provider(answer: Answer) -> bool:
    """Said by the far end: of a model that makes no embeddings, that our key may not ask for any."""
    return bool(answer.json["error"]["code"] == "provider_permission_denied")


def test_every_route_that_reads_a_body_is_attacked() -> None:
    """Every POST but those that say all by their path."""
    posts = {route.path for route in ROUTES if route.method == "POST"}
    bodiless = ("/cancel", "/rotate", "/test", "/redeliver")

    assert {path for path in posts if not path.endswith(bodiless)} == set(BODY_OF)
    assert len(POSTS) * EXAMPLES_PER_ROUTE > 2_000


@pytest.mark.parametrize("route", GETS, ids=lambda route: route.path)
def test_hostile_paths_and_queries_are_answered(target: Target, route: Any) -> None:
    """Ids and parameters of any characters are a 200 or in the 400s."""
    text = st.one_of(st.sampled_from(WORDS), st.text(st.characters(), max_size=12))
    words = "limit order after before run_id include[] supports from to group_by group_by[]"
    names = st.sampled_from((*words.split(), "customer", "model", "provider"))
    queries = st.lists(st.tuples(st.one_of(names, st.just("metadata[k]"), text), text), max_size=4)

    @settings(HOSTILE, max_examples=60)
    @given(st.dictionaries(st.sampled_from(sorted(PATH_IDS)), text, max_size=2), queries)
    def attack(ids: dict[str, str], query: list[tuple[str, str]]) -> None:
        quoted = {name: escaped(value) or "-" for name, value in ids.items()}
        pairs = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in query)

        answer = target.call("GET", f"{path_of(route, target.ids | quoted)}?{pairs}")

        assert answer.status < 500, answer.body

    attack()


def escaped(text: str) -> str:
    """Percent-encoded, half characters and all."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
