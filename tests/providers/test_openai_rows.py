"""What is particular to each row: its mapping, its abilities, its errors, its state."""

import importlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.rows import ROWS
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    EmbeddingsRequest,
    HTTPRequest,
    StateDelta,
    Support,
)

TRANSCRIPTS = Path(__file__).parent / "transcripts"
PROVIDERS = {row.name: row for row in ROWS}
NATIVE_ONLY = [row.name for row in ROWS if not row.speaks_openai]
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/v1", api_key="sk-test-key")
USER = {"role": "user", "content": "Hi"}
TOOL = {
    "type": "function",
    "function": {"name": "f", "strict": True, "parameters": {"type": "object", "$id": "x"}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "22C"}
JSON_OBJECT = {"type": "json_object"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x"}}


def built(name: str, model: str, messages: Any = None, **params: Any) -> HTTPRequest:
    request = CompletionRequest(model=model, messages=messages or [USER], params=params)
    return PROVIDERS[name].build_request(request, CREDENTIALS)


def sent(name: str, model: str, messages: Any = None, **params: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(built(name, model, messages, **params).body)
    return body


def only_params(name: str, model: str, **params: Any) -> dict[str, Any]:
    body = sent(name, model, **params)
    return {key: value for key, value in body.items() if key not in ("model", "messages")}


OSS = {"include_reasoning": True}
PARSED = {"reasoning_format": "parsed"}
BOUNDED = {"max_completion_tokens": 16_384, "reasoning_format": "parsed"}
CUT = {"context_length_exceeded_behavior": "error"}


@pytest.mark.parametrize(
    ("name", "model", "given", "expected"),
    [
        ("mistral", "m", {"seed": 7}, {"random_seed": 7}),
        ("mistral", "m", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("mistral", "mistral-small-latest", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        ("mistral", "mistral-small-latest", {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        ("mistral", "mistral-large-4", {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        ("mistral", "magistral-medium-latest", {"reasoning_effort": "low"}, {"prompt_mode": "reasoning"}),
        ("mistral", "ministral-8b-latest", {"reasoning_effort": "low"}, {}),
        ("groq", "llama-3.3-70b-versatile", {"reasoning_effort": "low"}, {}),
        ("groq", "qwen/qwen3-32b", {"reasoning_effort": "low"}, PARSED | {"reasoning_effort": "default"}),
        ("groq", "qwen/qwen3-32b", {"thinking": {"type": "disabled"}}, PARSED | {"reasoning_effort": "none"}),
        ("groq", "qwen/qwen3.8-27b", {"reasoning_effort": "max"}, PARSED | {"reasoning_effort": "high"}),
        ("groq", "openai/gpt-oss-20b", {"reasoning_effort": "minimal"}, OSS | {"reasoning_effort": "low"}),
        ("groq", "m", {"presence_penalty": 1, "logit_bias": {"1": 1}, "n": 1}, {}),
        ("together", "m", {"stop": "x"}, {"stop": ["x"]}),
        ("together", "openai/gpt-oss-20b", {"reasoning_effort": "none"}, {}),
        ("together", "deepseek-ai/DeepSeek-V4-Pro", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        ("together", "zai-org/GLM-5", {"reasoning_effort": "none"}, {"reasoning": {"enabled": False}}),
        ("fireworks", "m", {"reasoning_effort": "none"}, CUT | {"reasoning_effort": "none"}),
        ("fireworks", "minimax-m2", {"reasoning_effort": "none"}, CUT),
        ("deepseek", "deepseek-v4-pro", {"temperature": 0.2, "stop": "x"}, {"stop": "x"}),
        ("deepseek", "deepseek-v4-pro", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        ("deepseek", "deepseek-v4-pro", {"reasoning_effort": "max"}, {"reasoning_effort": "max"}),
        (
            "deepseek",
            "deepseek-v4-pro",
            {"reasoning_effort": "none", "temperature": 0.2},
            {"thinking": {"type": "disabled"}, "temperature": 0.2},
        ),
        ("cerebras", "zai-glm-5.3", {"reasoning_effort": "medium"}, BOUNDED | {"reasoning_effort": "high"}),
        ("cerebras", "qwen-3.8-27b", {"thinking_budget": 0}, BOUNDED | {"reasoning_effort": "none"}),
        ("cerebras", "m", {"max_tokens": 5}, {"max_completion_tokens": 5, "reasoning_format": "parsed"}),
        ("sambanova", "gpt-oss-120b", {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (
            "sambanova",
            "Qwen3-235B",
            {"reasoning_effort": "none"},
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
        ("sambanova", "m", {"response_format": JSON_OBJECT, "presence_penalty": 1}, {}),
        ("openrouter", "x/y", {"temperature": 1, "top_p": 1, "presence_penalty": 0}, {}),
        ("openrouter", "x/y", {"reasoning_effort": "max"}, {"reasoning": {"effort": "xhigh"}}),
        (
            "openrouter",
            "openai/gpt-5-mini",
            {"temperature": 0.2, "reasoning_effort": "none"},
            {"reasoning": {"effort": "minimal"}},
        ),
        ("openrouter", "openai/gpt-4o", {"reasoning_effort": "low", "temperature": 0.2}, {"temperature": 0.2}),
        ("azure", "gpt-5", {"max_tokens": 5, "logprobs": True}, {"max_completion_tokens": 5}),
        ("huggingface", "a/b:fastest", {"max_completion_tokens": 5, "logit_bias": {"1": 1}}, {"max_tokens": 5}),
    ],
)  # fmt: skip
def test_parameters_are_the_rows_own(name, model, given, expected):
    """Each is sent as this provider and this model want it, or not at all."""
    assert only_params(name, model, **given) == expected


@pytest.mark.parametrize(
    ("name", "choice", "expected"),
    [
        ("mistral", "required", "any"),
        ("mistral", "auto", "auto"),
        ("groq", "required", "required"),
        ("openrouter", "required", "required"),
        ("openrouter", "auto", None),
    ],
)
def test_tool_choice_has_the_providers_word(name, choice, expected):
    """`any` is Mistral's older word for `required`, which all its models know."""
    body = sent(name, "m", tools=[TOOL], tool_choice=choice)

    assert body.get("tool_choice") == expected


@pytest.mark.parametrize(
    ("choice", "is_off"),
    [
        ("required", True),
        ({"type": "function", "function": {"name": "f"}}, True),
        ("auto", False),
        ("none", False),
    ],
)
def test_forced_tool_at_deepseek_turns_thinking_off(choice, is_off):
    """Thinking mode refuses it; the caller's choice weighs more."""
    request = built("deepseek", "deepseek-v4-pro", tools=[TOOL], tool_choice=choice, temperature=0)
    body = orjson.loads(request.body)

    assert (body.get("thinking") == {"type": "disabled"}) is is_off
    assert body["tool_choice"] == choice
    assert ("temperature" in body) is is_off


@pytest.mark.parametrize(
    ("name", "keeps"),
    [
        (name, name in ("mistral", "groq", "cerebras", "openrouter", "azure"))
        for name in NATIVE_ONLY
    ],
)
def test_strict_functions_where_they_are_known(name, keeps):
    """Elsewhere the word would be refused."""
    [tool] = sent(name, "m", tools=[TOOL])["tools"]

    assert ("strict" in tool["function"]) is keeps
    assert ("$id" in tool["function"]["parameters"]) is (name != "mistral")


@pytest.mark.parametrize("name", ["groq", "fireworks"])
def test_tools_win_over_a_format_beside_them(name):
    """The pair is refused; the answer's JSON is held to its word elsewhere."""
    request = built(name, "m", tools=[TOOL], response_format=JSON_OBJECT)
    body = orjson.loads(request.body)

    assert "response_format" not in body
    assert request.dropped_params == ("response_format",)
    assert body["messages"][0] == {"role": "system", "content": "Answer in JSON."}


@pytest.mark.parametrize("name", ["mistral", "groq", "fireworks", "deepseek"])
def test_json_mode_mentions_json_once(name):
    """Only if no message does."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "As JSON."}]

    assert sent(name, "m", said, response_format=JSON_OBJECT)["messages"] == said
    told = sent(name, "m", [*said[:1], USER], response_format=JSON_OBJECT)["messages"]
    assert told == [{"role": "system", "content": "Be brief.\n\nAnswer in JSON."}, USER]


def test_router_is_asked_for_a_route_that_heeds():
    """Only where something depends on it: a required parameter narrows the routes."""
    required = {"require_parameters": True}

    assert "provider" not in sent("openrouter", "x/y", temperature=0.2)
    assert "provider" not in sent("openrouter", "x/y", response_format={"type": "text"})
    assert sent("openrouter", "x/y", tools=[TOOL])["provider"] == required
    assert sent("openrouter", "x/y", response_format=JSON_OBJECT)["provider"] == required
    order = {"order": ["anthropic"]}
    assert sent("openrouter", "x/y", provider=order)["provider"] == order
    assert sent("openrouter", "x/y", provider=order, tools=[TOOL])["provider"] == order | required


@pytest.mark.parametrize("name", NATIVE_ONLY)
@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_what_can_neither_be_sent_nor_dropped_is_refused(name, params, param):
    """A caller who asked for two answers does not get one."""
    with pytest.raises(InvalidRequestError) as caught:
        built(name, "m", **params)

    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


@pytest.mark.parametrize("name", [name for name in NATIVE_ONLY if name != "azure"])
def test_only_text_and_images_are_sent(name):
    """Other parts would be refused, or read as nothing."""
    part = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}

    with pytest.raises(InvalidRequestError, match="'input_audio' cannot be sent") as caught:
        sent(name, "m", [{"role": "user", "content": [part]}])

    assert (caught.value.param, caught.value.code) == ("messages", "unsupported_parameter")


MISTRAL_CALL = {**CALL, "id": "JVzE51NB8"}


@pytest.mark.parametrize(
    ("name", "messages", "expected"),
    [
        pytest.param(
            "mistral",
            [USER | {"name": "ann"}, {"role": "assistant", "content": "Hello"}],
            [USER, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Continue."}],
            id="never the assistant last",
        ),
        pytest.param(
            "mistral",
            [{"role": "assistant", "content": None}, USER, {"role": "system", "content": "S"}],
            [{"role": "system", "content": "S"}, USER],
            id="no empty answers, system first",
        ),
        pytest.param(
            "groq",
            [USER, CALLED | {"function_call": None, "annotations": []}, RESULT],
            [USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT],
            id="no null, no key that is not known",
        ),
        pytest.param(
            "deepseek",
            [USER, CALLED, RESULT],
            [USER, CALLED | {"reasoning_content": ""}, RESULT],
            id="reasoning is owed once there are calls",
        ),
        pytest.param(
            "deepseek",
            [USER, {"role": "assistant", "content": "Hi"}, USER],
            [USER, {"role": "assistant", "content": "Hi"}, USER],
            id="reasoning is not owed without calls",
        ),
        pytest.param(
            "together",
            [{"role": "user", "content": [IMAGE | {"image_url": {"url": "https://x", "detail": "low"}}]}],
            [{"role": "user", "content": [IMAGE]}],
            id="no detail of an image where it is not known",
        ),
        pytest.param(
            "fireworks",
            [USER | {"name": "ann"}],
            [USER],
            id="no names where they are not known",
        ),
        pytest.param(
            "together",
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            [{"role": "user", "content": "a\nb"}],
            id="texts become one",
        ),
        pytest.param(
            "together",
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]}],
            id="images stay parts",
        ),
        pytest.param(
            "cerebras",
            [{"role": "developer", "content": "D"}, USER],
            [{"role": "system", "content": "D"}, USER],
            id="developer is system",
        ),
        pytest.param(
            "together",
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER],
            [{"role": "assistant", "content": "No."}, USER],
            id="a refusal is what was said",
        ),
    ],
)  # fmt: skip
def test_messages_are_the_rows_own(name, messages, expected):
    """Each history is put as this provider takes it."""
    assert sent(name, "m", messages)["messages"] == expected


def test_call_ids_at_mistral_are_nine_letters_and_agree():
    """A call and its result map to the same nine; nine are left as they are."""
    one = sent("mistral", "m", [USER, CALLED, RESULT])["messages"]
    two = sent("mistral", "m", [USER, CALLED, RESULT])["messages"]
    own = sent("mistral", "m", [USER, CALLED | {"tool_calls": [MISTRAL_CALL]}])["messages"]

    call_id = one[1]["tool_calls"][0]["id"]
    assert len(call_id) == 9
    assert call_id.isalnum()
    assert one[2]["tool_call_id"] == call_id
    assert one == two
    assert own[1]["tool_calls"][0]["id"] == "JVzE51NB8"


THINKING = CALLED | {"reasoning_content": "Need the tool."}


def test_mistral_is_given_a_schema_where_there_is_none():
    """Its functions have to have parameters."""
    bare = {"type": "function", "function": {"name": "f"}}
    body = sent("mistral", "mistral-large-latest", [USER], tools=[bare])

    [tool] = body["tools"]
    assert tool["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}


def test_deepseek_is_owed_reasoning_beside_tools():
    """An answer of another provider has none; without the key the whole call is refused.

    A caller may give it back itself, as it came.
    """
    history = [USER, CALLED, RESULT]

    thinking = sent("deepseek", "deepseek-v4-pro", history, tools=[TOOL])["messages"]
    off = sent("deepseek", "deepseek-v4-pro", history, tools=[TOOL], reasoning_effort="none")

    given = sent("deepseek", "deepseek-v4-pro", [USER, THINKING, RESULT], tools=[TOOL])["messages"]

    assert thinking[1] == CALLED | {"reasoning_content": ""}
    assert given[1] == THINKING
    assert off["messages"][1] == CALLED


@pytest.mark.parametrize(
    ("name", "case", "field"),
    [
        ("mistral", "thinking", "content"),
        ("groq", "tool_call", "reasoning"),
        ("fireworks", "tool_call", "reasoning_content"),
        ("deepseek", "tool_call", "reasoning_content"),
        ("cerebras", "tool_call", "reasoning"),
        ("openrouter", "tool_call", "reasoning_details"),
    ],
)
def test_state_goes_back_where_it_came_from(name, case, field):
    """What an answer left behind stands in the next request as the provider demands."""
    stream = PROVIDERS[name].stream_decoder(
        CompletionRequest(model="m", messages=[USER]), lambda prefix: prefix
    )
    deltas = stream.feed((TRANSCRIPTS / name / f"{case}.sse").read_bytes())
    [state] = [delta.state for delta in deltas if isinstance(delta, StateDelta)]
    stored = json.loads(json.dumps(state))
    answer = {"role": "assistant", "content": "4", "provider_state": stored}

    replayed = sent(name, "m", [USER, answer, USER])["messages"][1]

    assert "provider_state" not in replayed
    if name == "mistral":
        assert replayed["content"] == [*stored["thinking"], {"type": "text", "text": "4"}]
    else:
        assert replayed == {"role": "assistant", "content": "4", field: stored[field]}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("state", [None, "x", [], {}, {"thinking": 1}, {"other": "x"}])
def test_state_that_is_none_is_left_out(name, state):
    """Nothing of ours reaches the wire, whatever was stored."""
    answer = {"role": "assistant", "content": "4", "provider_state": state}

    replayed = sent(name, "m", [USER, answer, USER])["messages"][1]

    assert replayed == {"role": "assistant", "content": "4"}


@pytest.mark.parametrize(
    ("name", "model", "yes", "no"),
    [
        ("openai", "gpt-4o", "json_schema image_urls", "reasoning"),
        ("openai", "gpt-5", "json_schema image_urls reasoning", ""),
        ("openai", "gpt-3.5-turbo", "json_object", "json_schema image_urls reasoning"),
        ("openai", "o3-mini", "reasoning json_schema", "image_data"),
        ("mistral", "mistral-medium-latest", "json_schema json_schema_with_tools reasoning image_urls", ""),
        ("mistral", "codestral-latest", "json_schema", "image_urls reasoning"),
        ("groq", "openai/gpt-oss-120b", "json_schema reasoning", "json_schema_with_tools image_urls"),
        ("groq", "llama-3.3-70b-versatile", "json_object", "json_schema image_urls reasoning"),
        ("groq", "meta-llama/llama-4-scout", "image_urls", "reasoning"),
        ("together", "Qwen/Qwen3.5-397B-A17B", "json_object reasoning", "json_schema"),
        ("fireworks", "gpt-oss-120b", "json_schema", "json_schema_with_tools"),
        ("deepseek", "deepseek-v4-pro", "json_object reasoning prompt_caching", "json_schema image_urls"),
        ("deepseek", "deepseek-flash", "image_urls image_data", "json_schema"),
        ("cerebras", "gpt-oss-120b", "json_schema reasoning", "json_schema_with_tools image_urls"),
        ("sambanova", "gpt-oss-120b", "image_data reasoning", "json_object json_schema image_urls"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "json_schema prompt_caching", "json_schema_with_tools"),
        ("azure", "gpt-4.1", "json_schema json_schema_with_tools", "reasoning"),
        ("huggingface", "openai/gpt-oss-120b", "json_object", "json_schema prompt_caching"),
        ("huggingface", "openai/gpt-oss-120b:cerebras", "json_schema", "image_urls"),
    ],
)  # fmt: skip
def test_abilities_are_the_models_own(name, model, yes, no):
    """What a model does by itself, by the beginning of its name."""
    able = PROVIDERS[name].capabilities(model)

    assert [flag for flag in yes.split() if not getattr(able, flag)] == []
    assert [flag for flag in no.split() if getattr(able, flag)] == []


@pytest.mark.parametrize(
    ("name", "emulated"),
    [
        ("mistral", {"none"}),
        ("groq", set()),
        ("together", set()),
        ("fireworks", set()),
        ("deepseek", {"single"}),
        ("cerebras", set()),
        ("sambanova", set()),
        ("openrouter", {"named", "single"}),
        ("azure", set()),
        ("huggingface", {"none", "required", "named", "single"}),
    ],
)
def test_tool_choices_are_had_or_made_up_for(name, emulated):
    """Every model of these takes tools; not each heeds every choice."""
    able = PROVIDERS[name].capabilities("m")
    choices = {
        "none": able.tool_choice_none,
        "required": able.tool_choice_required,
        "named": able.tool_choice_named,
        "single": able.single_tool_call,
    }

    assert able.tools is Support.NATIVE
    assert {key for key, support in choices.items() if support is Support.EMULATED} == emulated


@pytest.mark.parametrize(
    ("name", "expected", "dropped"),
    [
        ("mistral", {"output_dimension": 3}, ()),
        ("together", {}, ("dimensions",)),
        ("fireworks", {"dimensions": 3}, ()),
        ("sambanova", {}, ("dimensions",)),
        ("openrouter", {"dimensions": 3}, ()),
        ("azure", {"dimensions": 3}, ()),
    ],
)
def test_embeddings_take_what_the_row_says(name, expected, dropped):
    """Numbers are asked for everywhere: base64 is made here for who wants it."""
    asked = EmbeddingsRequest(
        model="m/e", input=["x"], params={"dimensions": 3, "encoding_format": "base64", "user": "u"}
    )

    [request] = PROVIDERS[name].build_embeddings_requests(asked, CREDENTIALS)

    assert request.url == "http://127.0.0.1:1/v1/embeddings"
    assert orjson.loads(request.body) == {"model": "m/e", "input": ["x"], **expected}
    assert request.dropped_params == dropped


@pytest.mark.parametrize("name", ["groq", "deepseek", "cerebras"])
def test_rows_without_embeddings_say_so(name):
    """The caller is told what to use instead."""
    assert not PROVIDERS[name].has_embeddings
    with pytest.raises(InvalidRequestError, match=f"{name} offers no embeddings"):
        PROVIDERS[name].build_embeddings_requests(
            EmbeddingsRequest(model="m", input="x"), CREDENTIALS
        )


def test_vectors_come_in_the_order_of_the_inputs():
    """An answer may say the order instead of keeping it."""
    body = orjson.dumps(
        {
            "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1]}],
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
        }
    )

    answer = PROVIDERS["together"].parse_embeddings(body)

    assert answer.vectors == [[1.0], [2.0]]
    assert answer.usage == TokenUsage(input_tokens=4)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[{"embedding":"x"}]}', b"\xff"])
def test_vectors_that_are_none_are_a_bad_reply(body):
    """What cannot be read is not guessed at."""
    with pytest.raises(ProviderBadReplyError):
        PROVIDERS["mistral"].parse_embeddings(body)


def mistral_error(status: int, message: Any, kind: str, code: str) -> tuple[int, dict[str, Any]]:
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    return status, body | {"raw_status_code": status}


@pytest.mark.parametrize(
    ("name", "reply", "error", "code"),
    [
        ("mistral", (401, {"detail": "Unauthorized"}), ProviderAuthenticationError, None),
        ("mistral", mistral_error(429, "Rate limit", "rate_limited", "1300"), ProviderRateLimitedError, None),
        (
            "mistral",
            (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "no"}]}),
            ProviderRejectedError,
            "invalid_request",
        ),
        (
            "groq",
            (400, {"error": {"message": "x", "type": "invalid_request_error", "code": "tool_use_failed"}}),
            ProviderBadReplyError,
            None,
        ),
        (
            "together",
            (403, {"error": {"message": "prompt + max_tokens exceeds the context length", "code": None}}),
            ProviderRejectedError,
            "context_length_exceeded",
        ),
        ("together", (402, {"error": {"message": "limit"}}), ProviderQuotaExceededError, None),
        (
            "fireworks",
            (404, {"error": {"object": "error", "type": "x", "code": "NOT_FOUND", "message": "Model not found"}}),
            ProviderRejectedError,
            "model_not_found",
        ),
        ("deepseek", (402, {"error": {"message": "Insufficient Balance"}}), ProviderQuotaExceededError, None),
        ("deepseek", (503, {"error": {"message": "busy"}}), ProviderUnavailableError, None),
        (
            "cerebras",
            (429, {"message": "slow", "type": "too_many_requests_error", "param": "quota", "code": "x"}),
            ProviderRateLimitedError,
            None,
        ),
        (
            "sambanova",
            (400, {"error": {"message": "x", "code": "context_length_exceeded"}, "request_id": "r"}),
            ProviderRejectedError,
            "context_length_exceeded",
        ),
        ("sambanova", (410, {"error": {"message": "model removed"}}), ProviderRejectedError, "model_not_found"),
        ("sambanova", (504, {"error": {"message": "queue full"}}), ProviderTimeoutError, None),
        ("openrouter", (200, {"error": {"code": 502, "message": "x"}}), ProviderUnavailableError, None),
        ("openrouter", (529, {"error": {"code": 529, "message": "x"}}), ProviderUnavailableError, None),
        ("openrouter", (402, {"error": {"code": 402, "message": "credits"}}), ProviderQuotaExceededError, None),
        (
            "azure",
            (400, {"error": {"code": "content_filter", "message": "x", "innererror": {"code": "y"}}}),
            ProviderRejectedError,
            "content_policy_violation",
        ),
        ("azure", (401, {"error": {"code": "401", "message": "Access denied"}}), ProviderAuthenticationError, None),
        ("azure", (403, {"error": {"code": "x", "message": "rule"}}), ProviderPermissionDeniedError, None),
        ("azure", (429, {"error": {"code": "429", "message": "slow"}}), ProviderRateLimitedError, None),
        (
            "huggingface",
            (400, {"error": {"message": "x", "code": "model_not_supported"}}),
            ProviderRejectedError,
            "model_not_found",
        ),
        ("huggingface", (422, {"error": "bad", "error_type": "validation"}), ProviderRejectedError, None),
    ],
)  # fmt: skip
def test_errors_are_understood(name, reply, error, code):
    """Each vendor's own envelope, as its pages show it."""
    status, body = reply

    raised = error_from_reply(name, status, {}, orjson.dumps(body), 0)

    assert type(raised) is error
    assert raised.code == (code or error.default_code)


VENDOR_TYPES = {
    "mistral": ("mistralai.client.models", "ChatCompletionStreamRequest", ()),
    "groq": ("groq.types.chat.completion_create_params", "CompletionCreateParams", ("stream_options",)),
    "together": (
        "together.types.chat.completion_create_params",
        "CompletionCreateParamsStreaming",
        ("stream_options", "parallel_tool_calls"),
    ),
    "fireworks": (
        "fireworks.types.chat.completion_create_params",
        "CompletionCreateParamsStreaming",
        ("stream_options",),
    ),
    "cerebras": ("cerebras.cloud.sdk.types.chat.completion_create_params", "CompletionCreateParams", ()),
    "sambanova": ("sambanova.types.chat.completion_create_params", "CompletionCreateParamsStreaming", ()),
    "openrouter": ("openrouter.components", "ChatRequest", ()),
    "azure": ("openai.types.chat.completion_create_params", "CompletionCreateParamsStreaming", ()),
}  # fmt: skip
"""The vendors' own types, and what their wire takes although these lack it."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VENDOR_TYPES)
def test_requests_are_of_the_vendors_own_types(name):
    """Where a vendor's SDK is installed, it accepts what we send and knows every parameter."""
    pydantic = pytest.importorskip("pydantic")
    module, kind, untyped = VENDOR_TYPES[name]
    pytest.importorskip(module.partition(".")[0])
    adapter = pydantic.TypeAdapter(getattr(importlib.import_module(module), kind))

    for path in sorted(TRANSCRIPTS.glob(f"{name}/*.request.json")):
        body = json.loads(path.read_text())["sent"]
        read = adapter.validate_python(body)
        known = json.loads(adapter.dump_json(read, by_alias=True, exclude_unset=True))
        assert set(body) - set(known) <= set(untyped)
