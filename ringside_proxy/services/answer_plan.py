"""What is asked of a provider, and what its answer is held to, so that OpenAI's words hold. Pure.

What a model does by itself is asked of it. What it does not is left out of the request, said in an
instruction, and checked on the answer; `answers.py` asks again for what does not pass.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.types import Capabilities, CompletionRequest, Support
from ringside_proxy.services import calls_in_words
from ringside_proxy.services.json_schemas import Schema, Schemas

Message = dict[str, Any]

MUST_CALL: Final = "Answer by calling a tool, not in text."
MUST_CALL_ONE: Final = "Answer by calling the tool '{name}', not in text."
MUST_BE_JSON: Final = "Answer with one JSON object and nothing else: no explanation, no code fence."
MUST_MEET_SCHEMA: Final = "Answer with JSON that meets this JSON schema and nothing else: no explanation, no code fence.\n"
NOT_JSON: Final = "it is not JSON"
NOT_AN_OBJECT: Final = "it is not a JSON object"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a provider, and the checks on its answer.

    `must_call`: the answer has to call a function that was offered, the one that is `named` if
    one is. `calls_max`: later calls are dropped.
    `calls_in_words`: the functions that the answer calls in its text, having no other way to.
    `schema` and `must_be_json` hold for an answer in text that the model ended itself.
    `repair` is the request to build on when the answer has to be asked for again, `asked` what
    the caller asked for.
    """

    asked: CompletionRequest
    request: CompletionRequest
    repair: CompletionRequest
    must_call: bool = False
    named: str | None = None
    calls_max: int | None = None
    calls_in_words: tuple[str, ...] = ()
    must_be_json: bool = False
    schema: Schema | None = None

    @property
    def has_checks(self) -> bool:
        """Whether the whole answer has to be seen before any of it is told."""
        return self.must_call or self.must_be_json or self.schema is not None

    @property
    def is_plain(self) -> bool:
        """Whether the answer may be passed on as it comes."""
        return not self.has_checks and self.calls_max is None and not self.calls_in_words

    def with_messages(self, changed: Callable[[list[Message]], list[Message]]) -> "Plan":
        """The plan with the messages of all its requests changed alike."""
        asked, request, repair = (
            msgspec.structs.replace(each, messages=changed(each.messages))
            for each in (self.asked, self.request, self.repair)
        )
        return msgspec.structs.replace(self, asked=asked, request=request, repair=repair)

    async def faults(self, text: str, called: Sequence[str]) -> list[str]:
        """What is wrong with an answer, in words for the model; empty if nothing.

        `called` are the functions that it calls. Raises InvalidRequestError for a schema that
        cannot be applied to it in time.
        """
        if called:
            return self._calls_faults(called)
        if self.must_call:
            return ["it calls no tool"]
        if not self.must_be_json and self.schema is None:
            return []
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return [NOT_JSON]
        if self.schema is not None:
            return await self.schema.faults(value, text)
        return [] if isinstance(value, dict) else [NOT_AN_OBJECT]

    def _calls_faults(self, called: Sequence[str]) -> list[str]:
        """A model that does not know of a choice may still call what only its history has."""
        if not self.must_call:
            return []
        offered = {tool["function"]["name"] for tool in self.asked.params["tools"]}
        offered = {self.named} if self.named else offered
        others = [name for name in called[: self.calls_max] if name not in offered]
        return [f"it calls '{name}', which it may not" for name in others]


def plan(request: CompletionRequest, able: Capabilities, schemas: Schemas) -> Plan:
    """How `request` is put to a model that is `able`.

    Raises InvalidRequestError for a schema that is none, and for tools or images at a model that
    has no use for them.
    """
    _refuse_impossible(request, able)
    planned = Plan(asked=request, request=request, repair=request)
    planned = _with_format(planned, able, schemas)
    planned = _with_tool_choice(planned, able)
    if request.params.get("parallel_tool_calls") is False and request.params.get("tools"):
        if able.single_tool_call is not Support.NATIVE:
            planned = _replace(planned, drop=("parallel_tool_calls",))
        planned = msgspec.structs.replace(planned, calls_max=1)
    if not planned.is_plain and request.params.get("n", 1) > 1:
        raise InvalidRequestError(
            "Only one choice can be held to 'response_format', 'tool_choice' or "
            "'parallel_tool_calls'. Leave 'n' out, or ask several times.",
            param="n",
            code="unsupported_parameter",
        )
    return _with_calls_in_words(planned) if able.tools is Support.EMULATED else planned


def again(planned: Plan, text: str, faults: list[str]) -> CompletionRequest:
    """The request that shows the model its answer and what is wrong with it."""
    request = planned.repair
    if planned.must_call:
        return request
    said: list[Message] = [{"role": "assistant", "content": text}] if text else []
    complaint = (
        "That answer cannot be used: " + "; ".join(faults) + ". Answer again, with only the "
        "corrected JSON."
    )
    return msgspec.structs.replace(
        request, messages=[*request.messages, *said, {"role": "user", "content": complaint}]
    )


def _refuse_impossible(request: CompletionRequest, able: Capabilities) -> None:
    if request.params.get("tools") and able.tools is Support.UNSUPPORTED:
        raise InvalidRequestError(
            f"The model '{request.model}' cannot call functions. Send no tools, or use a model "
            "that can: GET /v1/models?supports=tools lists them.",
            param="tools",
            code="unsupported_parameter",
        )
    if not (able.image_urls or able.image_data) and _has_images(request.messages):
        raise InvalidRequestError(
            f"The model '{request.model}' cannot see images. Leave them out, or use a model that "
            "can: GET /v1/models?supports=vision lists them.",
            param="messages",
            code="unsupported_parameter",
        )


def _with_format(planned: Plan, able: Capabilities, schemas: Schemas) -> Plan:
    wanted = planned.request.params.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        planned = msgspec.structs.replace(planned, must_be_json=True)
        return planned if able.json_object else _instructed(planned, MUST_BE_JSON)
    if kind != "json_schema" or not isinstance(wanted, dict):
        return planned
    document = (wanted.get("json_schema") or {}).get("schema")
    if document is None:
        return msgspec.structs.replace(planned, must_be_json=True)
    planned = msgspec.structs.replace(planned, schema=schemas.compile(document))
    has_tools = bool(planned.request.params.get("tools"))
    if able.json_schema and (able.json_schema_with_tools or not has_tools):
        return planned
    instruction = MUST_MEET_SCHEMA + json.dumps(document, ensure_ascii=False)
    instructed = _instructed(planned, instruction)
    if able.json_schema:  # only the tools are in its way: the repair goes without them
        without_tools = _without(planned.request, "tools", "tool_choice", "parallel_tool_calls")
        return msgspec.structs.replace(instructed, repair=without_tools)
    return instructed


def _instructed(planned: Plan, instruction: str) -> Plan:
    """Without `response_format`, which the model does not take, but with its meaning in words."""
    request = _without(_said(planned.request, instruction), "response_format")
    return msgspec.structs.replace(planned, request=request, repair=request)


def _with_tool_choice(planned: Plan, able: Capabilities) -> Plan:
    params = planned.request.params
    choice = params.get("tool_choice")
    if not params.get("tools") or choice in (None, "auto"):
        return planned
    if choice == "none":
        if able.tool_choice_none is Support.NATIVE:
            return planned
        return _replace(planned, drop=("tools", "tool_choice", "parallel_tool_calls"))
    name = choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else None
    if name is None:
        if able.tool_choice_required is Support.NATIVE:
            return planned
        return _must_call(planned, MUST_CALL, drop=("tool_choice",))
    if able.tool_choice_named is Support.NATIVE:
        return planned
    only = [tool for tool in params["tools"] if tool.get("function", {}).get("name") == name]
    if not only:
        raise InvalidRequestError(
            f"Invalid value for 'tool_choice': no function named '{name}' was specified in the "
            "'tools' parameter.",
            param="tool_choice",
        )
    planned = _replace(planned, add={"tools": only})
    if able.tool_choice_required is Support.NATIVE:
        planned = _replace(planned, add={"tool_choice": "required"})
        planned = msgspec.structs.replace(planned, repair=planned.request, must_call=True)
    else:
        planned = _must_call(planned, MUST_CALL_ONE.format(name=name), drop=("tool_choice",))
    return msgspec.structs.replace(planned, named=name)


def _with_calls_in_words(planned: Plan) -> Plan:
    """For a model that knows no functions: they are offered in words, and calls are lines of text."""
    tools = planned.request.params.get("tools") or ()

    def changed(request: CompletionRequest) -> CompletionRequest:
        offered = request.params.get("tools")
        request = _without(request, "tools", "tool_choice", "parallel_tool_calls")
        messages = calls_in_words.told(request.messages)
        request = msgspec.structs.replace(request, messages=messages)
        return _said(request, calls_in_words.offer(offered)) if offered else request

    return msgspec.structs.replace(
        planned,
        request=changed(planned.request),
        repair=changed(planned.repair),
        calls_in_words=tuple(tool["function"]["name"] for tool in tools),
    )


def _must_call(planned: Plan, instruction: str, drop: tuple[str, ...]) -> Plan:
    planned = _replace(planned, drop=drop)
    request = _said(planned.request, instruction)
    return msgspec.structs.replace(planned, request=request, repair=request, must_call=True)


def _replace(
    planned: Plan, *, add: dict[str, Any] | None = None, drop: tuple[str, ...] = ()
) -> Plan:
    """The plan with both its requests changed alike."""

    def changed(request: CompletionRequest) -> CompletionRequest:
        params = _without(request, *drop).params | (add or {})
        return msgspec.structs.replace(request, params=params)

    return msgspec.structs.replace(
        planned, request=changed(planned.request), repair=changed(planned.repair)
    )


def _without(request: CompletionRequest, *names: str) -> CompletionRequest:
    params = {name: value for name, value in request.params.items() if name not in names}
    return msgspec.structs.replace(request, params=params)


def _said(request: CompletionRequest, instruction: str) -> CompletionRequest:
    """The request with an instruction at the end of its leading system text."""
    first, *rest = request.messages
    if first["role"] in ("system", "developer") and isinstance(first["content"], str):
        first = first | {"content": f"{first['content']}\n\n{instruction}"}
        return msgspec.structs.replace(request, messages=[first, *rest])
    system: Message = {"role": "system", "content": instruction}
    return msgspec.structs.replace(request, messages=[system, *request.messages])


def _has_images(messages: list[Message]) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") == "image_url"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
