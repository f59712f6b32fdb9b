"""Reasoning, caching, counting, and what is left out of a request: the same words at all nineteen."""

from typing import Any, Final

import pytest

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.stream import check_chat_stream
from tests.e2e.nineteen import CHAT, Proxy, last_run, model_of
from tests.vendors.asked import keys, strings
from tests.vendors.native_wire import counted
from tests.vendors.speech import WORDS, Count
from tests.vendors.wires import says

MESSAGES: Final = [{"role": "user", "content": "How warm is it in Bern?"}]
THOUGHT: Final = "It is June, so it is warm."
GOOD: Final = "It is warm."
NEWEST: Final = "/v1/usage/records?order=desc&limit=1"
COUNT: Final = Count(read=3000, written=60, cached=2048, kept=100, reasoned=25)
LOW: Final = {"reasoning_effort": "low"}
BUDGET: Final = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
KNOBS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "openai": ("o4-mini", LOW),
    "azure": ("o4-mini", LOW),
    "anthropic": ("claude-sonnet-4-5", BUDGET),
    "google": (
        "gemini-3.5-flash",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}},
    ),
    "mistral": ("mistral-small-latest", {"reasoning_effort": "high"}),
    "cohere": ("command-a-reasoning-08-2025", {"thinking": {"type": "enabled", "token_budget": 2048}}),
    "groq": ("openai/gpt-oss-120b", LOW),
    "together": ("openai/gpt-oss-20b", LOW),
    "fireworks": ("accounts/fireworks/models/glm-5", LOW),
    "perplexity": ("sonar", {"reasoning": {"effort": "low"}}),
    "deepseek": ("deepseek-v4-pro", LOW),
    "xai": ("grok-4.3", {"reasoning": {"effort": "low"}}),
    "cerebras": ("gpt-oss-120b", LOW),
    "sambanova": ("gpt-oss-120b", LOW),
    "openrouter": ("openai/gpt-5-mini", {"reasoning": {"effort": "low"}}),
    "ollama": ("qwen3:8b", {"think": "low"}),
    "bedrock": (
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        {"additionalModelRequestFields": BUDGET},
    ),
    "huggingface": ("openai/gpt-oss-120b", LOW),
    "replicate": ("openai/gpt-5", {"input": LOW}),
}  # fmt: skip
"""For each provider a model that reasons, and what asks it for a little reasoning on its own wire."""
SILENT: Final = ("openai", "azure", "replicate")
"""They tell nothing of what a model thought."""
ASKED: Final = {
    "effort": {"reasoning_effort": "low"},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    "budget": {"thinking_budget": 2048},
}


def is_inside(part: Any, whole: Any) -> bool:
    """Whether `whole` has all that `part` has, at the same places."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and is_inside(value, whole[key]) for key, value in part.items()
        )
    return bool(part == whole)


@pytest.mark.parametrize("knob", ASKED)
@pytest.mark.parametrize("provider", KNOBS)
async def test_a_wish_to_reason_reaches_the_providers_own_knob(
    provider: str, knob: str, proxy: Proxy
) -> None:
    """Whichever of the three words says it, in a chat and in a run, and it is not called dropped."""
    model, expected = KNOBS[provider]
    proxy.answers(provider, says(provider, WORDS))
    body = {"model": f"fc:{provider}/{model}", "messages": MESSAGES, **ASKED[knob]}

    await proxy.call(CHAT, body)

    [sent] = proxy.sent(provider)
    assert is_inside(expected, sent), sent
    assert "x-ringside-dropped-params" not in proxy.headers


TURNED_ON: Final[tuple[dict[str, Any], ...]] = (
    {"thinking": {"type": "enabled"}},
    {"thinking": {"type": "adaptive"}},
    {"thinking_budget": -1},
)


@pytest.mark.parametrize("wish", TURNED_ON, ids=["enabled", "adaptive", "dynamic"])
@pytest.mark.parametrize("provider", KNOBS)
async def test_thinking_without_a_measure_is_turned_on(
    provider: str, wish: dict[str, Any], proxy: Proxy
) -> None:
    """It is heeded everywhere; how much of it may be said by the effort, else the vendor decides."""
    model, low = KNOBS[provider]
    proxy.answers(provider, says(provider, WORDS))
    body = {"model": f"fc:{provider}/{model}", "messages": MESSAGES, **wish}

    await proxy.call(CHAT, body)
    assert "x-ringside-dropped-params" not in proxy.headers
    await proxy.call(CHAT, body | LOW)
    assert "x-ringside-dropped-params" not in proxy.headers

    plain, measured = proxy.sent(provider)
    assert is_inside(low, measured), measured
    proxy.answers(provider, says(provider, WORDS))
    await proxy.call(CHAT, body | {"reasoning_effort": "none"})
    assert proxy.sent(provider)[2] == plain


@pytest.mark.parametrize("provider", KNOBS)
async def test_a_run_hands_its_effort_on(provider: str, proxy: Proxy) -> None:
    """The assistant's `reasoning_effort` is the same wish."""
    model, expected = KNOBS[provider]
    proxy.answers(provider, says(provider, WORDS))
    assistant = await proxy.assistant(
        provider, model=f"fc:{provider}/{model}", reasoning_effort="low"
    )

    run = last_run(await proxy.run(provider, assistant_id=assistant))

    assert run["status"] == "completed", run["last_error"]
    assert is_inside(expected, proxy.sent(provider)[0])


@pytest.mark.parametrize("provider", [name for name in KNOBS if name not in SILENT])
async def test_thoughts_are_told_apart_from_the_words(provider: str, proxy: Proxy) -> None:
    """As `reasoning_content` in a chat, and never in a message."""
    model, _ = KNOBS[provider]
    proxy.answers(provider, says(provider, WORDS._replace(reasoning=THOUGHT)))
    body = {"model": f"fc:{provider}/{model}", "messages": MESSAGES, "reasoning_effort": "low"}

    plain = (await proxy.call(CHAT, body))["choices"][0]["message"]
    chunks = check_chat_stream(await proxy.post(CHAT, body | {"stream": True}))
    events = await proxy.run(provider, model=body["model"])

    assert (plain["reasoning_content"].strip(), plain["content"]) == (THOUGHT, WORDS.text)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(d.get("reasoning_content") or "" for d in deltas).strip() == THOUGHT
    assert "".join(d.get("content") or "" for d in deltas) == WORDS.text
    [message] = [data for name, data in events if name == "thread.message.completed"]
    assert message["content"][0]["text"]["value"] == WORDS.text
    assert not any(THOUGHT in text for _, data in events for text in strings(data))


async def test_a_fixed_effort_is_no_reason_to_refuse_tools(proxy: Proxy) -> None:
    """OpenAI's chat models take tools as long as no effort is named beside them."""
    proxy.answers("openai", says("openai", WORDS))
    body = {"model": "fc:openai/gpt-5.2-chat", "messages": MESSAGES, "tools": [MARKED_TOOL], **LOW}

    await proxy.call(CHAT, body)

    assert "reasoning_effort" not in proxy.sent("openai")[0]


TAGS: Final = ("groq", "together", "fireworks", "sambanova", "huggingface")


@pytest.mark.parametrize("provider", TAGS)
async def test_thoughts_without_their_opening_tag_are_no_words(provider: str, proxy: Proxy) -> None:
    """Of a model whose prompt ends with the tag, in a chat, plain and streamed."""
    proxy.answers(provider, says(provider, WORDS._replace(text=f"{THOUGHT}</think>\n\n{GOOD}")))
    body = {"model": f"fc:{provider}/deepseek-r1", "messages": MESSAGES}

    plain = (await proxy.call(CHAT, body))["choices"][0]["message"]
    chunks = check_chat_stream(await proxy.post(CHAT, body | {"stream": True}))

    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert (plain["reasoning_content"], plain["content"]) == (THOUGHT, GOOD)
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == THOUGHT
    assert "".join(d.get("content") or "" for d in deltas) == GOOD


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_every_token_is_counted_once(provider: str, proxy: Proxy) -> None:
    """Cached ones inside those read, reasoning ones inside those written, whoever counts."""
    proxy.answers(provider, says(provider, WORDS._replace(count=COUNT)))
    body = {"model": model_of(provider), "messages": MESSAGES}
    told = counted(provider, COUNT)
    expected = {
        "prompt_tokens": told.read,
        "completion_tokens": told.written,
        "total_tokens": told.read + told.written,
    }
    options = {"stream": True, "stream_options": {"include_usage": True}}
    [*_, before] = [0, *(r["sequence"] for r in (await proxy.get(NEWEST))["data"])]

    plain = await proxy.call(CHAT, body)
    chunks = check_chat_stream(await proxy.post(CHAT, body | options))
    run = last_run(await proxy.run(provider))

    records = (await proxy.get(f"/v1/usage/records?after={before}"))["data"]
    assert [record["kind"] for record in records] == ["chat.completion", "chat.completion", "run"]
    for record in records:
        shown = (record["input_tokens"], record["output_tokens"], record["cached_input_tokens"])
        assert shown == (told.read, told.written, told.cached)
        assert record["cache_write_input_tokens"] == told.kept
        assert record["reasoning_tokens"] == told.reasoned
        assert not record["estimated"]
    for usage in (plain["usage"], chunks[-1]["usage"], run["usage"]):
        assert {key: usage[key] for key in expected} == expected
    for usage in (plain["usage"], chunks[-1]["usage"]):
        assert usage["prompt_tokens_details"]["cached_tokens"] == told.cached
        reasoned = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
        assert reasoned == told.reasoned
    assert run["usage"]["prompt_token_details"]["cached_tokens"] == told.cached
    assert run["usage"]["completion_tokens_details"]["reasoning_tokens"] == told.reasoned


MARK: Final = {"type": "ephemeral", "ttl": "1h"}
MARKED: Final = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]},
    {"role": "user", "content": [{"type": "text", "text": "Hello.", "cache_control": MARK}]},
]
MARKED_TOOL: Final = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    "cache_control": MARK,
}


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_marks_for_the_cache_go_where_they_are_known(provider: str, proxy: Proxy) -> None:
    """Verbatim to Anthropic, as cache points to Bedrock, through OpenRouter; nobody else sees one."""
    proxy.answers(provider, says(provider, WORDS))
    body = {"model": model_of(provider), "messages": MARKED, "tools": [MARKED_TOOL]}

    await proxy.call(CHAT, body)

    [sent] = proxy.sent(provider)
    found = [value for value in marks(sent)]
    match provider:
        case "anthropic":
            assert found == [MARK] * 3
        case "bedrock":
            assert found == [{"type": "default", "ttl": "1h"}] * 3
        case "openrouter":
            assert found == [MARK] * 3
        case _:
            assert not found
            assert not {"cache_control", "cachePoint"} & {*keys(sent)}


def marks(value: Any) -> list[Any]:
    """Every mark inside a request."""
    if isinstance(value, list):
        return [mark for item in value for mark in marks(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key] for key in ("cache_control", "cachePoint") if key in value]
    return own + [mark for item in value.values() for mark in marks(item)]


WISHES: Final[dict[str, Any]] = {
    "temperature": 0.3,
    "top_p": 0.9,
    "stop": ["END"],
    "seed": 7,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "service_tier": "flex",
    "verbosity": "low",
    "prompt_cache_key": "k1",
    "max_completion_tokens": 100,
    "novelty": "of which nobody has heard",
}
OWN_NAMES: Final = {
    "stop": {"stop", "stop_sequences", "stopSequences"},
    "top_p": {"top_p", "topP", "p"},
    "seed": {"seed", "random_seed"},
    "presence_penalty": {"presence_penalty", "presencePenalty"},
    "frequency_penalty": {"frequency_penalty", "frequencyPenalty"},
    "service_tier": {"service_tier", "serviceTier"},
    "max_completion_tokens": {
        *("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens"),
        *("maxTokens", "num_predict"),
    },
}
"""By which names a parameter may go out."""


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_no_parameter_is_lost_in_silence(provider: str, proxy: Proxy) -> None:
    """Each one reaches the provider under its own name there, or is named as left out; never both.

    What is unknown goes nowhere: each provider is sent what stands on its own list.
    """
    proxy.answers(provider, says(provider, WORDS))
    body = {"model": model_of(provider), "messages": MESSAGES, "user": "customer_42", **WISHES}

    await proxy.call(CHAT, body)

    [sent] = proxy.sent(provider)
    dropped = set(filter(None, proxy.headers.get("x-ringside-dropped-params", "").split(", ")))
    for name in WISHES:
        went = bool({*keys(sent)} & OWN_NAMES.get(name, {name}))
        assert went is not (name in dropped), f"{name}: sent {went}, {sorted(dropped)}"
    assert "novelty" in dropped <= WISHES.keys()
    assert not any("customer_42" in text for text in strings(sent))
