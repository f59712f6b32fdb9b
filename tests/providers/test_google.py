"""Gemini's requests as a whole: the call, the messages, thought signatures."""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.google.state import NO_SIGNATURE
from ringside_proxy.providers.types import (
    CompletionRequest,
    EmbeddingsRequest,
    StateDelta,
)
from tests.providers.google_calls import (
    BASE,
    CREDENTIALS,
    HELLO,
    V2_0,
    V2_5,
    V3,
    answer,
    built,
    called,
    check_types,
    contents,
    function,
    result,
    sent,
)

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "google"
REQUESTS = sorted(TRANSCRIPTS.glob("*.request.json"))


def test_bodies_are_judged_by_googles_own_types():
    """The check that the other tests rely on does refuse what Google does not know."""
    pytest.importorskip("google.genai.types")
    with pytest.raises(ValueError, match="novelty"):
        check_types({"contents": [{"role": "user", "parts": [{"novelty": 1}]}]})


# The request as a whole


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_request_is_what_google_takes(path):
    """The call that goes out equals the recorded one, key for key."""
    recorded = json.loads(path.read_text())
    asked = msgspec.convert(recorded["asked"], CompletionRequest)

    request = Google().build_request(asked, CREDENTIALS)

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded.get("dropped", [])
    assert request.method == "POST"
    assert request.url == f"{BASE}/models/{asked.model}:streamGenerateContent?alt=sse"
    assert request.headers == {"content-type": "application/json", "x-goog-api-key": "test-key"}
    check_types(recorded["sent"])


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3.5-flash", "models/gemini-3.5-flash"),
        ("models/gemini-3.5-flash", "models/gemini-3.5-flash"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("../files/x?a=b", "models/..%2Ffiles%2Fx%3Fa%3Db"),
    ],
)
def test_model_is_one_segment_of_the_url(model, path):
    """A model's name cannot lead a call with our key elsewhere."""
    assert built(model=model).url == f"{BASE}/{path}:streamGenerateContent?alt=sse"


def test_user_stays_here():
    """The caller's end-customer is never told to Google."""
    params = {"user": "customer_42", "metadata": {"user": "customer_42"}, "dimensions": 3}
    embeddings = EmbeddingsRequest(model="gemini-embedding-001", input=["x"], params=params)

    request = built(**params)
    bodies = [r.body for r in Google().build_embeddings_requests(embeddings, CREDENTIALS)]

    assert not [body for body in [request.body, *bodies] if b"customer_42" in body]
    assert request.dropped_params == ("dimensions",)


# Messages


def test_system_text_is_hoisted_from_everywhere():
    """Gemini knows one instruction, before the conversation."""
    body = sent(
        {"role": "system", "content": "A"},
        HELLO,
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
    )

    assert body["systemInstruction"] == {"parts": [{"text": "A\n\nB"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}]}]


@pytest.mark.parametrize(
    ("messages", "model", "expected"),
    [
        ([{"role": "system", "content": "A"}], V3, [("user", [{"text": "A"}])]),
        (
            [{"role": "system", "content": "A"}, HELLO],
            "gemma-4-27b-it",
            [("user", [{"text": "A"}, {"text": "Hi"}])],
        ),
        ([{"role": "user", "content": ""}], V3, [("user", [{"text": "Continue."}])]),
    ],
)
def test_there_is_always_a_turn_of_the_users(messages, model, expected):
    """Gemini refuses an empty conversation, and Gemma an instruction."""
    body = sent(*messages, model=model)

    assert [(c["role"], c["parts"]) for c in body["contents"]] == expected
    assert "systemInstruction" not in body


def test_turns_of_one_role_are_one():
    """Messages in a row of one side become one turn, and the last word is not the model's."""
    said = [HELLO, HELLO | {"name": "Ann"}, answer(content="A"), answer(content="B")]

    assert contents(*said) == [
        ("user", [{"text": "Hi"}, {"text": "Hi"}]),
        ("model", [{"text": "A"}, {"text": "B"}]),
        ("user", [{"text": "Continue."}]),
    ]


def test_call_is_preceded_by_a_turn():
    """A history that was cut before a call still begins with the user."""
    roles = [role for role, _ in contents(answer(called("a")), result("a"))]

    assert roles == ["user", "model", "user"]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("data:image/png;base64,QUJD", {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}),
        (
            "data:image/svg+xml;charset=utf-8;base64,QUJD",
            {"inlineData": {"mimeType": "image/svg+xml", "data": "QUJD"}},
        ),
        (
            "https://x.test/a.WEBP?b=c.png",
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.test/a.WEBP?b=c.png"}},
        ),
        (
            "https://x.test/signed",
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/signed"}},
        ),
    ],
)
def test_images_go_as_data_or_by_address(url, part):
    """An address keeps its type by its ending; Google reads the rest itself."""
    image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    text = {"type": "text", "text": "What?"}

    assert contents({"role": "user", "content": [text, image]}) == [
        ("user", [{"text": "What?"}, part])
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "file", "file": {}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///a"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "function", "name": "f", "content": "x"},
    ],
)
def test_content_without_a_place_is_refused(message):
    """What cannot be sent is said, with the message that holds it, before a call is made."""
    with pytest.raises(InvalidRequestError) as caught:
        built(HELLO, message)

    assert (caught.value.param, caught.value.code) == ("messages[1]", "unsupported_parameter")


def test_results_stand_together_in_the_order_of_the_calls():
    """Models before 3 tell calls apart by order alone; the user's next words are a turn apart."""
    said = [HELLO, answer(called("a"), called("b", "g")), result("b", "2"), result("a", "1"), HELLO]

    assert contents(*said, model=V2_5)[2:] == [
        (
            "user",
            [
                {"functionResponse": {"name": "f", "response": {"output": "1"}}},
                {"functionResponse": {"name": "g", "response": {"output": "2"}}},
            ],
        ),
        ("user", [{"text": "Hi"}]),
    ]


@pytest.mark.parametrize(("model", "has_ids"), [(V3, True), (V2_5, False), (V2_0, False)])
def test_ids_are_for_models_from_3_on(model, has_ids):
    """Older models refuse an id."""
    parts = [
        part
        for _, parts in contents(HELLO, answer(called("a")), result("a"), model=model)
        for part in parts
    ]

    told = [part.get("functionCall") or part.get("functionResponse") or {} for part in parts]
    assert [item.get("id") for item in told] == [None, *(["a", "a"] if has_ids else [None, None])]


def test_result_of_no_call_is_refused():
    """Gemini wants the function's name with a result, which only the call knows."""
    with pytest.raises(InvalidRequestError, match="'tool_call_id' 'b', which no tool call"):
        built(HELLO, answer(called("a")), result("b"))


@pytest.mark.parametrize(
    ("arguments", "args"),
    [("", {}), ('{"a": 1}', {"a": 1}), ("[1]", {"_raw": "[1]"}), ("{", {"_raw": "{"})],
)
def test_arguments_become_an_object(arguments, args):
    """What another model wrote badly is passed on as it was."""
    [_, (_, [part]), _] = contents(HELLO, answer(called("a", arguments=arguments)))

    assert part["functionCall"]["args"] == args


def test_parts_of_text_and_refusals_are_what_was_said():
    """A refusal has no place of its own at Google."""
    parts = [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "B"}]

    assert contents(HELLO, answer(content=parts))[1] == ("model", [{"text": "AB"}])
    assert contents(HELLO, answer(refusal="No."))[1] == ("model", [{"text": "No."}])
    assert contents(HELLO, answer(called("a")), result("a", parts))[2][1] == [
        {"functionResponse": {"name": "f", "id": "a", "response": {"output": "AB"}}}
    ]


# Thought signatures


def signatures(*messages: dict[str, Any], model: str = V3) -> list[str | None]:
    """The signature of every call, or None."""
    told = contents(HELLO, *messages, model=model)
    return [
        part.get("thoughtSignature")
        for _, parts in told
        for part in parts
        if "functionCall" in part
    ]


def test_state_of_an_answer_comes_back_where_it_stood():
    """An answer that is replayed with its state is the answer that Gemini gave, part for part."""
    given = [
        {"text": "One"},
        {"text": "Two", "thoughtSignature": "c2lnMQ=="},
        {
            "functionCall": {"name": "f", "args": {"a": 1}, "id": "x"},
            "thoughtSignature": "c2lnMg==",
        },
        {"functionCall": {"name": "f", "args": {}, "id": "y"}},
        {"text": "", "thoughtSignature": "c2lnMw=="},
    ]
    chunk = {"candidates": [{"content": {"parts": given}, "finishReason": "STOP"}]}
    request = CompletionRequest(model=V3, messages=[HELLO])
    decoder = Google().stream_decoder(request, lambda prefix: prefix)
    deltas = [*decoder.feed(b"data: " + orjson.dumps(chunk) + b"\n\n"), *decoder.close()]
    [state] = [delta.state for delta in deltas if isinstance(delta, StateDelta)]

    calls = (called("x"), called("y", arguments="{}"))
    kept = orjson.loads(orjson.dumps(state))
    replayed = answer(*calls, content="OneTwo", provider_state=kept)

    assert contents(HELLO, replayed)[1] == ("model", given)


def test_changed_text_goes_unsigned():
    """A signature stands for the words that it came with."""
    state = {"chars": 3, "texts": [[0, 3, "c2ln"]], "calls": [], "tail": None}

    parts = contents(HELLO, answer(content="Other", provider_state=state))[1][1]

    assert parts == [{"text": "Other"}]


@pytest.mark.parametrize(
    "state",
    [None, {}, [], "x", {"calls": 5}, {"calls": [[0]]}, {"texts": [["a", 1, "s"]]}],
)
def test_lost_state_is_said_on_the_first_call(state):
    """Google's word for a lost signature stands once per answer, and only where one is wanted."""
    said = [answer(called("a"), called("b"), provider_state=state), result("a"), result("b")]

    assert signatures(*said) == [NO_SIGNATURE, None]
    assert signatures(*said, model=V2_5) == [None, None]


def test_signatures_in_googles_public_field_are_taken():
    """Clients that know Google's own endpoint send them with the call; what we kept wins."""
    carried = called("a") | {"extra_content": {"google": {"thought_signature": "c2lnMQ=="}}}
    kept = {"chars": 0, "calls": [[0, "c2lnMg=="]]}

    assert signatures(answer(carried, called("b")), result("a")) == ["c2lnMQ==", None]
    assert signatures(answer(carried, provider_state=kept), result("a")) == ["c2lnMg=="]
    assert signatures(answer(carried | {"extra_content": {"google": 5}})) == [NO_SIGNATURE]


# Whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
CALLS = st.lists(
    st.builds(called, st.sampled_from("abc"), st.text(max_size=5), st.text()), max_size=3
)
MESSAGES = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, st.text()),
    st.builds(lambda text: {"role": "system", "content": text}, st.text()),
    st.builds(
        lambda calls, text, state: answer(*calls, content=text, provider_state=state),
        CALLS,
        st.none() | st.text(),
        JSON | st.fixed_dictionaries({"chars": JSON, "calls": JSON, "texts": JSON}),
    ),
    st.builds(result, st.sampled_from("abc"), st.text()),
)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"params": {"tools": [5]}}, "tools[0]"),
        ({"params": {"tools": [{"type": "function", "function": {}}]}}, "tools[0].function"),
        ({"params": {"tools": [{"type": "function"}]}}, "tools"),
        ({"params": {"stop": 5}}, "stop"),
    ],
)
def test_shapes_that_are_none_are_the_callers_error(fields, param):
    """What cannot be translated is refused with its place, not with a crash."""
    request = msgspec.structs.replace(CompletionRequest(model=V3, messages=[HELLO]), **fields)

    with pytest.raises(InvalidRequestError) as caught:
        Google().build_request(request, CREDENTIALS)

    assert caught.value.param == param


FIELDS = st.sampled_from(
    [
        "tools",
        "tool_choice",
        "response_format",
        "thinking",
        "reasoning_effort",
        "stop",
        "seed",
        "service_tier",
        "n",
    ]
)
KEYS = st.sampled_from(
    [
        "role",
        "type",
        "text",
        "content",
        "function",
        "name",
        "tool_calls",
        "id",
        "image_url",
        "url",
        "allowed_tools",
        "tools",
    ]
)
SHAPES = st.recursive(
    st.none() | st.sampled_from([0, 1, "user", "assistant", "function", "json_schema"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(
    st.lists(st.dictionaries(KEYS, SHAPES, max_size=4), max_size=3),
    st.dictionaries(FIELDS, SHAPES, max_size=3),
)
def test_any_request_is_sent_or_refused(messages, params):
    """Callers may write anything; none of it is a crash."""
    request = CompletionRequest(model=V3, messages=messages, params=params)
    try:
        body = Google().build_request(request, CREDENTIALS).body
    except InvalidRequestError:
        return

    assert orjson.loads(body)["contents"]


@given(
    st.lists(MESSAGES, max_size=6),
    JSON,
    st.sampled_from([V3, V2_5, V2_0, "gemma-3-27b-it", "gemini-4-argon"]),
)
def test_any_history_is_sent_or_refused(messages, schema, model):
    """Whatever was said before, by whomever, becomes a conversation that Gemini takes."""
    request = CompletionRequest(
        model=model, messages=messages, params={"tools": [function(parameters=schema)]}
    )
    try:
        body = orjson.loads(Google().build_request(request, CREDENTIALS).body)
    except InvalidRequestError:
        return

    assert body["contents"][-1]["role"] == "user"
    assert all(content["parts"] for content in body["contents"])
