"""What a run asks of its model: the thread as the run's limits leave it, and its parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain import tokens
from ringside_proxy.domain.items import FunctionCallBody, Item
from ringside_proxy.domain.runs import RunSettings
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.types import CompletionRequest
from ringside_proxy.services import context
from ringside_proxy.services.model_routing import Route
from ringside_proxy.store import items, provider_states, runs
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.tx import Tx

HISTORY_ITEMS_PER_READ: Final = 200
SHORT_ITEMS_MAX: Final = 10
"""A thread of which no more is read is read on the event loop: that is quicker than to leave it."""

Limit = Literal["max_completion_tokens", "max_prompt_tokens"]


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The next model call; or the limit that forbids it."""

    request: CompletionRequest | None
    limit_reached: Limit | None = None


def build_short(tx: Tx, run: RunRecord, route: Route) -> RunRequest | None:
    """The first call of a run on a thread of which little is to be read; None for any other.

    Reads only.
    """
    if run.started_ms is not None:
        return None
    count = _last_count(run)
    if count is None:
        found = items.newest_before(tx, run.conversation, items.END_ORDINAL, SHORT_ITEMS_MAX + 1)
        history = [item for _, item in reversed(found)]
    elif count <= SHORT_ITEMS_MAX:
        history = items.last_messages(tx, run.conversation, items.END_ORDINAL, count)
    else:
        return None
    return None if len(history) > SHORT_ITEMS_MAX else _first(run, route, history)


def of_new_thread(run: RunRecord, route: Route, messages: list[Item]) -> RunRequest:
    """The first call of a run on a thread that was made with it, of these messages."""
    return _first(run, route, messages[-(_last_count(run) or len(messages)) :])


def _first(run: RunRecord, route: Route, history: list[Item]) -> RunRequest:
    return _request(run, route, NO_USAGE, [], {}, partial(_fitting, history))


def build(tx: Tx, run: RunRecord, route: Route) -> RunRequest:
    """The call that takes the run on. Reads only."""
    used, own = runs.used_so_far(tx, run), items.of_run(tx, run.seq)
    return _request(run, route, used, own, _states(tx, run, route, own), partial(_history, tx, run))


def _request(
    run: RunRecord,
    route: Route,
    used: TokenUsage,
    own: list[Item],
    states: dict[str, Any],
    history_of: Callable[[int | None], list[Item]],
) -> RunRequest:
    """The call that follows on what the run has used and made; `history_of` a room in tokens."""
    settings = run.settings
    tools = [msgspec.to_builtins(tool) for tool in settings.tools]
    completion_left = _left(settings.max_completion_tokens, used.output_tokens)
    if completion_left is not None and completion_left < 1:
        return RunRequest(request=None, limit_reached="max_completion_tokens")
    output_max = _least(completion_left, settings.call_max_tokens)
    prompt_left = _left(settings.max_prompt_tokens, used.input_tokens)
    fixed = (
        tokens.estimate(settings.instructions or "")
        + context.estimate(own)
        + (tokens.estimate(msgspec.json.encode(tools).decode()) if tools else 0)
    )
    if prompt_left is not None and fixed >= prompt_left:
        return RunRequest(request=None, limit_reached="max_prompt_tokens")
    room = _least(prompt_left, route.prompt_tokens_max(output_max))
    history = history_of(None if room is None else max(room - fixed, 1))
    if prompt_left is not None and fixed + context.estimate(history) > prompt_left:
        return RunRequest(request=None, limit_reached="max_prompt_tokens")
    return RunRequest(
        request=CompletionRequest(
            model=route.ref.model,
            messages=context.chat_messages(settings.instructions, history + own, states),
            params=_params(run.settings, route, tools, output_max, is_first_call=not own),
            is_stream=True,
            include_usage=True,
        ),
    )


def sample(run: RunRecord, route: Route) -> CompletionRequest:
    """A request with the parameters of the run's next call, but without messages and schemas.

    Which parameters a model does not take depends on neither, and it is built in no time.
    """
    tools = [
        {"type": "function", "function": {"name": tool.function.name}}
        for tool in run.settings.tools
    ]
    params = _params(run.settings, route, tools, None, is_first_call=run.started_ms is None)
    params.pop("response_format", None)
    if limit := _least(run.settings.max_completion_tokens, run.settings.call_max_tokens):
        params["max_completion_tokens"] = limit
    return CompletionRequest(
        model=route.ref.model, messages=[{"role": "user", "content": "."}], params=params
    )


def _states(tx: Tx, run: RunRecord, route: Route, own: list[Item]) -> dict[str, Any]:
    """What the model left with this run's calls. Of earlier runs nothing is given back: thinking
    belongs to the turn it was thought in.
    """
    if not own:
        return {}
    scope = provider_states.thread_scope(run.conversation)
    call_ids = [item.call_id for item in own if isinstance(item.body, FunctionCallBody)]
    return provider_states.find(tx, scope, [each for each in call_ids if each], str(route.ref))


def _history(tx: Tx, run: RunRecord, room: int | None) -> list[Item]:
    """What stood in the thread before the run's own items, as its truncation strategy says."""
    before = items.first_ordinal_of_run(tx, run.seq)
    count = _last_count(run)
    if count is not None:
        found = items.last_messages(tx, run.conversation, before, count)
    else:
        found = _newest(tx, run.conversation, before, room)
    return _fitting(found, room)


def _fitting(found: list[Item], room: int | None) -> list[Item]:
    return found if room is None else context.newest_turns(found, room)


def _last_count(run: RunRecord) -> int | None:
    """How many messages the model is shown; None: as many as fit."""
    truncation = run.settings.truncation_strategy
    return truncation.last_messages if truncation.type == "last_messages" else None


def _newest(tx: Tx, conversation: int, before: int, room: int | None) -> list[Item]:
    """Items newest first until `room` is surely filled, given back oldest first."""
    found: list[Item] = []
    size = 0
    while room is None or size <= room:
        read = items.newest_before(tx, conversation, before, HISTORY_ITEMS_PER_READ)
        found.extend(item for _, item in read)
        if len(read) < HISTORY_ITEMS_PER_READ:
            break
        before = read[-1][0]
        size += context.estimate([item for _, item in read]) if room is not None else 0
    found.reverse()
    return found


def _params(
    settings: RunSettings,
    route: Route,
    tools: list[Any],
    output_max: int | None,
    *,
    is_first_call: bool,
) -> dict[str, Any]:
    """Chat-completions parameters: a slot's own, under what the run was given.

    A forced `tool_choice` holds for the run's first call; kept up, the run could never answer.
    OpenAI's defaults are left out: reasoning models refuse even a default temperature.
    """
    given: dict[str, Any] = {
        "temperature": None if settings.temperature == 1.0 else settings.temperature,
        "top_p": None if settings.top_p == 1.0 else settings.top_p,
        "reasoning_effort": settings.reasoning_effort,
        "max_completion_tokens": output_max,
        "seed": settings.seed,
        "response_format": _response_format(settings.response_format),
    }
    if tools:
        given["tools"] = tools
        is_choice_sent = settings.tool_choice == "none" or is_first_call
        if is_choice_sent and settings.tool_choice != "auto":
            given["tool_choice"] = settings.tool_choice
        if not settings.parallel_tool_calls:
            given["parallel_tool_calls"] = False
    return route.with_own({name: value for name, value in given.items() if value is not None})


def _response_format(response_format: Any) -> Any:
    is_text = response_format == "auto" or response_format == {"type": "text"}
    return None if is_text else response_format


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else limit - used


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
