import json
from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderBadReplyError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.ollama.adapter import Ollama
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
    Support,
)
from tests.providers.streams import drained, no_new_id, transcripts

OLLAMA = Ollama()
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/")
USER = {"role": "user", "content": "Hi."}
ANY_REQUEST = CompletionRequest(model="m", messages=[USER])
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PNG = "iVBORw0KGgo="


def called(*calls: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ],
        **more,
    }


def built(
    *messages: Any, model: str = "llama3.3", credentials: Credentials = CREDENTIALS, **params: Any
) -> HTTPRequest:
    request = CompletionRequest(
        model=model, messages=list(messages or (USER,)), params=params, is_stream=True
    )
    return OLLAMA.build_request(request, credentials)


def sent(*messages: Any, **params: Any) -> dict[str, Any]:
    """What goes out beside the model, the messages, `stream` and `truncate`."""
    body = orjson.loads(built(*messages, **params).body)
    usual = ("model", "messages", "stream", "truncate")
    return {k: v for k, v in body.items() if k not in usual}


def told(*messages: Any, **params: Any) -> list[dict[str, Any]]:
    messages_out: list[dict[str, Any]] = orjson.loads(built(*messages, **params).body)["messages"]
    return messages_out


@pytest.mark.parametrize("path", transcripts("ollama", "request.json"), ids=lambda path: path.name)
def test_request_is_what_ollama_takes(path):
    """The body that goes out equals the recorded one, key for key."""
    recorded = json.loads(path.read_text())

    request = OLLAMA.build_request(
        msgspec.convert(recorded["asked"], CompletionRequest), CREDENTIALS
    )

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded["dropped"]
    assert request.url == "http://127.0.0.1:1/api/chat"
    assert request.headers == {"content-type": "application/json"}


def test_key_is_sent_if_there_is_one():
    """The cloud wants one; the server on the machine does not."""
    cloud = Credentials(base_url="https://ollama.com", api_key="ol-key")

    assert built(credentials=cloud).headers["authorization"] == "Bearer ol-key"
    assert built(credentials=cloud).url == "https://ollama.com/api/chat"


@pytest.mark.parametrize(
    ("params", "fields", "dropped"),
    [
        ({"max_tokens": 5}, {"options": {"num_predict": 5}}, ()),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"options": {"num_predict": 6}}, ()),
        ({"temperature": 1.3, "top_p": 1}, {"options": {"temperature": 1.3, "top_p": 1}}, ()),
        ({"top_k": 5, "min_p": 0.1, "seed": 7}, {"options": {"top_k": 5, "min_p": 0.1, "seed": 7}}, ()),
        ({"presence_penalty": -1, "frequency_penalty": 0}, {"options": {"presence_penalty": -1, "frequency_penalty": 0}}, ()),
        ({"repeat_penalty": 1.1, "num_ctx": 8192}, {"options": {"repeat_penalty": 1.1, "num_ctx": 8192}}, ()),
        ({"options": {"mirostat": 1, "seed": 1}, "seed": 2}, {"options": {"mirostat": 1, "seed": 2}}, ()),
        ({"stop": "END"}, {"options": {"stop": ["END"]}}, ()),
        ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}, ()),
        ({"keep_alive": "30m", "shift": False}, {"keep_alive": "30m", "shift": False}, ()),
        ({"n": 1, "parallel_tool_calls": True, "tool_choice": "auto", "user": "u", "store": True}, {}, ()),
        ({"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}}, {}, ("logit_bias", "logprobs", "top_logprobs")),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL]}, ("tool_choice",)),
        ({"service_tier": "flex", "safety_identifier": "x"}, {}, ("safety_identifier", "service_tier")),
    ],
)  # fmt: skip
def test_parameters_map_by_the_table(params, fields, dropped):
    """Each is sent where Ollama looks for it, or left out and named."""
    assert sent(**params) == fields
    assert built(**params).dropped_params == dropped


def test_prompt_that_does_not_fit_is_refused_not_cut():
    """`stream` and `truncate` are always said; the window is the server's own unless configured."""
    body = orjson.loads(built().body)
    assert (body["stream"], body["truncate"]) == (True, False)
    assert "options" not in body
    assert orjson.loads(built(truncate=True).body)["truncate"] is True

    wide = Credentials(base_url="http://127.0.0.1:1", options={"num_ctx": 32768})
    assert sent(credentials=wide) == {"options": {"num_ctx": 32768}}
    assert sent(credentials=wide, num_ctx=4096) == {"options": {"num_ctx": 4096}}


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_the_impossible_is_refused(params, param):
    """What can neither be sent nor left out is the caller's error."""
    with pytest.raises(InvalidRequestError) as caught:
        built(**params)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    ("message", "out"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "user", "name": "Al", "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "b"},
            ]},
            {"role": "user", "content": "a\nb", "images": [PNG]},
        ),
        ({"role": "assistant", "content": None, "refusal": "No."}, {"role": "assistant", "content": "No."}),
        (
            called(("c1", "f", '{"a":1}'), ("c2", "g", ""), content="See."),
            {"role": "assistant", "content": "See.", "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}},
                {"id": "c2", "function": {"name": "g", "arguments": {}}},
            ]},
        ),
        (
            called(("c1", "f", '{"a":'), ("c2", "g", "[1]")),
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"_raw": '{"a":'}}},
                {"id": "c2", "function": {"name": "g", "arguments": {"_raw": "[1]"}}},
            ]},
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "22C"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "22C"},
        ),
    ],
)  # fmt: skip
def test_messages_map_by_the_table(message, out):
    """Each in Ollama's shape, without what it does not know."""
    assert told(message) == [out]


def test_arguments_too_deep_to_write_go_along_as_text():
    """They can be read, so nothing else stops them."""
    deep = '{"a":' * 400 + "1" + "}" * 400

    (out,) = told(called(("c1", "f", deep)))

    assert out["tool_calls"][0]["function"]["arguments"] == {"_raw": deep}


def test_result_names_the_function_that_was_called():
    """Beside the id, which older servers do not read."""
    result = {"role": "tool", "tool_call_id": "c2", "content": "4C"}

    out = told(USER, called(("c1", "f", ""), ("c2", "g", "")), result)

    assert out[2] == result | {"tool_name": "g"}


def test_message_that_says_nothing_is_left_out():
    """An empty answer says nothing to the model."""
    assert told(USER, {"role": "assistant", "content": ""}, USER) == [USER, USER]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]},
    ],
)  # fmt: skip
def test_message_that_cannot_be_told_is_refused(message):
    """Rather than telling the model something else."""
    with pytest.raises(InvalidRequestError) as caught:
        told(message)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")


def test_thoughts_go_back_with_their_calls():
    """What the stream gives as state stands, as it was, in the next request."""
    (path,) = (p for p in transcripts("ollama", "ndjson") if p.stem == "tool_call")
    deltas = drained(OLLAMA.stream_decoder(ANY_REQUEST, no_new_id), [path.read_bytes()])
    (state,) = (delta["StateDelta"]["state"] for delta in deltas if "StateDelta" in delta)

    answer = called(("call_ef56ab78", "get_weather", '{"city":"Oslo"}'), provider_state=state)

    assert told(USER, answer)[1]["thinking"] == "Need the tool."
    assert "thinking" not in told(USER, answer | {"provider_state": {"thinking": 5}})[1]


@pytest.mark.parametrize(
    ("params", "think"),
    [
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning_effort": "max"}, "max"),
        ({"thinking_budget": 0, "reasoning_effort": "high"}, False),
        ({"thinking_budget": -1}, True),
        ({"thinking_budget": 1024}, "low"),
        ({"thinking_budget": 8192}, "medium"),
        ({"thinking_budget": 16384}, "high"),
        ({"thinking_budget": 32768}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "medium"),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
    ],
)
def test_reasoning_knobs_become_think(params, think):
    """The most explicit knob wins."""
    request = built(model="gpt-oss:20b", **params)

    assert orjson.loads(request.body)["think"] == think
    assert request.dropped_params == ()


def test_model_that_is_not_known_to_think_is_not_asked_to():
    """It would refuse the call; Ollama's own word goes out as it comes."""
    assert sent(reasoning_effort="high") == {}
    assert built(reasoning_effort="high").dropped_params == ("reasoning_effort",)
    assert built(reasoning_effort="none").dropped_params == ()
    assert sent(think=True) == {"think": True}


def test_json_becomes_a_format():
    """And stands in the prompt, because the grammar is not told to the model."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    assert sent(response_format=wanted) == {"format": schema}
    assert orjson.dumps(schema).decode() in told(USER, response_format=wanted)[0]["content"]
    assert sent(response_format={"type": "json_object"}) == {"format": "json"}
    said = {"role": "user", "content": "Some JSON."}
    assert told(said, response_format={"type": "json_object"}) == [said]


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [TOOL]},
        {"model": "gpt-oss:120b-cloud"},
        {"credentials": Credentials(base_url="https://ollama.com")},
    ],
)
def test_format_is_not_sent_where_it_does_harm(params):
    """Beside tools it would hold the calls to it, and the cloud does not know it; words stay."""
    request = built(response_format={"type": "json_object"}, **params)

    body = orjson.loads(request.body)
    assert "format" not in body
    assert body["messages"][0] == {"role": "system", "content": "Answer in JSON."}
    assert request.dropped_params == ("response_format",)


@pytest.mark.parametrize(
    ("model", "reasons", "schema"),
    [
        ("llama3.3", False, True),
        ("my-own-agent", False, True),
        ("qwen3:8b", True, True),
        ("library/qwen3:8b", True, True),
        ("qwen3-coder:30b", False, True),
        ("qwen3:30b-a3b-instruct-2507-q4_K_M", False, True),
        ("gpt-oss:20b", True, True),
        ("gpt-oss:120b-cloud", True, False),
        ("deepseek-r1:8b", True, True),
        ("kimi-k2-thinking:cloud", True, False),
    ],
)
def test_capabilities_are_the_models(model, reasons, schema):
    """Tools and images are the server's to refuse; a choice of tools is never had."""
    able = OLLAMA.capabilities(model)

    assert able.tools is Support.NATIVE
    emulated = {able.tool_choice_none, able.tool_choice_required, able.tool_choice_named}
    assert emulated | {able.single_tool_call} == {Support.EMULATED}
    assert (able.image_urls, able.image_data) == (False, True)
    assert (able.reasoning, able.json_object, able.json_schema) == (reasons, schema, schema)
    assert not able.json_schema_with_tools


def embedding(given_input: Any, **params: Any) -> list[HTTPRequest]:
    request = EmbeddingsRequest(model="nomic-embed-text", input=given_input, params=params)
    return OLLAMA.build_embeddings_requests(request, CREDENTIALS)


def test_embeddings_ask_for_all_inputs_at_once():
    """Too long a text is refused, and not cut."""
    (request,) = embedding(["x", "y"], dimensions=256, user="u", encoding_format="base64")

    assert request.url == "http://127.0.0.1:1/api/embed"
    assert orjson.loads(request.body) == {
        "model": "nomic-embed-text",
        "input": ["x", "y"],
        "dimensions": 256,
        "truncate": False,
    }
    assert request.dropped_params == ()
    assert orjson.loads(embedding("x")[0].body)["input"] == ["x"]


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2]], None])
def test_tokens_are_no_input(tokens):
    """Ollama embeds text alone."""
    with pytest.raises(InvalidRequestError) as caught:
        embedding(tokens)

    assert caught.value.param == "input"


def test_embeddings_come_back_in_order():
    """With the count of the prompt, if the server says it."""
    body = b'{"model":"m","embeddings":[[1,0.5],[2,0.5]],"prompt_eval_count":8}'

    assert OLLAMA.parse_embeddings(body) == Embeddings(
        vectors=[[1, 0.5], [2, 0.5]],
        usage=TokenUsage(input_tokens=8),
        raw_usage={"prompt_eval_count": 8},
    )
    assert OLLAMA.parse_embeddings(b'{"embeddings":[]}').usage is None
    for bad in (b"{}", b"[", b'{"embeddings":[["a"]]}', b"\xff"):
        with pytest.raises(ProviderBadReplyError):
            OLLAMA.parse_embeddings(bad)


def test_ollama_s_own_types_know_what_goes_out():
    """Every recorded request and embedding, judged by the vendor's SDK."""
    pytest.importorskip("ollama")
    from ollama import Options
    from ollama._types import ChatRequest, EmbedRequest

    newer = {"truncate"}
    for path in transcripts("ollama", "request.json"):
        body = json.loads(path.read_text())["sent"]
        ChatRequest.model_validate(body)
        assert set(body) - newer <= set(ChatRequest.model_fields)
        Options.model_validate(body["options"])
        assert set(body["options"]) <= set(Options.model_fields)
    embed = orjson.loads(embedding(["x"], dimensions=3)[0].body)
    assert set(embed) <= set(EmbedRequest.model_fields)
    EmbedRequest.model_validate(embed)
