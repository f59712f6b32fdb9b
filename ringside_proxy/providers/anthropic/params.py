"""OpenAI's parameters as Anthropic's, by what the model takes. Pure.

What is taken leaves `left`; what stays there is dropped, and named.
Source: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/extended-thinking and
https://platform.claude.com/docs/en/build-with-claude/effort, read 2026-11-21.
"""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.anthropic.messages import called_tools, marked
from ringside_proxy.providers.anthropic.models import Family
from ringside_proxy.providers.anthropic.schemas import STRICT_TOOLS_MAX, Lowering
from ringside_proxy.providers.native_request import REASONING, Message, Params

OUTPUT_TOKENS_DEFAULT: Final = 16_384
"""Anthropic demands a limit; this one stands if nobody set any. It includes thinking."""
ANSWER_TOKENS: Final = 8192
"""Left for the answer beside a budget for thinking, if nobody set a limit."""

BUDGET_MIN: Final = 1024
BUDGETS: Final = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
EFFORTS: Final = tuple(BUDGETS)
"""The least first."""
EFFORT_WHEN_OFF_MAX: Final = "high"

SAMPLINGS: Final = ("temperature", "top_p")
"""Where only one of them is taken, it is the first."""
NEUTRAL: Final = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""What happens anyway: leaving it out loses nothing, and newer models refuse even that."""
SERVICE_TIERS: Final = {
    "priority": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
}
ON: Final = ("enabled", "adaptive")
OFF: Final = ("disabled", "between_tools")
NO_SCHEMA: Final = {"type": "object", "properties": {}}
ANSWER_IN_JSON: Final = "Answer with one JSON object and nothing else."
ANSWER_IN_SCHEMA: Final = "Answer with JSON that meets this JSON schema and nothing else: "


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a request, and how they are to be used, in Anthropic's words."""

    tools: list[Message]
    kind: str = "auto"
    name: str | None = None
    is_single: bool = False

    @property
    def is_forced(self) -> bool:
        """The answer has to call."""
        return self.kind in ("any", "tool")

    def choice(self) -> Params | None:
        """`tool_choice`; None for what happens anyway."""
        if not self.tools or (self.kind == "auto" and not self.is_single):
            return None
        choice: Params = {"type": self.kind} | ({"name": self.name} if self.name else {})
        is_single = self.is_single and self.kind != "none"
        return choice | ({"disable_parallel_tool_use": True} if is_single else {})


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about reasoning."""

    config: Params | None = None
    effort: str | None = None
    output_tokens: int = 0
    """The limit that leaves room for it."""

    @property
    def is_on(self) -> bool:
        """The request itself turns it on; newer models reason anyway."""
        return self.config is not None and self.config.get("type") in ON


def tools_of(left: Params, messages: list[Message], family: Family) -> Tools:
    """What `tools`, `tool_choice` and `parallel_tool_calls` say together.

    Raises InvalidRequestError for tools that are no functions.
    """
    given, choice = left.pop("tools", []), left.pop("tool_choice", "auto")
    is_single = left.pop("parallel_tool_calls", True) is False
    for tool in given:
        if tool.get("type") != "function":
            raise InvalidRequestError(
                "Anthropic's models take tools of type 'function' only.",
                param="tools",
                code="unsupported_parameter",
            )
    if not given:
        if choice not in ("auto", "none"):
            left["tool_choice"] = choice
        return Tools(tools=called_tools(messages), kind="none")
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*allowed]} as allowance}:
            names = {tool.get("function", {}).get("name") for tool in allowed}
            given = [tool for tool in given if tool["function"]["name"] in names]
            kind, name = _kind(allowance.get("mode")), None
        case {"function": {"name": str() as name}}:
            kind = "tool"
        case _:
            kind, name = _kind(choice), None
    tools = Tools(tools=given, kind=kind, name=name, is_single=is_single)
    if tools.is_forced and not family.can_be_forced:
        left["tool_choice"] = choice
        return msgspec.structs.replace(tools, kind="auto", name=None)
    return tools


def _kind(choice: Any) -> str:
    return {"required": "any", "none": "none"}.get(str(choice), "auto")


def tool_blocks(tools: list[Message], family: Family, lowering: Lowering) -> list[Message]:
    """Function tools as Anthropic has them; `strict` where the model and its limits allow it."""
    blocks: list[Message] = []
    strict_left = STRICT_TOOLS_MAX if family.abilities.json_schema else 0
    for tool in tools:
        function = tool["function"]
        block: Message = {"name": function["name"]}
        if function.get("description"):
            block["description"] = function["description"]
        schema = (function.get("parameters") or NO_SCHEMA) | {"type": "object"}
        is_strict = function.get("strict") is True and strict_left > 0
        told = lowering.lowered(schema) if is_strict else None
        block["input_schema"] = told or schema
        if told:
            block["strict"] = True
            strict_left -= 1
        blocks.append(marked(block, tool))
    return blocks


def answer_format(
    left: Params, family: Family, lowering: Lowering
) -> tuple[Params | None, str | None]:
    """The format to be decoded in, or the words that ask for it."""
    wanted = left.pop("response_format", None)
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if schema is None:
        return None, ANSWER_IN_JSON if wanted is not None else None
    told = lowering.lowered(schema) if family.abilities.json_schema else None
    if told is not None:
        return {"type": "json_schema", "schema": told}, None
    return None, ANSWER_IN_SCHEMA + orjson.dumps(schema).decode()


def thinking_of(left: Params, family: Family, limit: int | None, *, may_think: bool) -> Thinking:
    """How the model is told to reason; the most explicit wish wins.

    `may_think`: neither the tool choice nor the history forbids a budget. The caller's own limit
    is never raised, because that is what was paid for.
    """
    told = _thinking(left, family, limit, may_think=may_think)
    if told.config is not None or told.effort is not None or _is_granted(left, family):
        for name in REASONING:
            left.pop(name, None)
    return told


def _is_granted(left: Params, family: Family) -> bool:
    """Off is what happens anyway."""
    asked = _config_asked(left)
    return family.off == "omit" and asked is not None and asked["type"] in OFF


def _thinking(left: Params, family: Family, limit: int | None, *, may_think: bool) -> Thinking:
    plain = Thinking(output_tokens=_limit(limit, OUTPUT_TOKENS_DEFAULT, family))
    effort = left.get("reasoning_effort")
    level = effort if effort in EFFORTS else None
    asked = _config_asked(left)
    if asked is None or not family.thinking_types:
        return plain
    if asked["type"] in OFF:
        return _off(asked, family, level, plain)
    if "enabled" in family.thinking_types and may_think and not _wants_effort(asked, family):
        thinking = _budgeted(asked, level, limit, family)
        return thinking or _with_effort(plain, level, family)
    if not family.is_adaptive:
        return _with_effort(plain, level, family)
    is_own = asked["type"] == "adaptive" and "budget_tokens" not in asked
    word = level or _effort_of(asked.get("budget_tokens"))
    return Thinking(
        # Unless it is asked for, the newest models tell nothing of what they think.
        config={"type": "adaptive", "display": "summarized"} | (asked if is_own else {}),
        effort=_nearest(word, family),
        output_tokens=plain.output_tokens,
    )


def _config_asked(left: Params) -> Params | None:
    """The wish in Anthropic's own shape, a budget in it if there is one; None if there is none."""
    thinking, budget = left.get("thinking"), left.get("thinking_budget")
    if isinstance(thinking, dict) and thinking.get("type") in (*ON, *OFF):
        return thinking
    if isinstance(budget, int) and not isinstance(budget, bool):
        if budget == 0:
            return {"type": "disabled"}
        return {"type": "enabled"} | ({"budget_tokens": budget} if budget > 0 else {})
    match left.get("reasoning_effort"):
        case "none":
            return {"type": "disabled"}
        case str() as word if word in EFFORTS:
            return {"type": "adaptive"}
    return None


def _wants_effort(asked: Params, family: Family) -> bool:
    """Of a model that knows both, a budget is asked for only by naming it."""
    return family.is_adaptive and "budget_tokens" not in asked


def _off(asked: Params, family: Family, level: str | None, plain: Thinking) -> Thinking:
    word = "low" if family.off == "never" else level
    if word in EFFORTS and EFFORTS.index(word) > EFFORTS.index(EFFORT_WHEN_OFF_MAX):
        word = EFFORT_WHEN_OFF_MAX
    config = asked if asked["type"] == family.off else {"type": family.off}
    return Thinking(
        config=config if family.off in OFF else None,
        effort=_nearest(word, family),
        output_tokens=plain.output_tokens,
    )


def _budgeted(
    asked: Params, level: str | None, limit: int | None, family: Family
) -> Thinking | None:
    """A budget that leaves the answer its part of the limit; None if there is no room."""
    budget = asked.get("budget_tokens")
    if not isinstance(budget, int) or isinstance(budget, bool):
        budget = BUDGETS[level or "medium"]
    budget = max(budget, BUDGET_MIN)
    tokens = _limit(limit, budget + ANSWER_TOKENS, family)
    if tokens <= BUDGET_MIN:
        return None
    budget = max(min(budget, tokens - min(tokens // 4, ANSWER_TOKENS)), BUDGET_MIN)
    config = {**asked, "type": "enabled", "budget_tokens": budget}
    return Thinking(config=config, effort=_nearest(level, family), output_tokens=tokens)


def _with_effort(plain: Thinking, level: str | None, family: Family) -> Thinking:
    return msgspec.structs.replace(plain, effort=_nearest(level, family))


def _limit(limit: int | None, default: int, family: Family) -> int:
    return min(max(default if limit is None else limit, 1), family.output_tokens_max)


def _effort_of(budget: Any) -> str | None:
    if not isinstance(budget, int) or isinstance(budget, bool):
        return None
    return next((word for word, most in BUDGETS.items() if budget <= most), "max")


def _nearest(word: str | None, family: Family) -> str | None:
    """The same word, the next higher one that the model knows, or its highest."""
    if word is None or not family.efforts:
        return None
    rank = EFFORTS.index(word)
    higher = (known for known in family.efforts if EFFORTS.index(known) >= rank)
    return next(higher, family.efforts[-1])


def sampling(left: Params, family: Family, *, is_thinking: bool) -> Params:
    """Sampling parameters in Anthropic's range; while it thinks, there is none."""
    for name, value in NEUTRAL.items():
        if left.get(name) == value:
            del left[name]
    told: Params = {}
    for name in SAMPLINGS:
        if name in left and len(told) < family.samplings_max and not is_thinking:
            told[name] = min(max(left.pop(name), 0), 1)
    if family.samplings_max and "top_k" in left and not is_thinking:
        told["top_k"] = left.pop("top_k")
    return told


def stop_sequences(left: Params) -> Params:
    """Where to stop; blank texts are refused."""
    stop = left.get("stop")
    given = [stop] if isinstance(stop, str) else stop or []
    texts = [text for text in given if text.strip()]
    if not texts:
        return {}
    del left["stop"]
    return {"stop_sequences": texts}


def service_tier(left: Params) -> Params:
    """Whether the capacity that was paid for in advance may be used."""
    if (tier := SERVICE_TIERS.get(str(left.get("service_tier")))) is None:
        return {}
    del left["service_tier"]
    return {"service_tier": tier}
