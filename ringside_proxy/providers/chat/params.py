"""Parameters as the providers on OpenAI's dialect take them, as data and one function. Pure.

What a provider does not take is left out and named; what it calls otherwise is renamed. Source:
the vendors' API references and SDK types (named with each row), read 2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.chat.schemas import closed, is_strict, without_addresses
from ringside_proxy.providers.types import LIMIT_PARAMS, NOT_FOR_PROVIDERS, Capabilities

Params = dict[str, Any]
Efforts = Mapping[str, Params]
"""OpenAI's word for how much to reason → what says it to the model; a missing word is not taken."""

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
BUDGET_EFFORTS: Final = ((0, "none"), (1024, "minimal"), (2048, "low"), (8192, "medium"))
"""Up to so many tokens of thinking mean this much effort; more is `high`."""
NO_PARAMETERS: Final[Params] = {"type": "object", "properties": {}}
ON: Final = ("enabled", "adaptive")
ON_EFFORT: Final = "medium"
EFFORT_PARAMS: Final = ("reasoning_effort", "thinking", "thinking_budget")

SAMPLING_PARAMS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    }
)
NEUTRAL: Final[Params] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "n": 1,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "modalities": ["text"],
}
"""What OpenAI does anyway: leaving it out loses nothing."""


def levels(
    *accepted: str, field: str = "reasoning_effort", inside: str | None = None
) -> dict[str, Params]:
    """Every effort as the nearest of the `accepted` words; of two as near, the higher.

    Only `none` turns reasoning off, or becomes the lowest word. `inside` puts it in an object.
    """
    ranks = [EFFORTS.index(word) for word in accepted]
    some = [rank for rank in ranks if rank > 0] or ranks

    def nearest(rank: int) -> str:
        if rank in ranks:
            return EFFORTS[rank]
        return EFFORTS[min(some, key=lambda other: (abs(other - rank), -other))]

    words = {word: nearest(rank) for rank, word in enumerate(EFFORTS)}
    if inside is None:
        return {word: {field: sent} for word, sent in words.items()}
    return {word: {inside: {field: sent}} for word, sent in words.items()}


def switch(off: Params, on: Params) -> Efforts:
    """For models that only know whether to reason."""
    return {word: off if word == "none" else on for word in EFFORTS}


class ModelRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for models whose names begin with one of `prefixes`; the longest decides."""

    prefixes: tuple[str, ...]
    """In lower case."""
    default_effort: str = "none"
    """How much the model reasons if nothing is said."""
    efforts: Efforts = {}
    off_for: Literal["nothing", "tools", "forced_tools"] = "nothing"
    """Tools that are refused while the model reasons, so that it must not."""
    refused_params: frozenset[str] = frozenset()
    """What is refused, or has no effect, while the model reasons."""
    extra: Params = {}
    has_replay: bool = True
    """Takes earlier reasoning back where the row says."""
    abilities: Capabilities | None = None
    """Where they are not the row's."""

    @property
    def can_turn_off(self) -> bool:
        """`none` is a word of its own here, not the least of the others."""
        return "none" in self.efforts and self.efforts["none"] != self.efforts.get("minimal")


class ParamRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider takes parameters. Unknown ones are fatal at some: `allowed` is all that goes."""

    allowed: frozenset[str]
    limit: Literal["max_tokens", "max_completion_tokens"]
    limit_default: int | None = None
    """Sent when nobody set one."""
    has_choices: bool = False
    """`n` and audio reach the caller: only where the answer is passed on as it comes."""
    renamed: Mapping[str, str] = {}
    choice_words: Mapping[str, str] = {}
    """OpenAI's `tool_choice` → the provider's."""
    stop_is_list: bool = False
    keeps_strict: bool = True
    """Functions may carry `strict`."""
    keeps_cache_control: bool = False
    only_functions: bool = True
    needs_parameters: bool = False
    """A function without parameters says so by an empty schema."""
    format_with_tools: bool = True
    """`response_format` may stand beside tools; otherwise the tools win."""
    closes_schemas: bool = False
    has_strict_mode: bool = False
    """`strict` schemas have to be of OpenAI's subset; another goes out without the word, and its
    answer is held to it here."""
    drops_addresses: bool = False
    drops_neutral: bool = False
    requires_support: bool = False
    """Asks a router for a route that heeds the parameters (OpenRouter)."""
    extra: Params = {}


class Built(msgspec.Struct, frozen=True):
    """What goes out, what was left behind, and whether the model reasons."""

    params: Params
    dropped: tuple[str, ...]
    is_reasoning: bool


def build(given: Params, rules: ParamRules, model: ModelRules) -> Built:
    """The parameters that reach the model. Raises InvalidRequestError for `n` above 1 and audio."""
    asked = {name: value for name, value in given.items() if value is not None and value != []}
    _refuse(asked, rules)
    effort, words, is_heeded = _effort(asked, model)
    params = {rules.renamed.get(k, k): v for k, v in asked.items() if k in rules.allowed}
    params |= _limit(asked, rules)
    _fit_tools(params, rules)
    params |= words
    # A model whose reasoning has no off switch reasons at its least.
    is_reasoning = effort != "none" or (model.default_effort != "none" and not model.can_turn_off)
    if is_reasoning:
        params = {name: value for name, value in params.items() if name not in model.refused_params}
    if rules.drops_neutral:
        params = {name: value for name, value in params.items() if NEUTRAL.get(name) != value}
    heeded = asked_effort(asked) if is_heeded else None
    dropped = tuple(name for name in asked if _is_dropped(name, asked, params, heeded, rules))
    params = {**rules.extra, **model.extra, **params}
    if rules.requires_support and ("tools" in params or "response_format" in params):
        params["provider"] = {"require_parameters": True} | params.get("provider", {})
    return Built(params, dropped, is_reasoning)


def _refuse(asked: Params, rules: ParamRules) -> None:
    if rules.only_functions and any(t.get("type") != "function" for t in asked.get("tools", ())):
        raise _unsupported("tools", "takes tools of type 'function' only")
    if rules.has_choices:
        return
    if asked.get("n", 1) != 1:
        raise _unsupported("n", "gives one choice per call: ask for n=1, or call again")
    if "audio" in asked or asked.get("modalities", ["text"]) != ["text"]:
        param = "audio" if "audio" in asked else "modalities"
        raise _unsupported(param, "answers in text only: leave it out")


def _unsupported(param: str, words: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Unsupported parameter '{param}': this provider {words}.",
        param=param,
        code="unsupported_parameter",
    )


def _effort(asked: Params, model: ModelRules) -> tuple[str, Params, bool]:
    """How much the model will reason, what has to be said for that, and if it is what was asked."""
    wanted = asked_effort(asked)
    is_forced = asked.get("tool_choice") not in (None, "auto", "none")
    must_be_off = "tools" in asked and (
        model.off_for == "tools" or (model.off_for == "forced_tools" and is_forced)
    )
    # Rather no reasoning than another choice of tools than the caller's.
    if must_be_off and model.can_turn_off:
        return "none", dict(model.efforts["none"]), wanted == "none"
    if wanted is None or wanted not in model.efforts:
        return model.default_effort, {}, False
    is_off = wanted == "none" and model.can_turn_off
    return "none" if is_off else wanted, dict(model.efforts[wanted]), True


def asked_effort(asked: Params) -> str | None:
    """The effort that is asked for, in OpenAI's words; a budget of thinking says it too.

    Thinking that is only turned on leaves the effort to its own parameter, else it is the middle.
    """
    thinking = asked.get("thinking")
    budget, is_on = asked.get("thinking_budget"), False
    if isinstance(thinking, dict):
        if thinking.get("type") == "disabled":
            return "none"
        budget, is_on = thinking.get("budget_tokens", budget), thinking.get("type") in ON
    if isinstance(budget, int) and not isinstance(budget, bool):
        if budget >= 0:
            return next((word for most, word in BUDGET_EFFORTS if budget <= most), "high")
        is_on = True
    effort = asked.get("reasoning_effort")
    if is_on and effort in (None, "none"):
        return ON_EFFORT
    return effort if isinstance(effort, str) else None


def _limit(asked: Params, rules: ParamRules) -> Params:
    newer, older = LIMIT_PARAMS
    limit = asked[newer] if newer in asked else asked.get(older, rules.limit_default)
    return {} if limit is None else {rules.limit: limit}


def _fit_tools(params: Params, rules: ParamRules) -> None:
    if "tools" not in params:
        # Without tools these two are refused. A choice that asks for a tool stays, for the
        # provider to refuse: dropping it would change what the caller asked for.
        params.pop("parallel_tool_calls", None)
        if params.get("tool_choice") in ("auto", "none"):
            del params["tool_choice"]
    else:
        params["tools"] = [_tool(tool, rules) for tool in params["tools"]]
        if not rules.format_with_tools:
            params.pop("response_format", None)
    if isinstance(choice := params.get("tool_choice"), str):
        params["tool_choice"] = rules.choice_words.get(choice, choice)
    if rules.stop_is_list and isinstance(params.get("stop"), str):
        params["stop"] = [params["stop"]]
    if isinstance(wanted := params.get("response_format"), dict):
        params["response_format"] = _format(wanted, rules)


def _tool(tool: Params, rules: ParamRules) -> Params:
    told = dict(tool)
    if not rules.keeps_cache_control:
        told.pop("cache_control", None)
    function = told.get("function")
    if isinstance(function, dict):
        told["function"] = function = dict(function)
        if not rules.keeps_strict:
            function.pop("strict", None)
        if rules.needs_parameters:
            function["parameters"] = function.get("parameters") or NO_PARAMETERS
        if rules.drops_addresses and "parameters" in function:
            function["parameters"] = without_addresses(function["parameters"])
    return told


def _format(wanted: Params, rules: ParamRules) -> Params:
    named = wanted.get("json_schema")
    if not isinstance(named, dict) or "schema" not in named:
        return wanted
    schema = named["schema"]
    if rules.has_strict_mode and named.get("strict") and not is_strict(schema):
        named = named | {"strict": False}
    if rules.closes_schemas:
        schema = closed(schema)
    if rules.drops_addresses:
        schema = without_addresses(schema)
    return wanted | {"json_schema": named | {"schema": schema}}


def _is_dropped(
    name: str, asked: Params, params: Params, heeded: str | None, rules: ParamRules
) -> bool:
    if name in NOT_FOR_PROVIDERS or name in LIMIT_PARAMS or NEUTRAL.get(name) == asked[name]:
        return False
    if name in EFFORT_PARAMS:
        return heeded != asked_effort({"reasoning_effort": heeded, name: asked[name]})
    if name in ("tool_choice", "parallel_tool_calls") and "tools" not in asked:
        return name not in params and name == "tool_choice" and asked[name] != "none"
    return rules.renamed.get(name, name) not in params
