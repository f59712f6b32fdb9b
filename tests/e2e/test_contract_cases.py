"""The contract, case by case, at all nineteen providers: each case as its own wire tells it."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Support
from ringside_proxy.services.answer_plan import MUST_CALL, MUST_CALL_ONE
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.stream import check_chat_stream
from tests.e2e.nineteen import WEATHER, Proxy, calls_of, last_run, model_of
from tests.vendors.asked import strings
from tests.vendors.recorded import cases, finish, of_kind, said, text_of, transcript

OUTPUT: Final = "12 degrees, says the station"
MESSAGES: Final = [{"role": "user", "content": "How is the weather in Bern?"}]
GOOD: Final = '{"city": "Bern", "degrees": 12}'
BAD: Final = '{"city": "Bern", "degrees": "twelve"}'
FORMAT: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "weather",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
            "required": ["city", "degrees"],
            "additionalProperties": False,
        },
    },
}
OPEN_KEYS: Final = {"type", "format", "id", "call_id"}
ASKED_MAX: Final = 3
"""The first time, and the two repairs that are the default."""
TOOLS: Final = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "get_time", "get_news", "now")
]


def words(value: Any) -> Iterator[str]:
    """Every string inside JSON, also inside JSON that is itself written as a string, or in a line."""
    for found in strings(value):
        yield found
        for text in [found] if found.startswith("{") else found.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                yield from words(json.loads(text[text.index("{") :] if "{" in text else ""))


def has_schema(value: Any) -> bool:
    """Whether the schema that was asked for stands somewhere inside, as a schema or its JSON."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict) and "degrees" in (value.get("properties") or ()):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(has_schema(item) for item in inner)


def sealed(state: Any) -> Iterator[str]:
    """What only its provider can read in a state: all strings but names of kinds and of calls."""
    if isinstance(state, dict):
        state = [item for key, item in state.items() if key not in OPEN_KEYS]
    if isinstance(state, list):
        for item in state:
            yield from sealed(item)
    elif isinstance(state, str) and state:
        yield state


def has_text(value: Any, text: str) -> bool:
    return any(text in found for found in strings(value))


def usage_of(*transcripts: list[tuple[str, Any]]) -> dict[str, Any]:
    """The usage of a run that was answered with these, in OpenAI's words."""
    last = [of_kind(deltas, "UsageDelta")[-1]["usage"] for deltas in transcripts]
    read, written = (sum(u[key] for u in last) for key in ("input_tokens", "output_tokens"))
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_token_details": {"cached_tokens": sum(u["cached_input_tokens"] for u in last)},
        "completion_tokens_details": {"reasoning_tokens": sum(u["reasoning_tokens"] for u in last)},
    }


@pytest.mark.parametrize(
    ("provider", "case"),
    cases(lambda deltas: any(f["index"] > 0 for f in of_kind(deltas, "ToolCallDelta"))),
)
async def test_parallel_calls_stand_in_one_step_with_dense_indexes(
    provider: str, case: str, proxy: Proxy
) -> None:
    """Every call has its own index from 0, in order, and comes out with its name and arguments."""
    proxy.answers(provider, case)
    expected: dict[int, list[str]] = {}
    for piece in of_kind(transcript(provider, case), "ToolCallDelta"):
        call = expected.setdefault(piece["index"], [piece["name"], ""])
        call[1] += piece["arguments"]

    events = await proxy.run(provider, tools=TOOLS)

    calls = calls_of(last_run(events))
    told = [[call["function"]["name"], call["function"]["arguments"]] for call in calls]
    assert told == list(expected.values())
    assert len({call["id"] for call in calls}) == len(calls) > 1
    deltas = [data for name, data in events if name == "thread.run.step.delta"]
    pieces = [call for data in deltas for call in data["delta"]["step_details"]["tool_calls"]]
    assert list(dict.fromkeys(piece["index"] for piece in pieces)) == list(range(len(calls)))
    assert len({data["id"] for data in deltas}) == 1


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_second_round_tells_the_call_and_its_output(provider: str, proxy: Proxy) -> None:
    """The call and what came of it go back on the vendor's own wire, and the run completes."""
    proxy.answers(provider, "tool_call", "plain")
    waiting = last_run(await proxy.run(provider, tools=[WEATHER]))

    run = last_run(await proxy.submit(waiting, OUTPUT))

    assert run["status"] == "completed", run["last_error"]
    first, second = ([*words(body)] for body in proxy.sent(provider))
    calls = calls_of(waiting)
    assert calls
    assert sum(OUTPUT in word for word in second) >= len(calls)
    assert not any(OUTPUT in word for word in first)
    for function in (call["function"] for call in calls):
        assert second.count(function["name"]) > first.count(function["name"])
        assert set(strings(json.loads(function["arguments"]))) <= set(second)
    if provider != "replicate":  # which does not count
        used = [transcript(provider, name) for name in ("tool_call", "plain")]
        assert run["usage"] == usage_of(*used)


CONTINUED: Final = ("google", "continuation")
TOO_LONG: Final = [
    each for each in cases(lambda deltas: finish(deltas) == "length") if each != CONTINUED
]


@pytest.mark.parametrize(("provider", "case"), TOO_LONG)
async def test_a_chat_that_is_too_long_says_so(provider: str, case: str, proxy: Proxy) -> None:
    """The finish reason is `length`, also where only the count of tokens tells it."""
    proxy.answers(provider, case)
    [*_, last] = of_kind(transcript(provider, case), "UsageDelta")
    body = {
        "model": model_of(provider),
        "messages": MESSAGES,
        "stream": True,
        "max_completion_tokens": last["usage"]["output_tokens"],
    }

    chunks = check_chat_stream(await proxy.post("/v1/chat/completions", body))

    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["length"]


@pytest.mark.parametrize(
    ("provider", "case"), [each for each in TOO_LONG if each[0] != "replicate"]
)
async def test_an_answer_that_is_too_long_leaves_the_run_incomplete(
    provider: str, case: str, proxy: Proxy
) -> None:
    """What was said stays, and the run says that the tokens ran out."""
    proxy.answers(provider, case)

    events = await proxy.run(provider)

    run = last_run(events)
    assert run["status"] == "incomplete", run["last_error"]
    assert run["incomplete_details"] == {"reason": "max_completion_tokens"}
    [message] = [data for name, data in events if name == "thread.message.incomplete"]
    assert message["incomplete_details"] == {"reason": "max_tokens"}
    text = "".join(part["text"]["value"] for part in message["content"])
    assert text == text_of(transcript(provider, case))


async def test_an_answer_that_google_breaks_off_is_gone_on_with(proxy: Proxy) -> None:
    """The rest is asked for by its token, and the run has the whole text and the sum of the usage."""
    provider, case = CONTINUED
    proxy.answers(provider, case, "plain")

    run = last_run(events := await proxy.run(provider))

    assert run["status"] == "completed", run["last_error"]
    [message] = [data for name, data in events if name == "thread.message.completed"]
    parts = [transcript(provider, name) for name in (case, "plain")]
    assert message["content"][0]["text"]["value"] == "".join(text_of(part) for part in parts)
    assert run["usage"] == usage_of(*parts)
    first, second = proxy.sent(provider)
    assert second.pop("continuationToken")
    assert first == second


@pytest.mark.parametrize(
    ("provider", "case"), cases(lambda deltas: finish(deltas) == "content_filter")
)
async def test_a_filtered_answer_ends_the_run(provider: str, case: str, proxy: Proxy) -> None:
    """With words the run is incomplete and its message says why; without any it failed."""
    proxy.answers(provider, case)
    text = text_of(transcript(provider, case))

    events = await proxy.run(provider)

    run = last_run(events)
    if text:
        [message] = [data for name, data in events if name == "thread.message.incomplete"]
        assert run["status"] == "incomplete"
        assert message["incomplete_details"] == {"reason": "content_filter"}
        assert message["content"][0]["text"]["value"] == text
    else:
        assert run["status"] == "failed"
        assert run["last_error"]["code"] == "server_error"
        assert "content filter" in run["last_error"]["message"]


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_an_answer_that_meets_the_schema_is_asked_for_once(
    provider: str, proxy: Proxy
) -> None:
    """The model is told the schema, natively or in words, and its answer is passed on as it is."""
    proxy.answers(provider, said(provider, GOOD))
    able = PROVIDERS[provider].capabilities(TYPICAL_MODELS[provider])

    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": FORMAT}
    answer = await proxy.call("/v1/chat/completions", body)

    assert answer["choices"][0]["message"]["content"] == GOOD
    [sent] = proxy.sent(provider)
    in_words = any("JSON schema" in text and '"degrees"' in text for text in strings(sent))
    assert has_schema(sent) is able.json_schema
    assert in_words or able.json_schema


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_an_answer_that_misses_the_schema_is_repaired(provider: str, proxy: Proxy) -> None:
    """The model is shown its answer and asked again; the caller sees only the answer that passes."""
    proxy.answers(provider, said(provider, BAD), said(provider, GOOD))

    events = await proxy.run(provider, response_format=FORMAT)

    run = last_run(events)
    assert run["status"] == "completed", run["last_error"]
    [message] = [data for name, data in events if name == "thread.message.completed"]
    assert message["content"][0]["text"]["value"] == GOOD
    assert not any(has_text(data, "twelve") for _, data in events)
    first, second = proxy.sent(provider)
    assert has_text(second, BAD)
    assert not has_text(first, BAD)


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_an_answer_that_never_meets_the_schema_is_an_error(
    provider: str, proxy: Proxy
) -> None:
    """After the repairs a chat is refused with the last answer, and a run fails with the reason."""
    proxy.answers(provider, said(provider, BAD))
    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": FORMAT}

    refused = await proxy.call("/v1/chat/completions", body, status=422)
    run = last_run(await proxy.run(provider, response_format=FORMAT))

    assert refused["error"]["code"] == "response_schema_validation_failed"
    assert refused["error"]["content"] == BAD
    assert run["status"] == "failed"
    assert "/degrees" in run["last_error"]["message"]
    assert len(proxy.sent(provider)) == 2 * ASKED_MAX


AWKWARD: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "weather",
        "strict": True,
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "title": "Weather",
            "properties": {
                "city": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
                "degrees": {"type": "integer", "minimum": -90, "exclusiveMaximum": 60},
                "extra": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["city"],
        },
    },
}
"""What strict decoders refuse: bounds, open objects, properties that need not be there."""


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_schema_that_no_strict_decoder_takes_is_held_to_all_the_same(
    provider: str, proxy: Proxy
) -> None:
    """The provider gets what it takes of it, or words; the answer is held to the whole."""
    proxy.answers(provider, said(provider, '{"city": "bern"}'), said(provider, GOOD))
    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": AWKWARD}

    answer = await proxy.call("/v1/chat/completions", body)

    assert answer["choices"][0]["message"]["content"] == GOOD
    assert len(proxy.sent(provider)) == 2


JSON_OBJECT: Final = {"type": "json_object"}


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_an_answer_in_json_is_an_object_or_is_refused(
    provider: str, is_stream: bool, proxy: Proxy
) -> None:
    """Words are asked for again, an object is passed on, and words in the end are a 422."""
    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": JSON_OBJECT}
    body["stream"] = is_stream
    chat = "/v1/chat/completions"

    proxy.answers(provider, said(provider, "It is warm."), said(provider, GOOD))
    answered = await proxy.post(chat, body)
    proxy.answers(provider, said(provider, "It is warm."))
    refused = await proxy.call(chat, body, status=422)

    if is_stream:
        deltas = [c["delta"] for chunk in check_chat_stream(answered) for c in chunk["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == GOOD
    else:
        assert json.loads(answered)["choices"][0]["message"]["content"] == GOOD
    assert refused["error"]["code"] == "response_schema_validation_failed"
    assert len(proxy.sent(provider)) == 2 + ASKED_MAX


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_streamed_answer_under_a_schema_is_told_once_it_is_valid(
    provider: str, proxy: Proxy
) -> None:
    """Nothing of the bad one reaches the caller; without a good one there is a status, no stream."""
    body = {"model": model_of(provider), "messages": MESSAGES, "response_format": FORMAT}
    body["stream"] = True
    chat = "/v1/chat/completions"

    proxy.answers(provider, said(provider, BAD), said(provider, GOOD))
    chunks = check_chat_stream(await proxy.post(chat, body))
    proxy.answers(provider, said(provider, BAD))
    refused = await proxy.call(chat, body, status=422)

    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == GOOD
    assert refused["error"]["content"] == BAD


def chosen(provider: str, body: dict[str, Any]) -> Any:
    """The choice of tools in a request on the provider's wire; None if it has none."""
    if provider == "google":
        return body.get("toolConfig", {}).get("functionCallingConfig")
    if provider == "bedrock":
        beside = body.get("additionalModelRequestFields", {}).get("tool_choice")
        return beside or body.get("toolConfig", {}).get("toolChoice")
    return body.get("tool_choice")


NAMED: Final = {"type": "function", "function": {"name": "get_weather"}}
OWN_WORDS: Final[dict[str, dict[str, Any]]] = {
    "anthropic": {
        "none": {"type": "none"},
        "required": {"type": "any"},
        "named": {"type": "tool", "name": "get_weather"},
    },
    "bedrock": {
        "none": {"type": "none"},
        "required": {"any": {}},
        "named": {"tool": {"name": "get_weather"}},
    },
    "google": {
        "none": {"mode": "NONE"},
        "required": {"mode": "ANY"},
        "named": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]},
    },
    "cohere": {"none": "NONE", "required": "REQUIRED", "named": "REQUIRED"},
    "mistral": {"required": "any"},
    "xai": {"named": {"type": "function", "name": "get_weather"}},
    "perplexity": {"named": {"name": "get_weather"}},
    "openrouter": {"named": "required"},  # made up for with the one tool, of which one is required
}
CHOICES: Final = {"none": "none", "required": "required", "named": NAMED}


def takes(provider: str, form: str) -> bool:
    """Whether the provider heeds this form of `tool_choice` by itself."""
    able = PROVIDERS[provider].capabilities(TYPICAL_MODELS[provider])
    return getattr(able, f"tool_choice_{form}") is Support.NATIVE


@pytest.mark.parametrize("form", CHOICES)
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_tool_choice_is_native_or_made_up_for(
    provider: str, form: str, proxy: Proxy
) -> None:
    """What a provider takes is said in its own words; what it does not is narrowed and asked for."""
    proxy.answers(provider, "plain" if form == "none" else "tool_call")
    is_native = takes(provider, form)

    run = last_run(await proxy.run(provider, tools=TOOLS, tool_choice=CHOICES[form]))

    assert run["status"] == ("completed" if form == "none" else "requires_action")
    [sent] = proxy.sent(provider)
    told = [*words(sent)]
    asked = any(MUST_CALL in w or MUST_CALL_ONE.format(name="get_weather") in w for w in told)
    if is_native or (provider in OWN_WORDS and form in OWN_WORDS[provider]):
        assert chosen(provider, sent) == OWN_WORDS.get(provider, {}).get(form, CHOICES[form])
        assert not asked
    else:
        assert chosen(provider, sent) is None
        assert asked is (form != "none")
    if not is_native or provider == "cohere":
        others = [tool["function"]["name"] in told for tool in TOOLS[1:]]
        assert others == [form == "required" or (is_native and form == "none")] * len(others)
    assert ("get_weather" in told) is (is_native or form != "none")


@pytest.mark.parametrize(
    ("provider", "form"),
    [(n, form) for n in TYPICAL_MODELS for form in ("required", "named") if not takes(n, form)],
)
async def test_a_choice_that_is_made_up_for_is_enforced(
    provider: str, form: str, proxy: Proxy
) -> None:
    """Where the choice is not the provider's own, an answer in text is not taken: it is asked again."""
    proxy.answers(provider, "plain", "tool_call")

    run = last_run(await proxy.run(provider, tools=TOOLS, tool_choice=CHOICES[form]))

    assert [call["function"]["name"] for call in calls_of(run)] == ["get_weather"]
    assert len(proxy.sent(provider)) == 2


@pytest.mark.parametrize(
    ("provider", "case"),
    cases(lambda deltas: finish(deltas) == "stop" and bool(of_kind(deltas, "UsageDelta"))),
)
async def test_the_usage_is_the_providers_to_the_token(
    provider: str, case: str, proxy: Proxy
) -> None:
    """The run's and the chat's numbers are those of the last count in the transcript."""
    proxy.answers(provider, case)
    expected = usage_of(transcript(provider, case))
    body = {"model": model_of(provider), "messages": MESSAGES}
    options = {"stream": True, "stream_options": {"include_usage": True}}

    run = last_run(await proxy.run(provider))
    chunks = check_chat_stream(await proxy.post("/v1/chat/completions", body | options))

    assert run["usage"] == expected
    totals = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = chunks[-1]["usage"]
    assert {key: usage[key] for key in totals} == {key: expected[key] for key in totals}


@pytest.mark.parametrize("keeps_tools", [True, False], ids=["tools", "no-tools"])
@pytest.mark.parametrize("source", TYPICAL_MODELS)
async def test_a_conversation_goes_on_at_any_other_provider(
    source: str, keeps_tools: bool, proxy: Proxy
) -> None:
    """A thread with calls of one provider's is told whole to each other one, without its state."""
    for name in TYPICAL_MODELS:
        proxy.answers(name, "plain")
    assistant = await proxy.assistant(source)
    states = of_kind(transcript(source, "tool_call"), "StateDelta")
    secret = [*sealed(states)]
    failed: dict[str, Any] = {}

    for target in TYPICAL_MODELS:
        if target == source:
            continue
        proxy.answers(source, "tool_call", "plain")
        waiting = last_run(await proxy.run(source, assistant_id=assistant, tools=[WEATHER]))
        run = last_run(await proxy.submit(waiting, OUTPUT))
        assert run["status"] == "completed", run["last_error"]
        proxy.answers(target, "plain")
        tools = [WEATHER] if keeps_tools else []
        moved = last_run(
            await proxy.again(
                run["thread_id"],
                assistant_id=assistant,
                model=model_of(target),
                tools=tools,
                additional_messages=[{"role": "user", "content": "And tomorrow?"}],
            )
        )
        sent = [None, *proxy.sent(target)][-1]
        wanted = ["And tomorrow?", OUTPUT]
        missing = [text for text in wanted if not has_text(sent, text)]
        leaked = [text for text in secret if has_text(sent, text)]
        if moved["status"] != "completed" or missing or leaked:
            failed[target] = (moved["last_error"], missing, leaked)

    assert not failed
