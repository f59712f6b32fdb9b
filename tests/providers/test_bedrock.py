"""What is asked of Bedrock: each row of the mapping, by family."""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.bedrock.adapter import Bedrock
from ringside_proxy.providers.bedrock.sigv4 import signed
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    HTTPRequest,
)

REQUESTS = sorted((Path(__file__).parent / "transcripts" / "bedrock").glob("*.request.json"))
BEDROCK = Bedrock()
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
CREDENTIALS = Credentials(base_url=f"{HOST}/", api_key="ABSK-test-key-123")
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEW_CLAUDE = "global.anthropic.claude-opus-5-v1:0"
NEWEST_CLAUDE = "global.anthropic.claude-opus-5-5-v1:0"
NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
GPT = "global.openai.gpt-6.1-sol"
GROK = "global.xai.grok-4.7"
GLM = "zai.glm-5"

HI = [{"role": "user", "content": "Hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SPEC_F = {"name": "f", "description": "f", "inputSchema": {"json": {"type": "object"}}}


def call(name: str = "f", arguments: str = '{"a":1}', call_id: str = "call_1") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def asked(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(content: Any = "4C", call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


LOOP = [*HI, asked(call()), result()]


def built(
    messages: list[dict[str, Any]], model: str = CLAUDE, options: Any = None, **params: Any
) -> HTTPRequest:
    request = CompletionRequest(model=model, messages=messages, params=params, is_stream=True)
    credentials = msgspec.structs.replace(CREDENTIALS, options=options or {})
    return BEDROCK.build_request(request, credentials)


def sent(messages: list[dict[str, Any]], model: str = CLAUDE, **params: Any) -> dict[str, Any]:
    return orjson.loads(built(messages, model, **params).body)


def turns(messages: list[dict[str, Any]], model: str = CLAUDE) -> list[tuple[str, list[Any]]]:
    return [(turn["role"], turn["content"]) for turn in sent(messages, model)["messages"]]


def extra(model: str, **params: Any) -> dict[str, Any]:
    """The fields that go to the model itself."""
    return sent(HI, model, **params).get("additionalModelRequestFields", {})


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_request_is_what_bedrock_takes(path):
    """The body that goes out equals the recorded one, key for key."""
    recorded = orjson.loads(path.read_bytes())
    request = BEDROCK.build_request(
        msgspec.convert(recorded["asked"], CompletionRequest), CREDENTIALS
    )

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded["dropped"]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (CLAUDE, "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile"
            "%2Feu.amazon.nova-pro-v1%3A0/converse-stream",
        ),
    ],
)
def test_model_is_one_segment_of_the_path(model, path):
    """Colons and slashes in it are not the path's."""
    request = built(HI, model)

    assert request.url == HOST + path
    assert request.headers["authorization"] == "Bearer ABSK-test-key-123"
    assert request.sign is None


def test_without_a_key_requests_are_signed_as_they_go():
    """The access key of the options signs, for the region of the host, at the time of sending."""
    options = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s3cret", "session_token": "T"}
    credentials = Credentials(base_url=HOST, options=options)
    request = BEDROCK.build_request(CompletionRequest(model=NOVA, messages=HI), credentials)
    assert request.sign is not None
    assert "authorization" not in request.headers

    headers = request.sign(request, 1_795_219_200_000).headers

    assert headers["x-amz-date"] == "20261121T000000Z"
    assert headers["x-amz-security-token"] == "T"
    assert "AKIDEXAMPLE/20261121/eu-west-1/bedrock/aws4_request" in headers["authorization"]
    assert "s3cret" not in repr(request)
    assert request.sign.func is signed


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        ("https://bedrock-runtime.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://bedrock-runtime-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("https://vpce-1a-b.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_region_is_in_the_host(base_url, region):
    """Public, FIPS, private and Chinese endpoints name it."""
    options = {"access_key_id": "A", "secret_access_key": "B"}
    request = BEDROCK.build_request(
        CompletionRequest(model=NOVA, messages=HI), Credentials(base_url=base_url, options=options)
    )

    assert request.sign is not None
    assert f"/{region}/bedrock/" in request.sign(request, 0).headers["authorization"]


@pytest.mark.parametrize(
    ("base_url", "options"),
    [
        (HOST, {}),
        (HOST, {"access_key_id": "A"}),
        ("http://gateway", {"access_key_id": "A", "secret_access_key": "B"}),
    ],
)
def test_missing_credentials_are_named(base_url, options):
    """Neither a key nor what signs: the owner is told what to set."""
    with pytest.raises(InvalidRequestError, match="no key here") as caught:
        BEDROCK.build_request(
            CompletionRequest(model=NOVA, messages=HI),
            Credentials(base_url=base_url, options=options),
        )

    assert caught.value.code == "provider_not_configured"


# ---- messages


def test_system_texts_stand_apart():
    """System and developer messages are hoisted, wherever they are."""
    body = sent(
        [
            {"role": "system", "content": "Be brief."},
            *HI,
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        ]
    )

    assert body["system"] == [{"text": "Be brief."}, {"text": "Be kind."}]
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], [("user", [{"text": "."}])]),
        ([{"role": "user", "content": " \n"}], [("user", [{"text": "."}])]),
        (
            [{"role": "assistant", "content": "Yes?"}, *HI],
            [
                ("user", [{"text": "."}]),
                ("assistant", [{"text": "Yes?"}]),
                ("user", [{"text": "Hi"}]),
            ],
        ),
        ([*HI, *HI], [("user", [{"text": "Hi"}, {"text": "Hi"}])]),
        (
            [*HI, {"role": "assistant", "content": "Hello"}],
            [
                ("user", [{"text": "Hi"}]),
                ("assistant", [{"text": "Hello"}]),
                ("user", [{"text": "Continue."}]),
            ],
        ),
        (
            [*HI, {"role": "assistant", "content": None, "refusal": "No."}, *HI],
            [
                ("user", [{"text": "Hi"}]),
                ("assistant", [{"text": "No."}]),
                ("user", [{"text": "Hi"}]),
            ],
        ),
    ],
)
def test_turns_alternate_from_user_to_user(messages, expected):
    """What Converse would refuse is filled in, and blank texts are left out."""
    assert turns(messages) == expected


def test_images_go_as_data():
    """A data URI becomes its format and bytes; the detail is not sent."""
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}
    jpg = {"type": "image_url", "image_url": {"url": "data:image/JPG;base64,/9j/"}}

    assert turns([{"role": "user", "content": [{"type": "text", "text": "See"}, image, jpg]}]) == [
        (
            "user",
            [
                {"text": "See"},
                {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}},
                {"image": {"format": "jpeg", "source": {"bytes": "/9j/"}}},
            ],
        )
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
    ],
)
def test_parts_that_cannot_be_sent_are_refused(part):
    """Leaving them out would answer another question."""
    with pytest.raises(InvalidRequestError) as caught:
        sent([{"role": "user", "content": [part]}])

    assert (caught.value.param, caught.value.code) == ("messages", "unsupported_parameter")


def test_results_of_a_turn_stand_together():
    """All of them in one user message, before what the user says next."""
    history = [
        *HI,
        asked(call(), call("g", "", "call_2"), content="Let me see."),
        result("4C"),
        result([{"type": "text", "text": ""}], "call_2"),
        {"role": "user", "content": "And?"},
    ]

    assert turns(history)[1:] == [
        (
            "assistant",
            [
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {"a": 1}}},
                {"toolUse": {"toolUseId": "call_2", "name": "g", "input": {}}},
            ],
        ),
        (
            "user",
            [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "4C"}]}},
                {"toolResult": {"toolUseId": "call_2", "content": [{"text": "(empty)"}]}},
                {"text": "And?"},
            ],
        ),
    ]


@pytest.mark.parametrize("model", [LLAMA, MISTRAL, "us.writer.palmyra-x5-v1:0"])
def test_results_stand_alone_where_they_must(model):
    """Nothing else is in their message; a filler keeps the roles alternating."""
    roles = [
        (role, [next(iter(block)) for block in blocks])
        for role, blocks in turns([*LOOP, {"role": "user", "content": "And?"}], model)
    ]

    assert roles[2:] == [("user", ["toolResult"]), ("assistant", ["text"]), ("user", ["text"])]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"t":4}', {"t": 4}),
        ("4C", {"result": "4C"}),
        ("[1]", {"result": "[1]"}),
        ("", {"result": ""}),
    ],
)
def test_mistral_gets_its_own_ids_and_objects(content, expected):
    """Nine letters and digits, the same for the call and its result; results are objects."""
    _, (_, answer), (_, results) = turns([*HI, asked(call()), result(content)], MISTRAL)

    use_id = answer[0]["toolUse"]["toolUseId"]
    assert len(use_id) == 9
    assert use_id.isalnum()
    assert results == [{"toolResult": {"toolUseId": use_id, "content": [{"json": expected}]}}]
    kept = turns([*HI, asked(call(call_id="abcDEF123")), result("", "abcDEF123")], MISTRAL)
    assert kept[1][1][0]["toolUse"]["toolUseId"] == "abcDEF123"


def test_ids_that_are_refused_are_replaced():
    """Too long or with other characters: a hash, the same at both places."""
    long = "call:" + "x" * 80
    _, (_, answer), (_, results) = turns([*HI, asked(call(call_id=long)), result("", long)])

    use_id = answer[0]["toolUse"]["toolUseId"]
    assert use_id.startswith("call_")
    assert len(use_id) == 29
    assert results[0]["toolResult"]["toolUseId"] == use_id


@pytest.mark.parametrize("arguments", ["nonsense", "[1]", "null", '"x"'])
def test_arguments_that_are_no_object_are_kept(arguments):
    """A history with broken arguments still works."""
    block = turns([*HI, asked(call(arguments=arguments)), result()])[1][1][0]

    assert block["toolUse"]["input"] == {"_raw": arguments}


# ---- reasoning that goes back

STATE = {
    "reasoning": [
        {"reasoningText": {"text": "Hm.", "signature": "EqQB"}},
        {"redactedContent": "cmVk"},
    ]
}


def test_reasoning_goes_back_first_in_its_turn():
    """Signed and redacted blocks, unread, before the words and the calls."""
    history = [*HI, asked(call(), content="So:", provider_state=STATE), result()]

    assert turns(history)[1][1][:3] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "EqQB"}}},
        {"reasoningContent": {"redactedContent": "cmVk"}},
        {"text": "So:"},
    ]


def test_reasoning_of_an_earlier_turn_stays_here():
    """It is bound to what came before it, which may have been cut off since."""
    history = [*HI, asked(call(), provider_state=STATE), result(), *HI]

    assert "reasoningContent" not in str(turns(history))


@pytest.mark.parametrize("state", [None, {}, {"reasoning": None}, "x", {"reasoning": []}])
def test_missing_reasoning_turns_a_budget_off(state):
    """A turn that was begun without it cannot go on with it; adaptive thinking can."""
    history = [*HI, asked(call(), provider_state=state), result()]

    old = built(history, CLAUDE, tools=[F], reasoning_effort="high")
    new = sent(history, NEW_CLAUDE, tools=[F], reasoning_effort="high")

    assert "additionalModelRequestFields" not in orjson.loads(old.body)
    assert old.dropped_params == ("reasoning_effort",)
    assert new["additionalModelRequestFields"]["thinking"]["type"] == "adaptive"


# ---- tools

AUTO, ANY, NAMED = {"auto": {}}, {"any": {}}, {"tool": {"name": "f"}}
NAME_F = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("model", "choice", "expected"),
    [
        (CLAUDE, None, AUTO),
        (CLAUDE, "auto", AUTO),
        (CLAUDE, "required", ANY),
        (CLAUDE, NAME_F, NAMED),
        (NOVA, "required", ANY),
        (NOVA, NAME_F, NAMED),
        (GLM, "required", ANY),
        (GROK, "required", ANY),
        (GLM, NAME_F, AUTO),
        (LLAMA, "required", AUTO),
        (NEWEST_CLAUDE, "required", AUTO),
        (NEWEST_CLAUDE, NAME_F, AUTO),
        (LLAMA, "none", None),
    ],
)
def test_choice_is_sent_as_far_as_it_is_taken(model, choice, expected):
    """What a family does not take is never sent; it is made up for elsewhere."""
    config = sent(HI, model, tools=[F], tool_choice=choice)["toolConfig"]

    assert config.pop("toolChoice", None) == expected
    assert config == {"tools": [{"toolSpec": SPEC_F}]}


@pytest.mark.parametrize(
    ("choice", "single", "expected"),
    [
        ("none", None, {"type": "none"}),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (NAME_F, False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_claudes_own_choices_go_to_claude(choice, single, expected):
    """What Converse has no word for goes beside it, and never together with Converse's choice."""
    body = sent(HI, CLAUDE, tools=[F], tool_choice=choice, parallel_tool_calls=single)

    assert body["additionalModelRequestFields"] == {"tool_choice": expected}
    assert "toolChoice" not in body["toolConfig"]


def test_single_calls_are_dropped_where_unknown():
    """Others call as often as they like; the caller is told."""
    request = built(HI, NOVA, tools=[F], parallel_tool_calls=False)

    assert request.dropped_params == ("parallel_tool_calls",)


@pytest.mark.parametrize("model", [CLAUDE, NOVA])
def test_calls_in_the_history_need_tools(model):
    """Without any in the request, those that were called stand in; Claude is told not to."""
    body = sent(LOOP, model)

    spec = {"name": "f", "description": "f"}
    spec |= {"inputSchema": {"json": {"type": "object", "properties": {}}}}
    assert body["toolConfig"] == {"tools": [{"toolSpec": spec}]}
    fields = body.get("additionalModelRequestFields")
    assert fields == ({"tool_choice": {"type": "none"}} if model == CLAUDE else None)


@pytest.mark.parametrize(
    "model", ["amazon.titan-text-express-v1", "mistral.mistral-7b-instruct-v0:2"]
)
def test_models_without_tools_read_of_calls_in_words(model):
    """A thread that another model has worked on can go on with one that knows no tools."""
    body = sent([*LOOP, result("")], model)

    assert "toolConfig" not in body
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [{"text": 'f({"a":1})'}]},
        {"role": "user", "content": [{"text": "4C"}, {"text": "(empty)"}]},
    ]


# ---- AWS's own model


@pytest.mark.parametrize(
    "model", [CLAUDE, NEW_CLAUDE, NOVA, NOVA_2, LLAMA, MISTRAL, GPT_OSS, GPT, GLM]
)
def test_requests_pass_aws_own_validation(model):
    """AWS's own client finds nothing wrong with what is built."""
    pytest.importorskip("botocore")
    from botocore.session import Session
    from botocore.validate import ParamValidator

    marked = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    image = {"type": "image_url", "image_url": {"url": PNG}}
    messages = [
        {"role": "system", "content": [marked]},
        {"role": "user", "content": [marked, image]},
        asked(call(), call("g", "", "x" * 90), content="So:", provider_state=STATE),
        result('{"a":1}'),
        result("", "x" * 90),
        {"role": "user", "content": "And?"},
        asked(call(), provider_state=STATE),
        result(),
    ]
    body = sent(
        messages,
        model,
        tools=[F | {"cache_control": {"type": "ephemeral"}}],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=2,
        top_p=1,
        max_tokens=50,
        stop=["a"],
        reasoning_effort="high",
        service_tier="priority",
    )
    shape = Session().get_service_model("bedrock-runtime").operation_model("ConverseStream")

    report = ParamValidator().validate({"modelId": model, **body}, shape.input_shape)

    assert not report.has_errors(), report.generate_report()
    assert body.keys() <= shape.input_shape.members.keys()
