"""OpenAI's parameters as Converse's, by what the model's family takes. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html,
by the service model of botocore 1.44.5, and the libraries that call Bedrock for the models' own
fields, read 2026-11-21. From memory, and not checked: that Nova refuses a limit at high effort.
"""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.anthropic.params import ANSWER_IN_SCHEMA
from ringside_proxy.providers.anthropic.schemas import Lowering
from ringside_proxy.providers.bedrock.models import Family, Thinking
from ringside_proxy.providers.types import LIMIT_PARAMS, NOT_FOR_PROVIDERS

Fields = dict[str, Any]

OURS: Final = NOT_FOR_PROVIDERS | {"n", "modalities"}
"""What is the proxy's own business, or says nothing once it has passed `refuse_impossible`."""
PLAIN_FORMATS: Final = ("auto", {"type": "text"})
REASONING_PARAMS: Final = ("reasoning_effort", "thinking", "thinking_budget")
SERVICE_TIERS: Final = ("priority", "default", "flex", "reserved")

BUDGETS: Final = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
BUDGET_MIN: Final = 1024
BUDGET_DEFAULT: Final = BUDGETS["medium"]
ANSWER_TOKENS: Final = 8192
"""Left for the answer beside the thinking, if the caller sets no limit."""

LESS: Final = {"max": "xhigh", "xhigh": "high", "high": "medium", "medium": "low"}
MORE: Final = {"none": "low", "minimal": "low", "low": "medium", "medium": "high"}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How much a caller wants the model to think; `display` is Anthropic's."""

    is_on: bool
    effort: str | None = None
    budget: int | None = None
    display: str = "summarized"


class Converted(msgspec.Struct, kw_only=True):
    """Parameters on their way: `taken` names those that are in, the rest are dropped."""

    inference: Fields = {}
    additional: Fields = {}
    taken: set[str] = set()

    def dropped(self, params: Fields) -> tuple[str, ...]:
        """What the caller gave and the model does not get, by OpenAI's names."""
        given = {name for name, value in params.items() if value is not None and value != []}
        if params.get("response_format") in PLAIN_FORMATS:
            given.discard("response_format")
        return tuple(sorted(given - self.taken - OURS))


def refuse_impossible(params: Fields) -> None:
    """Raises InvalidRequestError for what can neither be sent nor dropped."""
    if (params.get("n") or 1) != 1:
        raise _impossible("n", "one answer per request: leave 'n' out, or set it to 1")
    if params.get("audio") is not None or "audio" in (params.get("modalities") or ()):
        raise _impossible("audio" if params.get("audio") else "modalities", "no audio")


def _impossible(param: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"Bedrock gives {what}.", param=param, code="unsupported_parameter")


def converted(params: Fields, family: Family, *, may_think: bool) -> Converted:
    """Everything but tools. `may_think`: the history and the tool choice allow it."""
    result = Converted(inference={}, additional={}, taken=set())
    _limit(params, result)
    is_thinking = _think(params, family, result, may_think=may_think)
    if family.takes_sampling and not is_thinking:
        _sample(params, family, result)
    stop = params.get("stop")
    stops = [stop] if isinstance(stop, str) else [text for text in stop or () if text]
    if family.takes_stop and (stops := [text for text in stops if text.strip()]):
        result.inference["stopSequences"] = stops
        result.taken.add("stop")
    return result


def answer_format(params: Fields, family: Family, result: Converted) -> tuple[Fields, list[Fields]]:
    """The schema to be held to, or the words that ask for what no decoder takes."""
    wanted = params.get("response_format")
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if schema is None or not isinstance(named, dict) or not family.abilities.json_schema:
        return {}, []
    result.taken.add("response_format")
    told = Lowering().lowered(schema)
    if told is None:
        return {}, [{"text": ANSWER_IN_SCHEMA + orjson.dumps(schema).decode()}]
    # AWS wants the schema as a text.
    about = {name: named[name] for name in ("name", "description") if named.get(name)}
    json_schema = {"schema": orjson.dumps(told).decode(), **about}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": json_schema}}}, []


def service_tier(params: Fields, result: Converted) -> Fields:
    """The tier to be served in; `auto` is what happens anyway."""
    tier = params.get("service_tier")
    if tier == "auto" or tier in SERVICE_TIERS:
        result.taken.add("service_tier")
    return {"serviceTier": {"type": tier}} if tier in SERVICE_TIERS else {}


def _limit(params: Fields, result: Converted) -> None:
    given = [params.get(name) for name in LIMIT_PARAMS]
    if (limit := next((n for n in given if n is not None), None)) is not None:
        result.inference["maxTokens"] = max(limit, 1)
    result.taken.update(LIMIT_PARAMS)


def _sample(params: Fields, family: Family, result: Converted) -> None:
    """Both in the range that Converse has; where only one is taken, it is the temperature."""
    for name, field in (("temperature", "temperature"), ("top_p", "topP")):
        value = params.get(name)
        is_second = bool(result.inference.keys() & {"temperature"})
        if value is None or (is_second and not family.takes_both_samplings):
            continue
        result.inference[field] = min(max(value, 0), 1)
        result.taken.add(name)


def _think(params: Fields, family: Family, result: Converted, *, may_think: bool) -> bool:
    """Sets how the model is to reason; True if that rules sampling out."""
    wish = wished(params)
    if wish is None or family.thinking is Thinking.NONE:
        return False
    given = {name for name in REASONING_PARAMS if params.get(name) is not None}
    if wish.is_on and not may_think and family.thinking is Thinking.CLAUDE_BUDGET:
        return False
    match family.thinking:
        case Thinking.CLAUDE_BUDGET:
            fields = _budgeted(wish, result)
        case Thinking.CLAUDE_ADAPTIVE:
            fields = _adaptive(wish, family)
        case Thinking.NOVA:
            fields = _nova(wish, family, result)
        case _:
            fields = _worded(wish, family)
    result.additional |= fields
    if fields or not wish.is_on:
        result.taken |= given
    is_exclusive = family.thinking in (Thinking.CLAUDE_BUDGET, Thinking.NOVA)
    return is_exclusive and wish.is_on and bool(fields)


def wished(params: Fields) -> Wish | None:
    """What the three parameters say together; the more explicit one wins. None if nothing."""
    effort = params.get("reasoning_effort")
    thinking, budget = params.get("thinking"), params.get("thinking_budget")
    level = effort if effort != "none" else None
    if isinstance(thinking, dict):
        tokens = thinking.get("budget_tokens")
        return Wish(
            is_on=thinking.get("type") in ("enabled", "adaptive"),
            effort=level,
            budget=tokens if isinstance(tokens, int) else None,
            display=thinking.get("display") or "summarized",
        )
    if isinstance(budget, int):
        return Wish(is_on=budget != 0, effort=level, budget=budget if budget > 0 else None)
    if effort is None:
        return None
    return Wish(is_on=effort != "none", effort=level)


def _budgeted(wish: Wish, result: Converted) -> Fields:
    """Room for thinking inside the caller's limit, which is what was paid for."""
    if not wish.is_on:
        return {}
    budget = wish.budget or BUDGETS.get(wish.effort or "", BUDGET_DEFAULT)
    budget = max(budget, BUDGET_MIN)
    limit = result.inference.setdefault("maxTokens", budget + ANSWER_TOKENS)
    if limit <= BUDGET_MIN:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": min(budget, limit - 1)}}


def _adaptive(wish: Wish, family: Family) -> Fields:
    if not wish.is_on:
        return {"thinking": {"type": family.off}} if family.off else {}
    fields: Fields = {"thinking": {"type": "adaptive", "display": wish.display}}
    if wish.effort:
        fields["output_config"] = {"effort": _nearest(wish.effort, family.efforts)}
    return fields


def _worded(wish: Wish, family: Family) -> Fields:
    word = _nearest((wish.effort or "medium") if wish.is_on else "none", family.efforts)
    if family.thinking is Thinking.NESTED_EFFORT:
        return {"reasoning": {"effort": word}}
    return {"reasoning_effort": word}


def _nova(wish: Wish, family: Family, result: Converted) -> Fields:
    if not wish.is_on:
        return {"reasoningConfig": {"type": "disabled"}}
    effort = _nearest(wish.effort or "medium", family.efforts)
    if effort == "high" and "maxTokens" in result.inference:
        effort = "medium"  # high is refused together with a limit, and the limit was paid for
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


def _nearest(effort: str, known: tuple[str, ...]) -> str:
    """The word that the family knows: the same, or the next one in the right direction."""
    steps = MORE if effort in ("none", "minimal") else LESS
    if effort == "xhigh" and "max" in known and "xhigh" not in known:
        return "max"
    word: str | None = effort
    while word is not None and word not in known:
        word = steps.get(word)
    return word or known[-1]
