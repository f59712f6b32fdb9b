"""AWS Bedrock's Converse, by botocore's own model of the service, and what the model does not say.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html and
the service model of botocore 1.44.5, read 2026-11-21.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote

from tests.vendors.asked import Asked, Kind, keys, require, require_key

Body = dict[str, Any]
PATH: Final = re.compile(r"/model/([^/]+)/(converse-stream|invoke)")
REGIONS: Final = re.compile(r"(us|eu|apac|global)\.")
MISTRALS_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
FAMILIES_FORCED: Final = ("anthropic.claude", "amazon.nova", "zai.glm", "moonshot", "xai.grok")
FAMILIES_NAMED: Final = ("anthropic.claude", "amazon.nova")
FAMILIES_CACHING: Final = FAMILIES_NAMED
FAMILIES_LONE: Final = ("meta.llama", "mistral.", "writer.")
UNFORCED: Final = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2")
UNSAMPLED: Final = re.compile(r"claude-(opus-4-[78]|[a-z]+-5)|xai\.grok|openai\.gpt-[56]")
ADDITIONAL: Final = {
    "anthropic.claude": {"thinking", "output_config", "tool_choice", "top_k", "anthropic_beta"},
    "amazon.nova": {"reasoningConfig", "inferenceConfig"},
    "openai.gpt-oss": {"reasoning_effort"},
    "openai.gpt": {"reasoning"},
    "xai.grok": {"reasoning"},
    "deepseek.": {"reasoning_effort"},
    "zai.glm": {"reasoning_effort"},
}
SCHEMAS: Final = re.compile(r"claude-(haiku|sonnet|opus)-4-[56]")
CACHE_POINTS_MAX: Final = 4
BYTES_FIELDS: Final = ("bytes", "redactedContent")


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Bedrock would refuse; an InvokeModel call embeds."""
    called = PATH.fullmatch(asked.path)
    require(asked.method == "POST" and called, "UnknownOperationException", Kind.NOT_FOUND)
    assert called is not None
    require_key(asked, "authorization", key)
    model = unquote(called[1])
    require(":" not in called[1], "The model identifier is not percent-encoded.")
    require("no-such-model" not in model, "", Kind.NOT_FOUND)
    if called[2] == "invoke":
        _embeds(asked.body, model)
        return
    body = asked.body
    require(isinstance(body, dict), "Malformed input request.")
    _shape(body, model)
    family = REGIONS.sub("", model, count=1)
    _turns(body, family)
    _tools(body, family)
    _config(body, family)
    _format(body, family)
    _cache_points(body, family)


@cache
def _service() -> tuple[Any, Any]:
    from botocore.session import Session
    from botocore.validate import ParamValidator

    model = Session().get_service_model("bedrock-runtime")
    return model.operation_model("ConverseStream").input_shape, ParamValidator()


def _shape(body: Body, model: str) -> None:
    shape, validator = _service()
    require("modelId" not in body, "modelId belongs in the path")
    found = validator.validate({"modelId": model, **_decoded(body)}, shape)
    require(not found.has_errors(), found.generate_report())


def _decoded(value: Any) -> Any:
    """With bytes where the wire has base64, as botocore's model wants them."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: _bytes(v) if k in BYTES_FIELDS else _decoded(v) for k, v in value.items()}


def _bytes(text: Any) -> Any:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError):
        return text


def _turns(body: Body, family: str) -> None:
    messages = body["messages"]
    require(messages, "messages: at least one")
    roles = [message["role"] for message in messages]
    require(roles[0] == "user", "A conversation must start with a user message.")
    require(roles[-1] == "user", "This fake continues no answer: the last message is the user's.")
    alternate = all(a != b for a, b in pairwise(roles))
    require(alternate, "Roles must alternate between user and assistant.")
    owed: set[str] = set()
    for message in messages:
        content = message["content"]
        require(content, "The content field in the Message object is empty.")
        blank = [b for b in content if "text" in b and not b["text"].strip()]
        require(not blank, "The text field in the ContentBlock object is blank.")
        answered = [b["toolResult"]["toolUseId"] for b in content if "toolResult" in b]
        require(sorted(answered) == sorted(owed), f"Expected toolResult blocks for {sorted(owed)}")
        if answered and family.startswith(FAMILIES_LONE):
            require(len(answered) == len(content), "tool results fill a message of their own")
        called = [b["toolUse"]["toolUseId"] for b in content if "toolUse" in b]
        if family.startswith("mistral."):
            fits = all(MISTRALS_ID.fullmatch(name) for name in called)
            require(fits, "tool call ids must be nine letters and digits")
        owed = {*called}
    require(not owed, f"Expected toolResult blocks for {sorted(owed)}")


def _tools(body: Body, family: str) -> None:
    config = body.get("toolConfig")
    has_calls = any(
        "toolUse" in b or "toolResult" in b for m in body["messages"] for b in m["content"]
    )
    require(
        config or not has_calls, "The toolConfig field must be defined when using toolUse blocks."
    )
    beside = (body.get("additionalModelRequestFields") or {}).get("tool_choice")
    if config is None:
        require(beside is None, "tool_choice without tools")
        return
    names = {t["toolSpec"]["name"] for t in config["tools"] if "toolSpec" in t}
    choice = config.get("toolChoice") or {}
    require(not (choice and beside), "toolChoice twice")
    kind = next(iter(choice), "auto")
    require(kind != "any" or family.startswith(FAMILIES_FORCED), "toolChoice.any is not supported")
    require(kind != "tool" or family.startswith(FAMILIES_NAMED), "toolChoice.tool is not supported")
    if kind == "tool":
        require(choice["tool"]["name"] in names, "toolChoice names no tool")
    forced = kind in ("any", "tool") or (beside or {}).get("type") in ("any", "tool")
    is_unforced = any(name in family for name in UNFORCED)
    require(not (forced and is_unforced), "tool_choice: forced tool use is not supported")
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking") or {}
    thinks = thinking.get("type") == "enabled"
    require(
        not (forced and thinks), "Thinking may not be enabled when tool_choice forces tool use."
    )


def _config(body: Body, family: str) -> None:
    config = body.get("inferenceConfig") or {}
    sampled = {"temperature", "topP"} & config.keys()
    fits = all(0 <= config[name] <= 1 for name in sampled)
    require(fits, "temperature and topP: Member must be between 0 and 1")
    require(not (sampled and UNSAMPLED.search(family)), f"{sampled} is not supported by this model")
    is_claude_4_5 = re.search(r"claude-(haiku|sonnet|opus)-4-[56]", family)
    both = {"temperature", "topP"} <= config.keys()
    require(not (is_claude_4_5 and both), "temperature and top_p cannot both be specified")
    extra = body.get("additionalModelRequestFields") or {}
    best = max((p for p in ADDITIONAL if family.startswith(p)), key=len, default=None)
    unknown = extra.keys() - (ADDITIONAL[best] if best else set())
    require(not unknown, f"extraneous key [{unknown}] is not permitted")
    thinking = extra.get("thinking") or {}
    if thinking.get("type") == "enabled":
        budget = thinking["budget_tokens"]
        require(budget >= 1024, "thinking.budget_tokens: Input should be >= 1024")
        require(budget < config.get("maxTokens", 0), "max_tokens must be greater than the budget")
        require(not sampled, "temperature may only be set to 1 when thinking is enabled")


def _format(body: Body, family: str) -> None:
    """A schema is a text, and every object in it closed, at the models that take one."""
    wanted = (body.get("outputConfig") or {}).get("textFormat")
    if wanted is None:
        return
    require(SCHEMAS.search(family), "outputConfig.textFormat is not supported by this model")
    require(not body.get("toolConfig"), "This fake takes no tools beside a schema.")
    schema = json.loads(wanted["structure"]["jsonSchema"]["schema"])
    open_ones = [
        node
        for node in _objects(schema)
        if node.get("type") == "object" and node.get("additionalProperties") is not False
    ]
    require(not open_ones, "For 'object' type, 'additionalProperties' must be explicitly false")
    bounds = {"minimum", "exclusiveMaximum", "minLength"} & {*keys(schema)}
    require(not bounds, f"For 'integer' type, properties {bounds} are not supported")


def _objects(value: Any) -> Iterator[Body]:
    """Every object inside JSON."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _objects(inner)


def _cache_points(body: Body, family: str) -> None:
    require(not {"cache_control", "provider_state"} & {*keys(body)}, "extraneous key")
    count = sum(key == "cachePoint" for key in keys(body))
    require(count <= CACHE_POINTS_MAX, f"at most 4 cache points, not {count}")
    require(not count or family.startswith(FAMILIES_CACHING), "cachePoint is not supported")
    has_tool_points = any(
        "cachePoint" in t for t in (body.get("toolConfig") or {}).get("tools", ())
    )
    is_nova = family.startswith("amazon.nova")
    require(not (has_tool_points and is_nova), "cachePoint in tools is not supported")


def _embeds(body: Body, model: str) -> None:
    if model.startswith("amazon.titan-embed"):
        known = {"inputText", "dimensions", "normalize", "embeddingTypes"}
        require(isinstance(body.get("inputText"), str), "inputText: expected a string")
    elif model.startswith("cohere.embed"):
        known = {"texts", "input_type", "embedding_types", "truncate", "output_dimension"}
        require(body.get("input_type"), "input_type is required")
    else:
        known = {"taskType", "singleEmbeddingParams", "schemaVersion"}
    require(not body.keys() - known, f"extraneous key [{body.keys() - known}] is not permitted")
