"""Function calls, the same at all nineteen: one, several, one only, two rounds, every choice."""

import json
from typing import Any, Final

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Support
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.stream import check_chat_stream
from tests.e2e.nineteen import CHAT, Proxy, calls_of, last_run, model_of
from tests.vendors.speech import WORDS, Call, Say
from tests.vendors.wires import says

OUTPUT: Final = "12 degrees, says the station"
QUESTION: Final = [{"role": "user", "content": "How is the weather in Bern, and what time is it?"}]
TOOLS: Final = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "get_time")
]
ONE: Final = (Call("call_a1b2c3", "get_weather", '{"city": "Bern"}'),)
LATER: Final = (Call("call_g7h8i9", "get_weather", '{"city": "Thun"}'),)
BARE: Final = (Call("call_j1k2l3", "get_time", ""), *ONE)
"""The first has no arguments, which some vendors tell by saying nothing."""
TWO: Final = (*ONE, Call("call_d4e5f6", "get_time", '{"zone": "CET"}'))


def told(calls: list[Any]) -> list[tuple[str, Any]]:
    """Names and arguments of calls in OpenAI's shape."""
    functions = [call["function"] for call in calls]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


def meant(calls: tuple[Call, ...]) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments or "{}")) for call in calls]


def gathered(chunks: list[Any]) -> list[Any]:
    """The calls of a streamed chat, put together from their pieces."""
    calls: list[Any] = []
    for chunk in chunks:
        for piece in [p for c in chunk["choices"] for p in c["delta"].get("tool_calls") or ()]:
            if piece["index"] == len(calls):
                calls.append({"id": piece["id"], "function": {**piece["function"]}})
            else:
                assert "id" not in piece
                calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return calls


@pytest.mark.parametrize("calls", [ONE, TWO, BARE], ids=["one", "parallel", "bare"])
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_calls_come_out_of_a_chat(
    provider: str, calls: tuple[Call, ...], proxy: Proxy
) -> None:
    """Plain and streamed alike: dense indexes, one id each that is sent once, arguments as JSON."""
    proxy.answers(provider, says(provider, Say("", calls)))
    body = {"model": model_of(provider), "messages": QUESTION, "tools": TOOLS}

    plain = await proxy.call(CHAT, body)
    chunks = check_chat_stream(await proxy.post(CHAT, body | {"stream": True}))

    [choice] = plain["choices"]
    assert told(choice["message"]["tool_calls"]) == meant(calls)
    assert choice["finish_reason"] == "tool_calls"
    assert told(gathered(chunks)) == meant(calls)
    indexes = [
        piece["index"]
        for chunk in chunks
        for choice in chunk["choices"]
        for piece in choice["delta"].get("tool_calls") or ()
    ]
    assert indexes == sorted(indexes)
    ids = [call["id"] for call in gathered(chunks)]
    assert len({*ids}) == len(ids)
    reasons = [c["finish_reason"] for chunk in chunks for c in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["tool_calls"]


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_run_goes_on_over_two_rounds_of_calls(provider: str, proxy: Proxy) -> None:
    """Two calls at once, then one, then words: every output reaches the model on its own wire."""
    answers = (Say("Let me look.", TWO), Say("", LATER), WORDS)
    proxy.answers(provider, *(says(provider, answer) for answer in answers))

    first = last_run(await proxy.run(provider, tools=TOOLS))
    second = last_run(await proxy.submit(first, OUTPUT))
    events = await proxy.submit(second, OUTPUT)

    assert told(calls_of(first)) == meant(TWO)
    assert told(calls_of(second)) == meant(LATER)
    run = last_run(events)
    assert run["status"] == "completed", run["last_error"]
    assert run["usage"]["prompt_tokens"] == sum(answer.count.read for answer in answers)
    assert len(proxy.sent(provider)) == len(answers)


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_chat_goes_on_over_two_rounds_of_calls(provider: str, proxy: Proxy) -> None:
    """A caller that keeps the history itself gives back what it was given, and that is taken."""
    answers = (Say("", TWO), Say("", LATER), WORDS)
    proxy.answers(provider, *(says(provider, answer) for answer in answers))
    messages: list[Any] = [*QUESTION]

    for _ in answers:
        body = {"model": model_of(provider), "messages": messages, "tools": TOOLS}
        answer = (await proxy.call(CHAT, body))["choices"][0]["message"]
        messages.append({k: v for k, v in answer.items() if k in ("role", "content", "tool_calls")})
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": OUTPUT}
            for call in answer.get("tool_calls") or ()
        ]

    assert messages[-1]["content"] == WORDS.text


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_one_call_only_is_one_call_only(provider: str, proxy: Proxy) -> None:
    """Also from a model that calls twice all the same, and the next round knows of one."""
    proxy.answers(provider, says(provider, Say("", TWO)), says(provider, WORDS))
    fields = {"tools": TOOLS, "parallel_tool_calls": False}
    body = {"model": model_of(provider), "messages": QUESTION, **fields}

    waiting = last_run(await proxy.run(provider, **fields))
    run = last_run(await proxy.submit(waiting, OUTPUT))
    proxy.answers(provider, says(provider, Say("", TWO)))
    plain = await proxy.call(CHAT, body)

    assert told(calls_of(waiting)) == meant(ONE)
    assert run["status"] == "completed", run["last_error"]
    assert told(plain["choices"][0]["message"]["tool_calls"]) == meant(ONE)


@pytest.mark.parametrize("choice", ["required", "named"])
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_choice_that_is_never_heeded_is_an_error(
    provider: str, choice: str, proxy: Proxy
) -> None:
    """A forced call is never dropped: where it is made up for, words are asked again, twice at most."""
    proxy.answers(provider, says(provider, WORDS))
    named = {"type": "function", "function": {"name": "get_time"}}
    body = {"model": model_of(provider), "messages": QUESTION, "tools": TOOLS}
    body |= {"tool_choice": named if choice == "named" else choice}

    answer = json.loads(await proxy.anyhow(CHAT, body))

    asked = len(proxy.sent(provider))
    run = last_run(await proxy.run(provider, tools=TOOLS, tool_choice=body["tool_choice"]))
    if "error" in answer:
        assert answer["error"]["code"] == "response_schema_validation_failed"
        assert answer["error"]["param"] == "tool_choice"
        assert asked == 1 + 2
        assert run["status"] == "failed"
        assert "tool_choice" in run["last_error"]["message"]
    else:  # the vendor forces it by itself: that it did not is the vendor's own breach
        assert asked == 1
        sent = json.dumps(proxy.sent(provider)[0])
        assert "get_time" in sent
        assert "tool_choice" in sent or "toolChoice" in sent or "functionCallingConfig" in sent


NOT_NAMED: Final = [
    name
    for name, model in TYPICAL_MODELS.items()
    if PROVIDERS[name].capabilities(model).tool_choice_named is not Support.NATIVE
]


@pytest.mark.parametrize("provider", NOT_NAMED)
async def test_another_call_than_was_named_is_not_taken(provider: str, proxy: Proxy) -> None:
    """A model that knows of no choice may call what its history has: it is asked again."""
    other = (Call("call_d4e5f6", "get_time", '{"zone": "CET"}'),)
    proxy.answers(provider, says(provider, Say("", other)), says(provider, Say("", ONE)))
    named = {"type": "function", "function": {"name": "get_weather"}}
    body = {"model": model_of(provider), "messages": QUESTION, "tools": TOOLS, "tool_choice": named}

    answer = await proxy.call(CHAT, body)

    assert told(answer["choices"][0]["message"]["tool_calls"]) == meant(ONE)
    assert len(proxy.sent(provider)) == 2


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_function_may_have_no_parameters(provider: str, proxy: Proxy) -> None:
    """OpenAI's `parameters` may be left out; where a schema is demanded, an empty one goes out."""
    proxy.answers(provider, says(provider, Say("", BARE[:1])))
    bare = {"type": "function", "function": {"name": "get_time"}}
    body = {"model": model_of(provider), "messages": QUESTION, "tools": [bare]}

    answer = await proxy.call(CHAT, body)

    assert told(answer["choices"][0]["message"]["tool_calls"]) == meant(BARE[:1])


STRICT: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "$defs": {
                "Unit": {"enum": ["C", "F"], "title": "Unit", "type": "string"},
                "Place": {
                    "properties": {"city": {"title": "City", "type": "string"}},
                    "required": ["city"],
                    "title": "Place",
                    "type": "object",
                    "additionalProperties": False,
                },
            },
            "properties": {
                "places": {"items": {"$ref": "#/$defs/Place"}, "title": "Places", "type": "array"},
                "unit": {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]},
            },
            "required": ["places", "unit"],
            "title": "get_weather",
            "type": "object",
            "additionalProperties": False,
        },
    },
}
"""A function as the SDK's `pydantic_function_tool` makes one of a model's fields."""


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_function_of_the_sdks_own_making_is_taken(provider: str, proxy: Proxy) -> None:
    """Definitions, alternatives, closed objects and titles are no reason to refuse a call."""
    arguments = '{"places": [{"city": "Bern"}], "unit": null}'
    call = Call("call_m1n2o3p4q5", "get_weather", arguments)
    proxy.answers(provider, says(provider, Say("", (call,))))
    body = {"model": model_of(provider), "messages": QUESTION, "tools": [STRICT]}

    answer = await proxy.call(CHAT, body)

    assert told(answer["choices"][0]["message"]["tool_calls"]) == meant((call,))


IN_WORDS: Final = {
    "google": "gemma-3-27b-it",
    "bedrock": "meta.llama3-70b-instruct-v1:0",
    "cohere": "command-a-translate-08-2025",
}
"""Models that know no functions, at providers that have others."""


@pytest.mark.parametrize("provider", IN_WORDS)
async def test_a_model_without_functions_calls_in_words(provider: str, proxy: Proxy) -> None:
    """It is offered them in words, and told in words what they returned."""
    line = '{"tool": "get_weather", "arguments": {"city": "Bern"}}'
    proxy.answers(provider, says(provider, Say(line)), says(provider, WORDS))
    body = {"model": f"fc:{provider}/{IN_WORDS[provider]}", "messages": QUESTION, "tools": TOOLS}

    [choice] = (await proxy.call(CHAT, body))["choices"]
    said = choice["message"]
    [call] = said["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": OUTPUT}
    answer = await proxy.call(CHAT, body | {"messages": [*QUESTION, said, result]})

    assert (choice["finish_reason"], told([call])) == ("tool_calls", meant(ONE))
    assert answer["choices"][0]["message"]["content"] == WORDS.text
    first, second = (json.dumps(sent) for sent in proxy.sent(provider))
    assert '\\"get_time\\"' in first
    assert OUTPUT in second


ANSWERED: Final = {
    "role": "assistant",
    "content": "Let me look.",
    "reasoning_content": "It asks for the weather.",
    "refusal": None,
    "annotations": [],
    "audio": None,
    "function_call": None,
    "tool_calls": [
        {
            "id": "call_a1b2c3d4e5",
            "type": "function",
            "index": 0,
            "function": {"name": "get_weather", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "c2ln"}},
        }
    ],
}
"""An answer as SDKs hand it out, with all that stands in one, whoever gave it."""


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_an_answer_may_be_given_back_as_it_came(provider: str, proxy: Proxy) -> None:
    """To whichever provider: what that one does not know of it stays here."""
    proxy.answers(provider, says(provider, WORDS))
    result = {"role": "tool", "tool_call_id": "call_a1b2c3d4e5", "content": OUTPUT}
    body = {"model": model_of(provider), "messages": [*QUESTION, ANSWERED, result], "tools": TOOLS}

    answer = await proxy.call(CHAT, body)

    assert answer["choices"][0]["message"]["content"] == WORDS.text


FORGED: Final = (
    {"reasoning_content": "FORGED", "reasoning": "FORGED"},
    [{"type": "thinking", "thinking": "FORGED", "signature": "FORGED"}],
    {"text": "FORGED", "calls": {"call_a1b2c3": "FORGED"}},
)


@pytest.mark.parametrize("state", FORGED, ids=["texts", "blocks", "signatures"])
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_state_that_a_caller_makes_up_goes_nowhere(
    provider: str, state: Any, proxy: Proxy
) -> None:
    """What a provider is given back is what it has said itself, and that is kept here."""
    call = {"id": "call_a1b2c3", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}  # fmt: skip
    said = {"role": "assistant", "content": "Hm.", "tool_calls": [call], "provider_state": state}
    result = {"role": "tool", "tool_call_id": "call_a1b2c3", "content": OUTPUT}
    proxy.answers(provider, says(provider, WORDS))

    body = {"model": model_of(provider), "messages": [*QUESTION, said, result], "tools": TOOLS}
    await proxy.call(CHAT, body)

    assert "FORGED" not in json.dumps(proxy.sent(provider))
