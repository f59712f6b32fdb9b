"""What Anthropic's, Cohere's and Ollama's own wires do alike with OpenAI's parameters and messages.

Pure.
"""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.types import (
    LIMIT_PARAMS,
    NOT_FOR_PROVIDERS,
    Credentials,
    HTTPRequest,
)

Params = dict[str, Any]
Message = dict[str, Any]

VOID: Final[Params] = {
    "n": 1,
    "logprobs": False,
    "logit_bias": {},
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "tool_choice": "auto",
}
"""Values that ask for what happens anyway."""

REASONING: Final = ("thinking", "thinking_budget", "reasoning_effort")
"""The most explicit first."""

NO_PARAMETERS: Final = {"type": "object", "properties": {}}


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model is asked to reason: a budget in tokens, or OpenAI's word, or just that."""

    is_on: bool
    budget: int | None = None
    effort: str | None = None


def asked(params: Params) -> Params:
    """What is asked for. Raises InvalidRequestError for more than one choice, and for audio."""
    wanted = {
        name: value
        for name, value in params.items()
        if value is not None and value != [] and not (name in VOID and value == VOID[name])
    }
    for name, is_impossible, what in (
        ("n", "n" in wanted, "more than one choice"),
        ("audio", "audio" in wanted, "audio"),
        ("modalities", "modalities" in wanted, "anything but text"),
    ):
        if is_impossible:
            raise _unsupported(name, f"give {what}: leave '{name}' out")
    return wanted


def dropped(left: Params) -> tuple[str, ...]:
    """The names of what was asked for and did not go out."""
    return tuple(sorted(left.keys() - NOT_FOR_PROVIDERS))


def output_limit(left: Params) -> int | None:
    """The limit on the answer's tokens."""
    given = [left.pop(name, None) for name in LIMIT_PARAMS]
    return next((limit for limit in given if limit is not None), None)


def json_wanted(left: Params) -> tuple[bool, Any]:
    """Whether `response_format` asks for JSON, and for which schema."""
    wanted = left.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict):
        return True, (wanted.get("json_schema") or {}).get("schema")
    return kind == "json_object", None


def thinking(left: Params, *, can_reason: bool) -> Thinking | None:
    """How much reasoning to ask for; None if nothing is to be said of it.

    A model that cannot reason needs no telling not to; reasoning that it was asked for is left.
    """
    wanted = _thinking(left)
    if wanted is None or (wanted.is_on and not can_reason):
        return None
    for name in REASONING:
        left.pop(name, None)
    return wanted if can_reason else None


def _thinking(left: Params) -> Thinking | None:
    """How much reasoning is asked for; what says it most explicitly wins.

    Thinking that is only turned on leaves the effort to its own parameter.
    """
    effort = left.get("reasoning_effort")
    effort = effort if isinstance(effort, str) else None
    level = effort if effort != "none" else None
    shaped = left.get("thinking")
    if isinstance(shaped, dict):
        is_on = shaped.get("type") != "disabled"
        return Thinking(is_on=is_on, budget=_positive(shaped.get("budget_tokens")), effort=level)
    budget = left.get("thinking_budget")
    if isinstance(budget, int) and not isinstance(budget, bool):
        return Thinking(is_on=budget != 0, budget=_positive(budget), effort=level)
    return None if effort is None else Thinking(is_on=effort != "none", effort=effort)


def tools_and_choice(left: Params) -> tuple[list[Params], Any]:
    """The functions that may be called, and the choice: `auto`, `none`, `required` or a name.

    A choice that names one function, or some, leaves only those. Raises InvalidRequestError for
    tools that are no functions.
    """
    tools, choice = left.pop("tools", []), left.pop("tool_choice", "auto")
    for tool in tools:
        if tool.get("type") != "function":
            raise _unsupported("tools", f"take tools of type '{tool.get('type')}', only functions")
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*allowed]} as allowance}:
            names = {tool.get("function", {}).get("name") for tool in allowed}
            choice = allowance.get("mode", "auto")
        case {"function": {"name": name}}:
            names, choice = {name}, "required"
        case _:
            return tools, choice
    return [tool for tool in tools if tool["function"].get("name") in names], choice


def function_of(tool: Params) -> Params:
    """A tool's function without what only OpenAI or another provider knows."""
    function = tool["function"]
    described = {"description": function["description"]} if function.get("description") else {}
    return {
        "name": function["name"],
        **described,
        "parameters": function.get("parameters") or NO_PARAMETERS,
    }


def post(
    credentials: Credentials, path: str, body: Params, left_out: tuple[str, ...]
) -> HTTPRequest:
    """The call, with the key if there is one."""
    headers = {"content-type": "application/json"}
    if credentials.api_key:
        headers["authorization"] = f"Bearer {credentials.api_key}"
    return HTTPRequest(
        url=credentials.base_url.rstrip("/") + path,
        headers=headers,
        body=orjson.dumps(body),
        dropped_params=left_out,
    )


def text_of(message: Message) -> str:
    """The words of a message that may come in parts; a refusal is what was said.

    Raises InvalidRequestError for parts that are no words.
    """
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part_text(part) for part in content)
    return content or message.get("refusal") or ""


def part_text(part: Any) -> str:
    """The words of a part. Raises InvalidRequestError if it has none."""
    match part:
        case {"type": "text", "text": str() as text} | {
            "type": "refusal",
            "refusal": str() as text,
        }:
            return text
        case {"type": kind}:
            raise refused(f"content of type '{kind}' in this place: write text")
        case _:
            raise refused("content parts without a type: write text")


def refused(what: str) -> InvalidRequestError:
    """The error for a message that holds what the provider cannot be told."""
    return _unsupported("messages", f"take {what}")


def _unsupported(param: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"This model does not {what}.", param=param, code="unsupported_parameter"
    )


def _positive(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count else None
