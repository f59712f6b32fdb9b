"""What holds on every route: who is let in, how errors look, which headers come back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.api.routes import ADMIN_ROUTES, ROUTES, Route
from ringside_proxy.settings.schema import ServerSettings
from tests.api.rig import (
    DEVELOPER,
    ECHO,
    REQUEST_ID,
    Answer,
    Caller,
    Ringside,
    check_headers,
    exchange,
    path_of,
    serving,
)
from tests.conformance.schema import check_response
from tests.fakes import FakeClock

GUARDED: Final = [route for route in ROUTES if route.open_to != "everybody"]
WITHOUT_BODY: Final = ("/cancel", "/rotate", "/test", "/redeliver")
WITH_BODY: Final = [
    route
    for route in GUARDED
    if route.method in ("POST", "PATCH") and not route.path.endswith(WITHOUT_BODY)
]
WITHOUT_TOKEN: Final = {
    "none": {},
    "wrong": {"authorization": f"Bearer {DEVELOPER[:-1]}x"},
    "prefix": {"authorization": f"Bearer {DEVELOPER[:-1]}"},
    "empty": {"authorization": "Bearer "},
    "other scheme": {"authorization": f"Basic {DEVELOPER}"},
    "no scheme": {"authorization": DEVELOPER},
    "in the query": {"x-api-key": DEVELOPER},
}
HEAD: Final = (
    "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    f"Authorization: Bearer {DEVELOPER}\r\n"
)


@pytest.mark.parametrize("headers", WITHOUT_TOKEN.values(), ids=WITHOUT_TOKEN)
async def test_every_route_refuses_a_caller_without_a_token(
    api: Caller, headers: dict[str, str]
) -> None:
    """Whatever stands in for a token, each guarded route answers 401 invalid_api_key."""
    nobody = api.using(None)

    answers = [await nobody.call(r.method, path_of(r), headers=headers) for r in GUARDED]

    assert {answer.status for answer in answers} == {401}
    assert {answer.error["type"] for answer in answers} == {"authentication_error"}
    assert {answer.error["code"] for answer in answers} == {"invalid_api_key"}


async def test_every_route_refuses_an_expired_token(tmp_path: Path) -> None:
    """A token works until its last second, and on no route afterwards."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        minted = await ringside.developer.make("/v1/tokens", {"name": "x", "expires_in": 60})
        caller = ringside.developer.using(minted["token"])
        clock.advance(59)
        before = await caller.get("/v1/models")
        clock.advance(1)

        answers = [await caller.call(r.method, path_of(r)) for r in GUARDED]

    assert before.status == 200
    assert {(a.status, a.error["code"]) for a in answers} == {(401, "invalid_api_key")}


async def test_every_route_refuses_a_revoked_token(api: Caller) -> None:
    """Once its deletion was answered, a token works nowhere."""
    minted = await api.make("/v1/tokens", {"name": "x"})
    caller = api.using(minted["token"])
    before = await caller.get("/v1/models")
    await api.delete(f"/v1/tokens/{minted['id']}")

    answers = [await caller.call(r.method, path_of(r)) for r in GUARDED]

    assert before.status == 200
    assert {(a.status, a.error["code"]) for a in answers} == {(401, "invalid_api_key")}


async def test_a_token_is_recognised_however_its_scheme_is_written(api: Caller) -> None:
    """`bearer` is a word of HTTP, which does not mind capitals."""
    nobody = api.using(None)

    answers = [
        await nobody.get("/v1/models", headers={"authorization": f"{scheme} {DEVELOPER}"})
        for scheme in ("bearer", "BEARER", "Bearer ")
    ]

    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_a_refusal_never_repeats_the_token(api: Caller) -> None:
    """Of a wrong token a 401 shows the ends alone, and of a short one nothing."""
    long = await api.using("sk-proj-0123456789abcdef").get("/v1/models")
    short = await api.using("hunter2hunt").get("/v1/models")

    assert "sk-p***cdef" in long.error["message"]
    assert "hunt" not in short.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/threads/", 404),
        ("GET", "/v1/threads/thread_1/", 404),
        ("GET", "//v1/threads", 404),
        ("GET", "/v1/../v1/files", 404),
        ("GET", "/v1/threads/thread_1/%00", 404),
        ("GET", "/v1/%E2%80%A8", 404),
        ("GET", "/metrics", 404),
        ("GET", "/readyz", 404),
        ("PUT", "/v1/assistants", 405),
        ("PATCH", "/v1/threads/thread_1", 405),
        ("DELETE", "/v1/threads/runs/x/y", 404),
        ("OPTIONS", "/v1/models", 405),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("PROPFIND", "/v1/models", 405),
    ],
)
async def test_no_such_operation_is_an_error_in_the_envelope(
    api: Caller, method: str, path: str, status: int
) -> None:
    """Unknown URLs and wrong methods get OpenAI's error body, not the web server's page."""
    answer = await api.call(method, path)

    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[1,]", b"\xff\xfe", b'{"a":NaN}', b"{} {}"])
async def test_malformed_json_is_refused_on_every_route_that_reads_a_body(
    api: Caller, body: bytes
) -> None:
    """JSON is checked first: before the fields, and before whether the object exists."""
    answers = [await api.call(route.method, path_of(route), data=body) for route in WITH_BODY]

    assert {answer.status for answer in answers} == {400}
    assert {answer.error["type"] for answer in answers} == {"invalid_request_error"}
    assert all("could not parse the JSON body" in answer.error["message"] for answer in answers)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true"])
async def test_a_body_that_is_no_object_is_refused_on_every_route_that_reads_one(
    api: Caller, body: bytes
) -> None:
    """Any other JSON value is an invalid type."""
    answers = [await api.call(route.method, path_of(route), data=body) for route in WITH_BODY]

    assert {(a.status, a.error["code"]) for a in answers} == {(400, "invalid_type")}


async def test_a_field_is_checked_before_the_object_is_looked_up(api: Caller) -> None:
    """An unknown field is named although the object in the path does not exist either."""
    closed = [
        route for route in WITH_BODY if route.path not in ("/v1/chat/completions", "/v1/embeddings")
    ]
    filled = {"model": ECHO, "role": "user", "content": "x", "assistant_id": "asst_1"}
    filled |= {"name": "x", "tool_outputs": [], "id": "x", "amount_usd": 1}
    filled |= {"url": "https://example.com", "events": ["*"], "from": 0}

    answers = [
        await api.call(route.method, path_of(route), filled | {"zzz": 1}) for route in closed
    ]

    assert {(a.status, a.error["code"]) for a in answers} == {(400, "unknown_parameter")}


async def test_a_body_past_the_limit_is_413_on_every_route_that_reads_one(tmp_path: Path) -> None:
    """Too large is too large, announced or chunked, and the message names the limit."""

    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 256

    async with serving(tmp_path, server=ServerSettings(port=0, max_body_bytes=1024)) as ringside:
        api = ringside.developer
        announced = [
            await api.call(route.method, path_of(route), data=b" " * 1025) for route in WITH_BODY
        ]
        streamed = [
            await api.call(route.method, path_of(route), data=chunked()) for route in WITH_BODY
        ]
        within = await api.post("/v1/threads", data=b"{}".ljust(1024))

    answers = announced + streamed
    assert {(a.status, a.error["code"]) for a in answers} == {(413, "request_too_large")}
    assert {a.error["type"] for a in answers} == {"invalid_request_error"}
    assert all("1024 bytes" in answer.error["message"] for answer in answers)
    assert within.status == 200


async def test_a_body_that_never_arrives_is_408(tmp_path: Path) -> None:
    """A half-sent body keeps no handler for ever: it is told so in the envelope."""
    async with serving(tmp_path, body_s_max=0.05) as ringside:
        for route in WITH_BODY:
            head = HEAD.format(method=route.method, path=path_of(route))
            half = f"{head}Content-Length: 100\r\n\r\n".encode() + b'{"metadata":'

            answer = parsed(await exchange(ringside.proxy.url, half))

            assert answer.status == 408
            assert answer.error["code"] == "request_timeout"


async def test_a_thread_id_of_another_kind_is_refused_below_threads(api: Caller) -> None:
    """Every path below a thread answers `undefined` in OpenAI's words, whatever the rest is."""
    below = [route for route in GUARDED if "{thread_id}" in route.path]
    paths = [path_of(route).replace("thread_" + "0" * 24, "undefined") for route in below]
    bodies = {"messages": {"role": "user", "content": "x"}, "runs": {"assistant_id": "asst_1"}}
    bodies["submit_tool_outputs"] = {"tool_outputs": []}

    answers = [
        await api.call(route.method, path, bodies.get(path.rpartition("/")[2], {}))
        for route, path in zip(below, paths, strict=True)
    ]

    assert {answer.status for answer in answers} == {400}
    assert {(a.error["param"], a.error["code"]) for a in answers} == {
        ("thread_id", "invalid_value")
    }
    assert {answer.error["message"] for answer in answers} == {
        "Invalid 'thread_id': 'undefined'. Expected an ID that begins with 'thread'."
    }


@pytest.mark.parametrize(
    ("path", "noun"),
    [
        ("/v1/assistants/{}", "assistant"),
        ("/v1/threads/thread_{}", "thread"),
        ("/v1/threads/{thread}/messages/{}", "message"),
        ("/v1/threads/{thread}/runs/{}", "run"),
        ("/v1/threads/{thread}/runs/{run}/steps/{}", "run step"),
        ("/v1/tokens/{}", "token"),
        ("/v1/customers/{}", "customer"),
        ("/v1/customers/{}/usage", "customer"),
    ],
)
@pytest.mark.parametrize("given", ["step_123", "x", "' OR 1=1 --", "ü\u2028", "%", "a" * 4000])
async def test_an_unknown_id_is_404_in_openai_s_words(
    api: Caller, path: str, noun: str, given: str
) -> None:
    """Whatever the id looks like, the answer names it and nothing breaks."""
    thread = await api.thread("hi")
    run = await api.run(thread, await api.assistant())
    quoted = "".join(f"%{byte:02X}" for byte in given.encode())
    target = path.replace("{thread}", thread).replace("{run}", run["id"]).replace("{}", quoted)

    answer = await api.call("DELETE" if noun == "token" else "GET", target)

    shown = f"thread_{given}" if noun == "thread" else given
    assert answer.status == 404
    assert answer.error == {
        "message": f"No {noun} found with id '{shown}'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_given_request_id_comes_back_on_every_route(api: Caller, route: Route) -> None:
    """A request id of the caller's is used, on answers and errors alike."""
    given = "Req-my_own-0123456789".ljust(128, "x")

    answer = await api.call(route.method, path_of(route), headers={"x-request-id": given})

    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "a b", "ü", "x" * 129, "a;b", "<script>", "req_1,req_2"]
)
async def test_a_request_id_that_could_do_harm_is_replaced(api: Caller, given: str) -> None:
    """What is not a plain word gives way to an id of ours."""
    answer = await api.get("/v1/models", headers={"x-request-id": given})

    assert answer.headers["x-request-id"] != given
    assert answer.headers["x-request-id"].startswith("req_")


async def test_request_ids_are_never_used_twice(api: Caller) -> None:
    """Each answer has one of its own."""
    answers = [await api.get("/v1/models") for _ in range(20)]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 20


async def test_answers_do_not_say_which_library_made_them(api: Caller) -> None:
    """Neither a success nor an error names the web server's version."""
    answers = [await api.get("/v1/models"), await api.get("/nothing"), await api.post("/v1/models")]

    assert {answer.headers["server"] for answer in answers} == {"ringside"}


async def test_a_json_body_on_a_get_is_ignored(api: Caller) -> None:
    """openai-python 1.30 polls with a body: every GET answers as it does without one."""
    gets = [route for route in GUARDED if route.method == "GET"]

    without = [await api.get(path_of(route)) for route in gets]
    with_body = [await api.get(path_of(route), json={"user": "x"}) for route in gets]

    assert [(a.status, a.body) for a in with_body] == [(a.status, a.body) for a in without]


async def test_the_admin_listener_serves_health_alone(ringside: Ringside) -> None:
    """None of the API's routes is there, with or without a token."""
    ours = {(route.method, route.path) for route in ADMIN_ROUTES}
    others = [route for route in ROUTES if (route.method, route.path) not in ours]
    admin = ringside.proxy.admin_url

    statuses = set()
    for route in others:
        async with ringside.session.request(
            route.method, admin + path_of(route), headers=ringside.developer.headers
        ) as response:
            statuses.add(response.status)

    assert statuses == {404}


def parsed(raw: bytes) -> Answer:
    """An error that came over a raw socket, held to the contract."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    answer = Answer(int(status.split(" ")[1]), headers, body)
    check_headers(headers)
    check_response("POST", "/v1/threads", answer.status, body)
    assert REQUEST_ID.fullmatch(headers["x-request-id"])
    return answer
