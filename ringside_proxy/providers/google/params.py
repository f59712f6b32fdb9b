"""OpenAI's parameters as Gemini's, by family of models. Pure.

What a model refuses or ignores is left out and named.
Source: https://github.com/googleapis/python-genai (GenerationConfig, ToolConfig and ThinkingConfig
in types.py of 3.4.0), read 2026-11-21.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.google.models import Budget, Family
from ringside_proxy.providers.google.schemas import lowered, parameters_of
from ringside_proxy.providers.types import LIMIT_PARAMS, NOT_FOR_PROVIDERS

Params = dict[str, Any]

EFFORT_LEVELS: Final = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
EFFORT_BUDGETS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
BUDGET_LEVELS: Final = ((1024, "minimal"), (2048, "low"), (8192, "medium"))
"""Up to so many tokens of thinking mean this level; more is `high`."""
DYNAMIC: Final = -1

SERVICE_TIERS: Final = {"default": "standard", "flex": "flex", "priority": "priority"}
CHOICE_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
KNOBS: Final = ("thinking_budget", "thinking", "reasoning_effort")
"""What says how much to think; the first that is given decides."""
STOPS_MAX: Final = 5
SEED_MAX: Final = 2**31
"""Gemini's seed has 32 bits and a sign."""

TAKEN: Final = frozenset(
    {*LIMIT_PARAMS, *KNOBS, "stop", "seed", "tools", "tool_choice", "response_format"}
    | {"service_tier", "cached_content"}
)
NEUTRAL: Final[Params] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "n": 1,
    "parallel_tool_calls": True,
    "modalities": ["text"],
}
"""What OpenAI does anyway: leaving it out loses nothing."""


class Built(msgspec.Struct, frozen=True):
    """The fields of a request's body that the parameters make, and what was left behind."""

    fields: Params
    dropped: tuple[str, ...]


def build(given: Params, family: Family, names: dict[str, str]) -> Built:
    """The parameters that reach the model. Raises InvalidRequestError for `n` above 1 and audio."""
    asked = {name: value for name, value in given.items() if value is not None and value != []}
    _refuse(asked)
    config = {theirs: asked[ours] for ours, theirs in family.renamed if ours in asked}
    taken = TAKEN | {ours for ours, _ in family.renamed}
    lost = {n for n, value in asked.items() if n not in taken and NEUTRAL.get(n) != value}
    if "tools" not in asked:
        lost.discard("parallel_tool_calls")
    config |= _limits(asked, lost)
    config |= _format(asked, family, lost)
    if thinking := _thinking(asked, family, lost):
        config["thinkingConfig"] = thinking
    fields = _tools(asked, family, names)
    if config:
        fields["generationConfig"] = config
    fields |= _extras(asked, lost)
    dropped = tuple(name for name in asked if name in lost and name not in NOT_FOR_PROVIDERS)
    return Built(fields, dropped)


def _refuse(asked: Params) -> None:
    if asked.get("n", 1) != 1:
        raise _unsupported("n", "gives one choice per call: ask for n=1, or call again")
    if "audio" in asked or asked.get("modalities", ["text"]) != ["text"]:
        param = "audio" if "audio" in asked else "modalities"
        raise _unsupported(param, "answers in text only: leave it out")
    if any(
        tool["type"] != "function" or not tool.get("function") for tool in asked.get("tools", ())
    ):
        raise _unsupported("tools", "takes tools of type 'function' only")


def _unsupported(param: str, words: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Unsupported parameter '{param}': google {words}.",
        param=param,
        code="unsupported_parameter",
    )


def _limits(asked: Params, lost: set[str]) -> Params:
    """`maxOutputTokens` holds for thoughts too, as OpenAI's own limit does."""
    told: Params = {}
    limit = next((asked[name] for name in LIMIT_PARAMS if name in asked), None)
    if limit is not None:
        told["maxOutputTokens"] = limit
    if "stop" in asked:
        stop = asked["stop"]
        stops = [stop] if isinstance(stop, str) else stop
        told["stopSequences"] = stops[:STOPS_MAX]
        if len(stops) > STOPS_MAX:
            lost.add("stop")
    if isinstance(seed := asked.get("seed"), int):
        told["seed"] = seed % SEED_MAX
    return told


def _format(asked: Params, family: Family, lost: set[str]) -> Params:
    wanted = asked.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or kind not in ("json_object", "json_schema"):
        return {}
    abilities = family.abilities
    if not abilities.json_object or ("tools" in asked and not abilities.json_schema_with_tools):
        # "Function calling with a response mime type: 'application/json' is unsupported".
        lost.add("response_format")
        return {}
    told: Params = {"responseMimeType": "application/json"}
    schema = (wanted.get("json_schema") or {}).get("schema")
    if kind == "json_schema" and schema is not None:
        told["responseJsonSchema"] = lowered(schema)
    return told


def _thinking(asked: Params, family: Family, lost: set[str]) -> Params:
    """How much to think, by level or by budget; never both, which is refused."""
    knob = next((name for name in KNOBS if name in asked), None)
    wanted = None if knob is None else _wanted(knob, asked[knob])
    effort = asked.get("reasoning_effort")
    if wanted == DYNAMIC and effort in EFFORT_LEVELS and effort != "none":
        wanted = effort  # thinking is only turned on: how much of it says its own parameter
    if knob is None or wanted is None:
        lost.update({knob} if knob else ())
        return {}
    if family.levels:
        return _level(wanted, family.levels)
    if family.budget:
        return _budget(wanted, family.budget)
    if wanted not in ("none", 0):
        lost.add(knob)
    return {}


def _wanted(knob: str, value: Any) -> str | int | None:
    """An effort in OpenAI's words, or a budget; None if the value says nothing."""
    if knob == "thinking":
        if not isinstance(value, dict):
            return None
        if value.get("type") == "disabled":
            return 0
        value = value.get("budget_tokens", DYNAMIC)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(value, DYNAMIC)
    return value if isinstance(value, str) and value in EFFORT_LEVELS else None


def _level(wanted: str | int, levels: tuple[str, ...]) -> Params:
    if wanted == DYNAMIC:
        return {"includeThoughts": True}
    if isinstance(wanted, int):
        level = next((word for most, word in BUDGET_LEVELS if wanted <= most), "high")
    else:
        level = EFFORT_LEVELS[wanted]
    return {"thinkingLevel": level if level in levels else levels[0], "includeThoughts": True}


def _budget(wanted: str | int, budget: Budget) -> Params:
    tokens = EFFORT_BUDGETS[wanted] if isinstance(wanted, str) else wanted
    if tokens == 0 and budget.can_turn_off:
        return {"thinkingBudget": 0}  # thoughts are only included where there are any
    if tokens != DYNAMIC:
        tokens = min(max(tokens, budget.least), budget.most)
    return {"thinkingBudget": tokens, "includeThoughts": True}


def _tools(asked: Params, family: Family, names: dict[str, str]) -> Params:
    functions = [tool["function"] for tool in asked.get("tools", ())]
    fields: Params = {}
    if functions:
        declared = [_declaration(function, names) for function in functions]
        fields["tools"] = [{"functionDeclarations": declared}]
    is_strict = family.has_validated_mode and any(function.get("strict") for function in functions)
    choice = _choice(asked.get("tool_choice", "auto"), is_strict=is_strict, names=names)
    # Without tools there is nothing to choose. A choice that asks for a tool stays, for Google to
    # refuse: dropping it would change what the caller asked for.
    if choice and (functions or choice["mode"] == "ANY"):
        fields["toolConfig"] = {"functionCallingConfig": choice}
    return fields


def _declaration(function: Params, names: dict[str, str]) -> Params:
    name = function["name"]
    told = {"name": names.get(name, name), "description": function.get("description") or ""}
    if (parameters := parameters_of(function.get("parameters"))) is not None:
        told["parametersJsonSchema"] = parameters
    return told


def _choice(choice: Any, *, is_strict: bool, names: dict[str, str]) -> Params:
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        if isinstance(allowed, dict):
            mode = "ANY" if allowed.get("mode") == "required" else "VALIDATED"
            chosen = allowed.get("tools")
        else:
            mode, chosen = "ANY", [choice]
        only = [_name_of(tool) for tool in chosen] if isinstance(chosen, list) else []
        return {"mode": mode, "allowedFunctionNames": [names.get(name, name) for name in only]}
    mode = CHOICE_MODES.get(choice, "AUTO")
    return {"mode": "VALIDATED" if mode == "AUTO" and is_strict else mode}


def _name_of(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def _extras(asked: Params, lost: set[str]) -> Params:
    fields: Params = {}
    tier = asked.get("service_tier", "auto")
    if tier in SERVICE_TIERS:
        fields["serviceTier"] = SERVICE_TIERS[tier]
    elif tier != "auto":
        lost.add("service_tier")
    if "cached_content" in asked:
        fields["cachedContent"] = asked["cached_content"]
    return fields
