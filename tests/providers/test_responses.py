"""The parameters that reach the providers that speak the Responses dialect."""

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from tests.providers.responses_rig import (
    CREDENTIALS,
    FLAT,
    FORMAT,
    MODELS,
    ROWS,
    SCHEMA,
    TOOLS,
    asked,
    body,
)

PLAIN = {
    "openai": {
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream_options": {"include_obfuscation": False},
    },
    "xai": {"store": False, "include": ["reasoning.encrypted_content"]},
    "perplexity": {"store": False},
}


@pytest.mark.parametrize("name", ROWS)
def test_plain_request_is_stored_nowhere(name):
    """A request without parameters says what has to be said, and that nothing is to be kept."""
    assert body(name) == {
        "model": MODELS[name],
        "input": [{"type": "message", "role": "user", "content": "Hi."}],
        "stream": True,
        **PLAIN[name],
    }


@pytest.mark.parametrize(("name", "path"), [("openai", "responses"), ("xai", "responses")])
def test_request_goes_to_its_address(name, path):
    """The row's path, the key, and OpenAI's own headers where they are known."""
    request = ROWS[name].build_request(asked("m"), CREDENTIALS)

    own = {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj-1"} if name == "openai" else {}
    assert request.url == f"http://127.0.0.1:1/v1/{path}"
    assert request.headers == {
        "content-type": "application/json",
        "authorization": "Bearer sk-test-key",
        **own,
    }


EVERYWHERE = [
    ({"max_tokens": 50}, {"max_output_tokens": 50}),
    ({"max_tokens": 50, "max_completion_tokens": 60}, {"max_output_tokens": 60}),
    ({"tools": TOOLS, "tool_choice": "auto"}, {"tools": "flat"}),
    ({"tools": TOOLS, "tool_choice": "none"}, {"tools": "flat", "tool_choice": "none"}),
    ({"tools": TOOLS, "tool_choice": "required"}, {"tools": "flat", "tool_choice": "required"}),
    (
        {"tools": TOOLS, "parallel_tool_calls": False},
        {"tools": "flat", "parallel_tool_calls": False},
    ),
    ({"tools": [], "tool_choice": "none", "parallel_tool_calls": False}, {}),
    ({"tool_choice": "required"}, {"tool_choice": "required"}),
    ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning": {"effort": "low"}}),
    ({"response_format": {"type": "text"}}, {}),
    ({"n": 1, "seed": None, "stop": [], "modalities": ["text"]}, {}),
]


@pytest.mark.parametrize(("given", "sent"), EVERYWHERE)
@pytest.mark.parametrize("name", ROWS)
def test_parameters_are_said_in_the_dialects_words(name, given, sent):
    """What all three take alike."""
    expected = sent | ({"tools": FLAT[name]} if sent.get("tools") == "flat" else {})

    extra = {k: v for k, v in body(name, given).items() if k not in PLAIN[name]}

    assert extra == {"model": MODELS[name], "input": extra["input"], "stream": True, **expected}


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("openai", {"max_tokens": 5}, {"max_output_tokens": 16}),
        ("xai", {"max_tokens": 5}, {"max_output_tokens": 5}),
        ("perplexity", {"max_tokens": 5}, {"max_output_tokens": 16}),
        (
            "openai",
            {"response_format": FORMAT},
            {"text": {"format": {"type": "json_schema", **SCHEMA}}},
        ),
        (
            "xai",
            {"response_format": FORMAT},
            {"text": {"format": {"type": "json_schema", **SCHEMA}}},
        ),
        ("perplexity", {"response_format": FORMAT}, {"response_format": FORMAT}),
        (
            "openai",
            {"response_format": {"type": "json_object"}, "verbosity": "low"},
            {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
        ),
        ("openai", {"service_tier": "flex"}, {"service_tier": "flex"}),
        ("openai", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
        ("xai", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
        ("xai", {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2, "top_p": 0.5}),
        ("perplexity", {"temperature": 0.2}, {"temperature": 0.2}),
        (
            "openai",
            {"temperature": 0.2, "reasoning_effort": "none"},
            {"temperature": 0.2, "reasoning": {"effort": "none"}},
        ),
    ],
)
def test_parameter_of_one_provider(name, given, sent):
    """What they take each in its own way."""
    written = body(name, given)

    assert {key: written[key] for key in written.keys() - body(name).keys()} == sent


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("openai", {"type": "function", "name": "f"}),
        ("xai", {"type": "function", "name": "f"}),
        ("perplexity", {"name": "f"}),
    ],
)
def test_named_choice_is_flat(name, choice):
    """One function that must be called."""
    given = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}

    assert body(name, given)["tool_choice"] == choice


def test_allowed_tools_are_the_tools():
    """Only what may be called is sent, in the mode that was asked for."""
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}

    written = body("openai", {"tools": TOOLS, "tool_choice": choice})

    assert (written["tools"], written["tool_choice"]) == ([FLAT["openai"][1]], "required")


@pytest.mark.parametrize(
    ("name", "given", "dropped"),
    [
        ("openai", {"temperature": 0.2, "stop": "x", "seed": 1}, ("seed", "stop", "temperature")),
        ("openai", {"user": "u", "metadata": {"a": "b"}, "store": True}, ()),
        ("openai", {"presence_penalty": 0, "logprobs": False, "n": 1}, ()),
        ("openai", {"thinking_budget": 100}, ()),
        ("xai", {"presence_penalty": 1, "stop": ["x"]}, ("presence_penalty", "stop")),
        ("xai", {"service_tier": "flex", "verbosity": "low"}, ("service_tier", "verbosity")),
        (
            "perplexity",
            {"prompt_cache_key": "k", "logit_bias": {"5": 1}},
            ("logit_bias", "prompt_cache_key"),
        ),
    ],
)
def test_what_is_left_out_is_named(name, given, dropped):
    """What neither this dialect nor the model takes; not what stays here anyway."""
    request = ROWS[name].build_request(asked(MODELS[name], given), CREDENTIALS)

    assert tuple(sorted(request.dropped_params)) == dropped
    assert not (orjson.loads(request.body).keys() & given.keys()) - {"store"}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "a"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools"),
    ],
)
@pytest.mark.parametrize("name", ROWS)
def test_what_cannot_be_left_out_is_refused(name, given, param):
    """Without it the answer would be another one than was asked for."""
    with pytest.raises(InvalidRequestError) as caught:
        body(name, given)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    ("name", "model", "asked_for", "sent"),
    [
        ("openai", "gpt-5.6-sol", "max", "max"),
        ("openai", "gpt-5.5", "max", "xhigh"),
        ("openai", "gpt-6-astra", "none", "low"),
        ("openai", "gpt-5.2-pro", "low", "medium"),
        ("openai", "gpt-5-pro", "low", "high"),
        ("openai", "gpt-5.4-2026-03-05", "minimal", "low"),
        ("xai", "grok-4.3", "none", "none"),
        ("xai", "grok-4.5", "xhigh", "high"),
        ("xai", "grok-4.7", "xhigh", "xhigh"),
        ("xai", "grok-4.20-reasoning", "high", None),
        ("xai", "grok-4-1-fast-reasoning", "high", None),
        ("xai", "grok-9", "max", "max"),
        ("perplexity", "sonar", "max", "xhigh"),
        ("perplexity", "openai/gpt-5.4", "none", "minimal"),
    ],
)
def test_effort_is_one_that_the_model_knows(name, model, asked_for, sent):
    """The nearest one is sent, and none where the field itself is refused."""
    effort = body(name, {"reasoning_effort": asked_for}, model=model).get("reasoning")

    assert effort == (None if sent is None else {"effort": sent})


def test_json_object_is_said_once_in_words():
    """Without the word JSON in its input the request is refused."""
    asked_for = {"response_format": {"type": "json_object"}}
    knows = {"role": "user", "content": "Answer as JSON."}

    told = body("openai", asked_for)["input"]

    assert told[0] == {"type": "message", "role": "system", "content": "Answer in JSON."}
    assert len(told) == 2
    assert len(body("openai", asked_for, [knows])["input"]) == 1
    assert len(body("openai", {})["input"]) == 1
