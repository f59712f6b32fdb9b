# long: one table of what each vendor refuses, which is read as a whole
"""The fakes refuse what the vendors refuse: else it proves nothing that they take our requests."""

import copy
import json
from typing import Any

import pytest

from tests.vendors.asked import Asked, Kind, Refused, strings
from tests.vendors.chat_rules import RULES
from tests.vendors.envelopes import says_no
from tests.vendors.judges import JUDGES

KEY = "k"
USER = {"role": "user", "content": "Hi"}
FUNCTION = {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "abcdefgh1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "abcdefgh1", "content": "ok"}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
JSON_OBJECT = {"type": "json_object"}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": OPEN, "strict": True}}
MODELS = {
    "openai": "gpt-4.1",
    "azure": "gpt-4.1",
    "mistral": "mistral-large-latest",
    "groq": "llama-3.3-70b-versatile",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "accounts/fireworks/models/llama-v3p3-70b-instruct",
    "deepseek": "deepseek-v4-pro",
    "cerebras": "gpt-oss-120b",
    "sambanova": "Meta-Llama-3.3-70B-Instruct",
    "openrouter": "openai/gpt-4.1",
    "huggingface": "openai/gpt-oss-120b",
}
ALSO = {
    "fireworks": {"context_length_exceeded_behavior": "error"},
    "cerebras": {"max_completion_tokens": 100},
    "openrouter": {"provider": {"require_parameters": True}},
}
TEXT = {"type": "text", "text": "Hi"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
DONE = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": OPEN}}}
B_USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
B_DONE = {"toolResult": {"toolUseId": "t1", "content": [{"text": "ok"}]}}
G_CALL = {"functionCall": {"name": "f", "args": {}, "id": "1"}, "thoughtSignature": "c2ln"}
G_DONE = {"functionResponse": {"name": "f", "response": {"output": "ok"}, "id": "1"}}
ITEM = {"type": "message", "role": "user", "content": "Hi"}
FLAT = {"type": "function", "name": "f", "parameters": OPEN}
R_CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
R_DONE = {"type": "function_call_output", "call_id": "c1", "output": "ok", "name": "f"}


def _bearer(path: str, body: Any, query: str = "") -> Asked:
    return Asked("POST", path, query, {"authorization": f"Bearer {KEY}"}, body)


def _good(vendor: str) -> Asked:
    """A call that the vendor takes."""
    if vendor in RULES:
        body = {"model": MODELS[vendor], "messages": [USER], "stream": True, **ALSO.get(vendor, {})}
        call = _bearer("/chat/completions", body)
        return call._replace(headers={"api-key": KEY}) if vendor == "azure" else call
    return copy.deepcopy(NATIVE[vendor])


NATIVE = {
    "xai": _bearer(
        "/responses", {"model": "grok-4.3", "input": [ITEM], "stream": True, "store": False}
    ),
    "perplexity": _bearer(
        "/agent", {"model": "perplexity/sonar", "input": [ITEM], "stream": True, "store": False}
    ),
    "anthropic": Asked(
        "POST",
        "/v1/messages",
        "",
        {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": [TEXT]}],
            "stream": True,
        },
    ),
    "google": Asked(
        "POST",
        "/models/gemini-3.5-flash:streamGenerateContent",
        "alt=sse",
        {"x-goog-api-key": KEY},
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    ),
    "cohere": _bearer(
        "/v2/chat", {"model": "command-a-03-2025", "messages": [USER], "stream": True}
    ),
    "bedrock": _bearer(
        "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    ),
    "ollama": _bearer(
        "/api/chat",
        {"model": "qwen3:8b", "messages": [USER], "stream": True, "truncate": False},
    ),
    "replicate": _bearer(
        "/models/meta/meta-llama-3-70b-instruct/predictions", {"input": {"prompt": "Hi"}}
    ),
}  # fmt: skip


def turns(*contents: Any, role: str = "user") -> dict[str, Any]:
    """Messages whose roles alternate, beginning with `role`."""
    other = {"user": "assistant", "assistant": "user"}
    messages = []
    for content in contents:
        messages.append({"role": role, "content": content})
        role = other[role]
    return {"messages": messages}


def contents(*all_parts: Any) -> dict[str, Any]:
    roles = ("user", "model") * len(all_parts)
    return {"contents": [{"role": r, "parts": p} for r, p in zip(roles, all_parts, strict=False)]}


COMMON_BAD: dict[str, dict[str, Any]] = {
    "unknown field": {"novelty": 1},
    "null": {"temperature": None},
    "text for a number": {"temperature": "hot"},
    "no messages": {"messages": []},
    "no tools": {"tools": []},
    "choice without tools": {"tool_choice": "required"},
    "unknown role": {"messages": [{"role": "robot", "content": "Hi"}]},
    "unknown key in a message": {"messages": [USER | {"provider_state": {}}]},
    "mark in a message": {"messages": [USER | {"cache_control": {"type": "ephemeral"}}]},
    "call without result": {"messages": [USER, CALLED, USER], "tools": [TOOL]},
    "result without call": {"messages": [USER, RESULT], "tools": [TOOL]},
    "empty calls": {"messages": [USER, CALLED | {"tool_calls": []}, USER]},
    "two calls of one id": {
        "messages": [USER, CALLED | {"tool_calls": [CALL, CALL]}, RESULT],
        "tools": [TOOL],
    },
    "unknown kind of tool": {"tools": [{"type": "retrieval"}]},
    "name of a function": {"tools": [{"type": "function", "function": {"name": "a b"}}]},
    "both limits": {"max_tokens": 5, "max_completion_tokens": 5},
    "unknown format": {"response_format": {"type": "yaml"}},
    "unknown part": {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
    "model that is not there": {"model": "no-such-model"},
}
STRICT = {"type": "function", "function": FUNCTION | {"strict": True}}
LISTED = [{"type": "text", "text": "Hi"}]
NAMED = {"type": "function", "function": {"name": "f"}}
THOUGHT = {"messages": [USER, CALLED | {"reasoning_content": "x"}, RESULT], "tools": [TOOL]}

BAD: dict[str, dict[str, dict[str, Any]]] = {
    "openai": {
        "sampling while it reasons": {"model": "o3", "temperature": 0.2},
        "old limit": {"model": "gpt-5", "max_tokens": 5},
        "effort that it has not": {"model": "gpt-5.1", "reasoning_effort": "minimal"},
        "effort at a plain model": {"reasoning_effort": "low"},
        "tools while it reasons": {"model": "gpt-5.6-sol", "tools": [TOOL]},
        "too many stops": {"stop": ["a", "b", "c", "d", "e"]},
        "JSON without the word": {"response_format": JSON_OBJECT},
        "open strict schema": {"response_format": JSON_SCHEMA},
        "open strict tool": {"tools": [{"type": "function", "function": FUNCTION | {"strict": True}}]},
    },
    "azure": {
        "sampling while it reasons": {"model": "o3", "temperature": 0.2},
        "JSON without the word": {"response_format": JSON_OBJECT},
    },
    "mistral": {
        "usage option": {"stream_options": {"include_usage": True}},
        "seed": {"seed": 1},
        "new limit": {"max_completion_tokens": 5},
        "developer": {"messages": [{"role": "developer", "content": "x"}, USER]},
        "user after tool": {"messages": [USER, CALLED, RESULT, USER], "tools": [TOOL]},
        "assistant last": {"messages": [USER, {"role": "assistant", "content": "x"}]},
        "empty assistant": {"messages": [USER, {"role": "assistant", "content": ""}, USER]},
        "long id": {
            "messages": [
                USER,
                CALLED | {"tool_calls": [CALL | {"id": "call_1"}]},
                RESULT | {"tool_call_id": "call_1"},
            ]
        },
        "name of a user": {"messages": [USER | {"name": "ann"}]},
        "address of a schema": {
            "tools": [{"type": "function", "function": FUNCTION | {"parameters": {"$id": "x"}}}]
        },
        "effort": {"model": "mistral-small-latest", "reasoning_effort": "low"},
    },
    "groq": {
        "several choices": {"n": 2},
        "penalty": {"presence_penalty": 1},
        "log probabilities": {"logprobs": True},
        "name": {"messages": [USER | {"name": "ann"}]},
        "null in an answer": {
            "messages": [USER, CALLED | {"content": None}, RESULT],
            "tools": [TOOL],
        },
        "schema at a model without": {"response_format": JSON_SCHEMA},
        "format beside tools": {"response_format": JSON_OBJECT, "tools": [TOOL]},
        "knob of another model": {"reasoning_format": "parsed"},
        "effort at a plain model": {"reasoning_effort": "low"},
        "list in a system message": {"messages": [{"role": "system", "content": LISTED}, USER]},
    },
    "together": {
        "new limit": {"max_completion_tokens": 5},
        "developer": {"messages": [{"role": "developer", "content": "x"}, USER]},
        "strict": {"tools": [STRICT]},
        "one stop": {"stop": "x"},
        "no effort": {"model": "openai/gpt-oss-20b", "reasoning_effort": "none"},
    },
    "fireworks": {
        "short name": {"model": "llama-v3p3-70b-instruct"},
        "strict": {"tools": [STRICT]},
        "format beside tools": {"response_format": JSON_OBJECT, "tools": [TOOL]},
        "two knobs": {"reasoning_effort": "low", "thinking": {"type": "disabled"}},
        "format that is not told": {"response_format": JSON_OBJECT},
        "silent cut": {"context_length_exceeded_behavior": "truncate"},
    },
    "deepseek": {
        "schema": {"response_format": JSON_SCHEMA},
        "forced call while it thinks": {"tools": [TOOL], "tool_choice": "required"},
        "named call while it thinks": {"tools": [TOOL], "tool_choice": NAMED},
        "temperature while it thinks": {"temperature": 0.2},
        "reasoning that is owed": {"messages": [USER, CALLED, RESULT], "tools": [TOOL]},
        "new limit": {"max_completion_tokens": 5},
        "one call only": {"tools": [TOOL], "parallel_tool_calls": False},
        "retired": {"model": "deepseek-chat"},
        "list of texts": {"messages": [{"role": "user", "content": LISTED}]},
        "developer": {"messages": [{"role": "developer", "content": "x"}, USER]},
    },
    "cerebras": {
        "open schema": {"response_format": JSON_SCHEMA},
        "old limit": {"max_tokens": 5},
        "no effort": {"reasoning_effort": "none"},
        "developer": {
            "model": "zai-glm-5.3",
            "messages": [{"role": "developer", "content": "x"}, USER],
        },
    },
    "sambanova": {
        "image by address": {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}
            ]
        },
        "list of texts": {"messages": [{"role": "user", "content": LISTED}]},
        "late system": {"messages": [USER, {"role": "system", "content": "x"}, USER]},
    },
    "openrouter": {
        "no route asked for": {"tools": [TOOL], "provider": {}},
        "named": {"tools": [TOOL], "tool_choice": NAMED},
        "developer": {
            "model": "x/y",
            "messages": [{"role": "developer", "content": "x"}, USER],
        },
        "new limit": {"max_completion_tokens": 5},
    },
    "huggingface": {
        "several choices": {"n": 2},
        "one call only": {"tools": [TOOL], "parallel_tool_calls": False},
        "new limit": {"max_completion_tokens": 5},
    },
    "xai": {
        "stored": {"store": True},
        "unknown field": {"stop": ["x"]},
        "strict": {"tools": [FLAT | {"strict": True}]},
        "developer": {"input": [ITEM | {"role": "developer"}]},
        "effort": {"reasoning": {"effort": "xhigh"}},
        "call without output": {"input": [ITEM, R_CALL, ITEM], "tools": [FLAT]},
        "output without call": {"input": [ITEM, R_DONE], "tools": [FLAT]},
        "lone reasoning": {"input": [ITEM, {"type": "reasoning", "summary": []}]},
        "wrong type": {"temperature": "hot"},
        "model that is not there": {"model": "no-such-model"},
    },
    "perplexity": {
        "deep unknown field": {"input": [ITEM | {"novelty": 1}]},
        "sonar's old name": {"model": "sonar"},
        "few tokens": {"max_output_tokens": 5},
        "no limit for Claude": {"model": "anthropic/claude-sonnet-5"},
        "choice with a type": {
            "tools": [FLAT],
            "tool_choice": {"type": "function", "name": "f"},
        },
        "reserved name": {"tools": [FLAT | {"name": "web_search"}]},
        "JSON object": {"response_format": JSON_OBJECT},
        "format elsewhere": {"text": {"format": JSON_OBJECT}},
        "output without its name": {
            "input": [ITEM, R_CALL, {k: v for k, v in R_DONE.items() if k != "name"}],
            "tools": [FLAT],
        },
    },
    "anthropic": {
        "no limit": {"max_tokens": ...},
        "unknown field": {"seed": 1},
        "deep unknown field": turns([TEXT | {"novelty": 1}]),
        "wrong type": {"max_tokens": "many"},
        "too many tokens": {"max_tokens": 100_000},
        "both samplings": {"temperature": 0.1, "top_p": 0.1},
        "hot": {"temperature": 1.3},
        "sampling at a new model": {"model": "claude-sonnet-5", "temperature": 1},
        "budget at a new model": {
            "model": "claude-opus-5",
            "thinking": {"type": "enabled", "budget_tokens": 2048},
        },
        "off where it cannot be": {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}},
        "effort at an old model": {"output_config": {"effort": "low"}},
        "little budget": {"thinking": {"type": "enabled", "budget_tokens": 5}},
        "budget beyond the limit": {"thinking": {"type": "enabled", "budget_tokens": 5000}},
        "forced while it thinks": {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "tools": [{"name": "f", "input_schema": OPEN}],
            "tool_choice": {"type": "any"},
        },
        "forced at an unforced model": {
            "model": "claude-opus-5-5",
            "tools": [{"name": "f", "input_schema": OPEN}],
            "tool_choice": {"type": "any"},
        },
        "call without thinking": {
            **turns([TEXT], [USE], [DONE]),
            "tools": [{"name": "f", "input_schema": OPEN}],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        "call without result": {
            **turns([TEXT], [USE], [TEXT]),
            "tools": [{"name": "f", "input_schema": OPEN}],
        },
        "result without call": {**turns([DONE]), "tools": [{"name": "f", "input_schema": OPEN}]},
        "result after text": {
            **turns([TEXT], [USE], [TEXT, DONE]),
            "tools": [{"name": "f", "input_schema": OPEN}],
        },
        "calls without tools": turns([TEXT], [USE], [DONE]),
        "assistant first": turns([TEXT], [TEXT], role="assistant"),
        "prefill": {"model": "claude-sonnet-4-6", **turns([TEXT], [TEXT])},
        "blank text": turns([{"type": "text", "text": " "}]),
        "system in the middle": {"messages": [*turns([TEXT])["messages"], {"role": "system", "content": [TEXT]}]},
        "schema of no object": {"tools": [{"name": "f", "input_schema": {"type": "string"}}]},
        "open schema": {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}},
        "bounded number": {
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": {
                        "type": "object",
                        "properties": {"a": {"type": "integer", "minimum": 1}},
                        "additionalProperties": False,
                    },
                }
            }
        },
        "five marks": turns([TEXT | {"cache_control": {"type": "ephemeral"}}] * 5),
        "no such choice": {
            "tools": [{"name": "f", "input_schema": OPEN}],
            "tool_choice": {"type": "tool", "name": "g"},
        },
        "blank stop": {"stop_sequences": [" "]},
        "model that is not there": {"model": "no-such-model"},
    },
    "google": {
        "unknown field": {"seed": 1},
        "deep unknown field": contents([{"text": "Hi", "novelty": 1}]),
        "model last": contents([{"text": "Hi"}], [{"text": "Ho"}]),
        "call without signature": {
            **contents([{"text": "Hi"}], [{"functionCall": {"name": "f"}}], [G_DONE]),
        },
        "call without result": contents([{"text": "Hi"}], [G_CALL], [{"text": "Ho"}]),
        "result without call": contents([G_DONE]),
        "budget at a new model": {
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}},
        },
        "both knobs": {
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "low"}},
        },
        "penalty": {"generationConfig": {"presencePenalty": 1}},
        "six stops": {"generationConfig": {"stopSequences": list("abcdef")}},
        "address of a schema": {
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"$id": "x"}}]}]
        },
        "choice of nothing": {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "choice that is not declared": {
            "tools": [{"functionDeclarations": [{"name": "f"}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
        },
        "mark": contents([{"text": "Hi", "cache_control": {"type": "ephemeral"}}]),
    },
    "cohere": {
        "unknown field": {"n": 1},
        "deep unknown field": {"messages": [USER | {"novelty": 1}]},
        "hot": {"temperature": 1.3},
        "all of the mass": {"p": 1.0},
        "six stops": {"stop_sequences": list("abcdef")},
        "choice": {"tools": [TOOL], "tool_choice": "required"},
        "choice without tools": {"tool_choice": "REQUIRED"},
        "null content": {"messages": [USER, CALLED | {"content": None}, RESULT], "tools": [TOOL]},
        "words beside calls": {"messages": [USER, CALLED | {"content": "x"}, RESULT], "tools": [TOOL]},
        "call without result": {
            "messages": [USER, {k: v for k, v in CALLED.items() if k != "content"}, USER],
            "tools": [TOOL],
        },
        "format beside tools": {"response_format": JSON_OBJECT, "tools": [TOOL]},
        "schema without required": {
            "response_format": {"type": "json_object", "json_schema": OPEN},
            "messages": [{"role": "user", "content": "JSON"}],
        },
        "name of a function": {"tools": [{"type": "function", "function": FUNCTION | {"name": "a-b"}}]},
        "thinking at a plain model": {"thinking": {"type": "enabled"}},
        "image at a blind model": {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}
            ]
        },
        "model that is not there": {"model": "no-such-model"},
    },
    "bedrock": {
        "unknown field": {"seed": 1},
        "deep unknown field": turns([{"text": "Hi", "novelty": 1}]),
        "wrong type": {"inferenceConfig": {"maxTokens": "many"}},
        "blank text": turns([{"text": " "}]),
        "roles": {"messages": turns([{"text": "Hi"}])["messages"] * 2},
        "assistant last": turns([{"text": "Hi"}], [{"text": "Ho"}]),
        "call without result": {**turns([{"text": "Hi"}], [B_USE], [{"text": "x"}]), "toolConfig": {"tools": [SPEC]}},
        "result without call": {**turns([B_DONE]), "toolConfig": {"tools": [SPEC]}},
        "calls without tools": turns([{"text": "Hi"}], [B_USE], [B_DONE]),
        "both samplings": {"inferenceConfig": {"temperature": 0.1, "topP": 0.1}},
        "hot": {"inferenceConfig": {"temperature": 1.3}},
        "unknown knob": {"additionalModelRequestFields": {"reasoning_effort": "low"}},
        "budget beyond the limit": {
            "inferenceConfig": {"maxTokens": 1024},
            "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        },
        "choice twice": {
            "toolConfig": {"tools": [SPEC], "toolChoice": {"auto": {}}},
            "additionalModelRequestFields": {"tool_choice": {"type": "none"}},
        },
        "five points": turns([{"text": "Hi"}, *[{"cachePoint": {"type": "default"}}] * 5]),
    },
    "ollama": {
        "unknown field": {"novelty": 1},
        "choice": {"tools": [TOOL], "tool_choice": "required"},
        "not told to stream": {"stream": ...},
        "silent cut": {"truncate": True},
        "unknown option": {"options": {"n": 1}},
        "list of texts": {"messages": [{"role": "user", "content": LISTED}]},
        "arguments in a string": {"messages": [USER, CALLED, RESULT | {"tool_name": "f"}]},
        "result without call": {"messages": [USER, RESULT | {"tool_name": "f"}]},
        "thinking at a plain model": {"model": "llama3.2", "think": True},
        "image at a blind model": {"messages": [USER | {"images": ["aGk="]}]},
        "no image": {"model": "llava", "messages": [USER | {"images": ["data:x"]}]},
        "model that is not there": {"model": "no-such-model"},
    },
    "replicate": {
        "unknown field": {"stream": True},
        "unknown input": {"input": {"prompt": "Hi", "tools": []}},
        "wrong type": {"input": {"prompt": "Hi", "stop_sequences": ["a"]}},
        "no prompt": {"input": {}},
        "no input": {"input": ...},
    },
}  # fmt: skip


def _patched(asked: Asked, patch: dict[str, Any]) -> Asked:
    body = {k: v for k, v in (asked.body | patch).items() if v is not ...}
    return asked._replace(body=body)


CASES = [
    *((v, n, p) for v in RULES for n, p in COMMON_BAD.items()),
    *((v, n, p) for v, bad in BAD.items() for n, p in bad.items()),
]
MARKS_ARE_KEPT = {("openrouter", "mark in a message")}
"""There the mark stands on parts; on a message it is refused all the same."""


@pytest.mark.parametrize("vendor", JUDGES)
def test_a_good_call_is_taken(vendor):
    """What is refused below is refused for what is wrong with it, and for nothing else."""
    JUDGES[vendor](_good(vendor), KEY)


@pytest.mark.parametrize(
    ("vendor", "patch"),
    [
        ("openai", {"messages": [USER, CALLED, RESULT], "tools": [TOOL], "tool_choice": NAMED}),
        ("mistral", {"messages": [USER, CALLED, RESULT], "tools": [TOOL], "random_seed": 1}),
        ("deepseek", THOUGHT),
        ("xai", {"input": [ITEM, R_CALL, {k: v for k, v in R_DONE.items() if k != "name"}]}),
        ("perplexity", {"input": [ITEM, R_CALL, R_DONE], "tools": [FLAT]}),
        (
            "anthropic",
            {**turns([TEXT], [USE], [DONE, TEXT]), "tools": [{"name": "f", "input_schema": OPEN}]},
        ),
        ("google", contents([{"text": "Hi"}], [G_CALL], [G_DONE])),
        ("bedrock", {**turns([{"text": "Hi"}], [B_USE], [B_DONE]), "toolConfig": {"tools": [SPEC]}}),
    ],
)  # fmt: skip
def test_a_round_of_tools_is_taken(vendor, patch):
    """The calls and results of the cases below are good ones where they stand in order."""
    JUDGES[vendor](_patched(_good(vendor), patch), KEY)


@pytest.mark.parametrize(
    ("vendor", "patch"),
    [(v, p) for v, _, p in CASES],
    ids=[f"{v}-{n}" for v, n, _ in CASES],
)
def test_a_bad_call_is_refused(vendor, patch):
    """Each with the vendor's own 4xx."""
    with pytest.raises(Refused) as raised:
        JUDGES[vendor](_patched(_good(vendor), patch), KEY)

    reply = says_no(vendor, raised.value)
    assert 400 <= reply.status < 500
    said = [*strings(json.loads(reply.body))]
    assert any(raised.value.message in text for text in said)


@pytest.mark.parametrize("vendor", JUDGES)
def test_a_wrong_key_or_path_is_refused(vendor):
    """Without the key, with another, with a second one, and where nothing is."""
    good = _good(vendor)
    [name] = [n for n in good.headers if n != "anthropic-version"]
    other = {"x-api-key": "x"} if name == "authorization" else {"authorization": "Bearer k"}
    wrong = [good.headers | {name: "Bearer wrong"}]
    if vendor != "ollama":  # which needs none on the machine
        wrong += [{"anthropic-version": "2023-06-01"}, good.headers | other]

    for headers in wrong:
        with pytest.raises(Refused) as raised:
            JUDGES[vendor](good._replace(headers=headers), KEY)
        assert raised.value.kind is Kind.AUTH
    with pytest.raises(Refused):
        JUDGES[vendor](good._replace(path="/v9" + good.path), KEY)


EMBEDDINGS = {
    "openai": _bearer("/embeddings", {"model": "m", "input": ["a"], "user": "ann"}),
    "mistral": _bearer("/embeddings", {"model": "m", "input": ["a"], "dimensions": 3}),
    "together": _bearer("/embeddings", {"model": "m", "input": ["a"], "dimensions": 3}),
    "sambanova": _bearer("/embeddings", {"model": "m", "input": ["a"], "encoding_format": "float"}),
    "groq": _bearer("/embeddings", {"model": "m", "input": ["a"]}),
    "huggingface": _bearer(
        "/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction", {"inputs": [[1, 2]]}
    ),
    "cohere": _bearer("/v2/embed", {"model": "embed-v4.0", "texts": ["a"]}),
    "google": Asked(
        "POST",
        "/models/e:batchEmbedContents",
        "",
        {"x-goog-api-key": KEY},
        {"requests": [{"model": "models/e", "content": {"parts": [{"novelty": 1}]}}]},
    ),
    "bedrock": _bearer("/model/amazon.titan-embed-text-v2%3A0/invoke", {"texts": ["a"]}),
    "ollama": _bearer("/api/embed", {"model": "m", "input": ["a"], "encoding_format": "float"}),
}


@pytest.mark.parametrize("vendor", EMBEDDINGS)
def test_a_bad_call_for_embeddings_is_refused(vendor):
    """A field that the vendor does not know, one that it misses, or no such service."""
    with pytest.raises(Refused):
        JUDGES[vendor](EMBEDDINGS[vendor], KEY)
