"""Anthropic's Messages API, version 2023-06-01, as strict as its pages say.

Source: https://platform.claude.com/docs/en/api/messages and the pages on extended thinking, effort,
prompt caching and structured outputs, with the types of anthropic 2.11.0, read 2026-11-21.
"""

import re
from typing import Any, Final, NamedTuple

from tests.vendors.asked import Asked, Kind, objects, require, require_key, require_known
from tests.vendors.typed import problems

Body = dict[str, Any]
TYPES: Final = "anthropic.types.message_create_params:MessageCreateParamsStreaming"
UNTYPED: Final = {f"$.{name}: unknown field" for name in ("temperature", "top_p", "top_k")}
"""Left out of the SDK's types with its first version; the wire of 2023-06-01 takes them."""
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
CACHE_MARKS_MAX: Final = 4
BUDGET_MIN: Final = 1024
SCHEMA_KEYWORDS: Final = frozenset(
    {"minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "exclusiveMinimum"}
    | {"exclusiveMaximum", "uniqueItems", "patternProperties", "propertyNames"}
)
ALL: Final = frozenset({"low", "medium", "high", "xhigh", "max"})


class Model(NamedTuple):
    """What one model takes; the defaults are those of the newest."""

    sampling: bool = False
    budgets: bool = False
    efforts: frozenset[str] = ALL
    offs: frozenset[str] = frozenset()
    """Words for `thinking.type` that turn it off."""
    forced: bool = True
    system_turns: bool = False
    output_max: int = 128_000
    formats: bool = True
    prefill: bool = False


OLDER: Final = Model(
    sampling=True,
    budgets=True,
    efforts=frozenset(),
    offs=frozenset({"disabled"}),
    output_max=64_000,
    prefill=True,
)
MODELS: Final = {
    "claude-haiku-4-5": OLDER,
    "claude-sonnet-4-5": OLDER,
    "claude-opus-4-5": OLDER._replace(efforts=frozenset({"low", "medium", "high"})),
    "claude-sonnet-4-6": OLDER._replace(efforts=ALL - {"xhigh"}, output_max=128_000, prefill=False),
    "claude-opus-4-6": OLDER._replace(efforts=ALL - {"xhigh"}, output_max=128_000, prefill=False),
    "claude-opus-4-7": Model(offs=frozenset({"disabled"})),
    "claude-opus-4-8": Model(offs=frozenset({"disabled"}), system_turns=True),
    "claude-sonnet-5": Model(offs=frozenset({"disabled"})),
    "claude-opus-5": Model(offs=frozenset({"disabled"}), system_turns=True),
    "claude-sonnet-5-5": Model(offs=frozenset({"between_tools"}), forced=False),
    "claude-opus-5-5": Model(forced=False, system_turns=True),
    "claude-fable-5": Model(system_turns=True),
}


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Anthropic would refuse."""
    require(asked.method == "POST" and asked.path == "/v1/messages", "Not Found", Kind.NOT_FOUND)
    require_key(asked, "x-api-key", key)
    version = asked.headers.get("anthropic-version")
    require(version == "2023-06-01", f"anthropic-version: header is required, not {version}")
    body = asked.body
    require(isinstance(body, dict), "The request body is not valid JSON")
    require("max_tokens" in body, "max_tokens: Field required")
    require_known([p for p in problems(body, TYPES) if p not in UNTYPED])
    require("no-such-model" not in body["model"], "", Kind.NOT_FOUND)
    model = _model(body["model"])
    limit = body["max_tokens"]
    require(0 < limit <= model.output_max, f"max_tokens: {limit} > {model.output_max}")
    _sampling(body, model)
    _thinking(body, model)
    _turns(body, model)
    _tools(body, model)
    _format(body, model)
    _marks(body)


def _model(name: str) -> Model:
    short = re.sub(r"-\d{8}$", "", name)
    require(short.startswith("claude-"), f"model: {name}", Kind.NOT_FOUND)
    return MODELS.get(short, Model(forced=False))


def _sampling(body: Body, model: Model) -> None:
    given = {"temperature", "top_p", "top_k"} & body.keys()
    require(model.sampling or not given, f"{given} may not be set for this model")
    both = {"temperature", "top_p"} <= body.keys()
    require(not both, "`temperature` and `top_p` cannot both be specified for this model.")
    require(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
    for text in body.get("stop_sequences", ()):
        require(text.strip(), "stop_sequences: each stop sequence must contain non-whitespace")


def _thinking(body: Body, model: Model) -> None:
    thinking = body.get("thinking")
    effort = (body.get("output_config") or {}).get("effort")
    require(
        effort is None or effort in model.efforts,
        "This model does not support the effort parameter.",
    )
    if thinking is None:
        return
    kind = thinking["type"]
    known = {"enabled"} & ({"enabled"} if model.budgets else set()) | model.offs
    known |= {"adaptive"} if model.efforts else set()
    require(kind in known, f"thinking.type: '{kind}' is not supported for this model")
    if kind != "enabled":
        return
    budget = thinking["budget_tokens"]
    require(budget >= BUDGET_MIN, "thinking.budget_tokens: Input should be >= 1024")
    require(
        budget < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`"
    )
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    require(not forced, "Thinking may not be enabled when tool_choice forces tool use.")
    require(body.get("temperature", 1) == 1, "`temperature` may only be set to 1 with thinking")
    require("top_k" not in body, "`top_k` must be unset when thinking is enabled")
    _replayed(body["messages"])


def _replayed(messages: list[Body]) -> None:
    """The answers of the turn that goes on begin with the thinking that led to their calls."""
    start = max(
        (i for i, m in enumerate(messages) if m["role"] == "user" and not _kinds(m, "tool_result")),
        default=0,
    )
    for message in messages[start:]:
        if message["role"] == "assistant" and _kinds(message, "tool_use"):
            first = message["content"][0]["type"]
            is_thought = first in ("thinking", "redacted_thinking")
            require(is_thought, f"Expected `thinking` or `redacted_thinking`, but found `{first}`.")


def _turns(body: Body, model: Model) -> None:
    messages = body["messages"]
    require(messages, "messages: at least one message is required")
    require(messages[0]["role"] == "user", "messages: first message must use the `user` role")
    owed: set[str] = set()
    for message in messages:
        role = message["role"]
        require(
            role != "system" or model.system_turns, "role 'system' is not supported on this model"
        )
        for block in [b for b in message["content"] if isinstance(b, dict)]:
            _block(block, role)
        results = [b["tool_use_id"] for b in _kinds(message, "tool_result")]
        require({*results} == owed, f"`tool_use` ids without or with other `tool_result`: {owed}")
        _results_first(message)
        calls = [b["id"] for b in _kinds(message, "tool_use")]
        require(len({*calls}) == len(calls), "`tool_use` ids must be unique")
        owed = {*calls}
    require(not owed, f"`tool_use` ids were found without `tool_result` blocks: {owed}")
    last = messages[-1]
    require(
        last["role"] != "assistant" or model.prefill,
        "This model does not support assistant message prefill.",
    )
    if last["role"] == "assistant":
        text = str(last["content"][-1].get("text", ""))
        require(
            text == text.rstrip(), "final assistant content cannot end with trailing whitespace"
        )


def _results_first(message: Body) -> None:
    kinds = [b["type"] == "tool_result" for b in message["content"] if isinstance(b, dict)]
    require(kinds == sorted(kinds, reverse=True), "`tool_result` blocks must come first")


def _block(block: Body, role: str) -> None:
    kind = block["type"]
    if kind == "text":
        require(block["text"].strip(), "messages: text content blocks must be non-empty")
    require(kind not in ("image", "document", "tool_result") or role == "user", f"{kind} in {role}")
    require(kind not in ("tool_use", "thinking") or role == "assistant", f"{kind} in {role}")
    if kind == "image" and block["source"]["type"] == "base64":
        require(block["source"]["media_type"] in IMAGES, "source.media_type: unsupported")
    if kind in ("tool_use", "tool_result"):
        name = block.get("id") or block.get("tool_use_id")
        require(CALL_ID.fullmatch(str(name)), "String should match pattern '^[a-zA-Z0-9_-]+$'")


def _tools(body: Body, model: Model) -> None:
    tools = body.get("tools", [])
    has_calls = any(_kinds(m, "tool_use") or _kinds(m, "tool_result") for m in body["messages"])
    require(tools or not has_calls, "Requests which include `tool_use` blocks must define tools.")
    names = set()
    for tool in tools:
        require(NAME.fullmatch(tool["name"]), "tools.name: String should match pattern")
        require(tool["input_schema"].get("type") == "object", "input_schema.type: Field required")
        names.add(tool["name"])
        if tool.get("strict"):
            _lowered(tool["input_schema"])
    require(len(names) == len(tools), "tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    require(tools, "tool_choice: may only be specified while providing tools.")
    forced = choice["type"] in ("any", "tool")
    require(
        model.forced or not forced, "tool_choice: forced tool use is not supported on this model"
    )
    require(choice["type"] != "tool" or choice["name"] in names, "Tool not found in provided tools")


def _format(body: Body, model: Model) -> None:
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is not None:
        require(model.formats, "output_config.format: not supported for this model")
        _lowered(wanted["schema"])


def _lowered(schema: Any) -> None:
    for part in objects(schema):
        is_closed = part.get("additionalProperties") is False
        require(
            is_closed, "For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
        for inner in part.get("properties", {}).values():
            refused = SCHEMA_KEYWORDS & inner.keys() if isinstance(inner, dict) else ()
            require(not refused, f"For this type, property {refused} is not supported")


def _marks(body: Body) -> None:
    blocks = [*body.get("tools", [])]
    blocks += [b for b in body.get("system", []) if isinstance(b, dict)]
    for message in body["messages"]:
        blocks += [b for b in message["content"] if isinstance(b, dict)]
    count = sum("cache_control" in block for block in [*blocks, body])
    require(count <= CACHE_MARKS_MAX, f"A maximum of 4 blocks with cache_control: found {count}.")


def _kinds(message: Body, kind: str) -> list[Body]:
    content = message["content"]
    return [b for b in content if isinstance(b, dict) and b["type"] == kind]
