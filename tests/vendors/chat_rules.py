# long: one table, a row for each vendor; splitting it would part facts that are read together
"""What the vendors on OpenAI's chat dialect take, row by row, as the fakes hold callers to it.

Nothing here is the adapters' own knowledge: the tables were written again from the vendors'
references and SDK types, read 2026-11-21, so that an adapter's mistake meets a second opinion.
Vendors that ignore what they do not know are as strict here as those that refuse it: an ignored
parameter is a caller's wish lost without a word.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from tests.vendors.asked import mentions, objects, require

Body = dict[str, Any]

SDK: Final = "{}.types.chat.completion_create_params:{}"
STREAMING: Final = "CompletionCreateParamsStreaming"
WHOLE: Final = "CompletionCreateParamsNonStreaming"
COMMON: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "temperature", "top_p", "stop"}
    | {"tools", "tool_choice", "response_format"}
)
PENALTIES: Final = frozenset({"presence_penalty", "frequency_penalty"})
PARALLEL: Final = frozenset({"parallel_tool_calls"})
LOGS: Final = frozenset({"logprobs", "top_logprobs"})
MESSAGE: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
ALL_ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
SAMPLING: Final = (*LOGS, *PENALTIES, "temperature", "top_p", "logit_bias", "stop")


class ChatRules(NamedTuple):
    """One vendor. Types first, then what types cannot say."""

    fields: frozenset[str]
    types: str
    untyped: frozenset[str] = frozenset()
    """Names that the vendor's wire takes although its types lack them."""
    limits: frozenset[str] = frozenset({"max_tokens"})
    message_fields: frozenset[str] = MESSAGE
    developer: tuple[str, ...] = ()
    """Models that know the role."""
    named: frozenset[str] = ALL_ROLES
    stops_max: int = 4
    key_header: str = "authorization"
    takes_strict: bool = True
    formats: tuple[str, ...] = ("text", "json_object", "json_schema")
    format_with_tools: bool = True
    needs_json_word: bool = False
    takes_cache_control: bool = False
    efforts: dict[str, tuple[str, ...]] | None = None
    """By the beginning of a model's name, the words for `reasoning_effort`; no row: refused."""


def _types(package: str, streaming: str = STREAMING) -> str:
    return SDK.format(package, streaming)


LOW: Final = ("low", "medium", "high")
OPENAI_EFFORTS: Final = {
    "o1": LOW,
    "o3": LOW,
    "o4": LOW,
    "gpt-5": ("minimal", *LOW),
    "gpt-5.1": ("none", *LOW),
    "gpt-5.2": ("none", *LOW, "xhigh"),
    "gpt-5.3": ("none", *LOW, "xhigh"),
    "gpt-5.4": ("none", *LOW, "xhigh"),
    "gpt-5.5": ("none", *LOW, "xhigh"),
    "gpt-5.6": ("none", *LOW, "xhigh"),
    "gpt-6-sol": ("none", *LOW, "xhigh"),
    "gpt-6-luna": ("none", *LOW, "xhigh"),
    "gpt-6.1-terra": ("none", *LOW, "xhigh"),
    "gpt-6-astra": (*LOW, "xhigh", "max"),
    "gpt-6.1-sol": (*LOW, "xhigh", "max"),
}
OPENAIS: Final = (
    COMMON | PENALTIES | PARALLEL | LOGS
    | {"audio", "functions", "function_call", "logit_bias", "metadata", "modalities", "n"}
    | {"prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
    | {"reasoning_effort", "safety_identifier", "seed", "service_tier", "store", "verbosity"}
    | {"web_search_options"}
)  # fmt: skip

RULES: Final[dict[str, ChatRules]] = {
    "openai": ChatRules(
        fields=OPENAIS,
        types=_types("openai"),
        limits=frozenset({"max_tokens", "max_completion_tokens"}),
        message_fields=MESSAGE | {"refusal", "audio", "function_call"},
        developer=("",),
        needs_json_word=True,
        efforts=OPENAI_EFFORTS,
    ),
    "azure": ChatRules(
        fields=OPENAIS - {"functions", "function_call", "web_search_options", "audio"},
        types=_types("openai"),
        limits=frozenset({"max_tokens", "max_completion_tokens"}),
        message_fields=MESSAGE | {"refusal"},
        developer=("",),
        key_header="api-key",
        needs_json_word=True,
        efforts=OPENAI_EFFORTS,
    ),
    "mistral": ChatRules(
        fields=COMMON - {"stream_options"} | PENALTIES | PARALLEL
        | {"random_seed", "n", "prediction", "reasoning_effort", "prompt_mode"}
        | {"prompt_cache_key", "service_tier", "safe_prompt", "guardrails"},
        types="mistralai.client.models:ChatCompletionStreamRequest",
        named=frozenset({"tool"}),
        needs_json_word=True,
        efforts={
            "mistral-medium": ("none", "high"),
            "mistral-small": ("none", "high"),
            "mistral-large-4": LOW,
            "zai-glm": ("low", "high", "max"),
        },
    ),
    "groq": ChatRules(
        fields=COMMON | PARALLEL
        | {"seed", "reasoning_effort", "reasoning_format", "include_reasoning", "service_tier"}
        | {"disable_tool_validation"},
        types=_types("groq", "CompletionCreateParams"),
        untyped=frozenset({"stream_options"}),
        limits=frozenset({"max_completion_tokens", "max_tokens"}),
        message_fields=MESSAGE | {"reasoning"},
        developer=("",),
        named=frozenset(),
        format_with_tools=False,
        needs_json_word=True,
        efforts={
            "openai/gpt-oss": LOW,
            "qwen/qwen3-": ("none", "default"),
            "qwen/qwen3.8": ("none", "default", *LOW),
        },
    ),
    "together": ChatRules(
        fields=COMMON | PENALTIES | PARALLEL
        | {"top_k", "min_p", "repetition_penalty", "n", "seed", "logprobs", "logit_bias"}
        | {"reasoning_effort", "reasoning", "chat_template_kwargs", "prompt_cache_key"}
        | {"context_length_exceeded_behavior", "safety_model"},
        types=_types("together"),
        untyped=frozenset({"stream_options", "parallel_tool_calls", "prompt_cache_key"}),
        message_fields=MESSAGE | {"reasoning"},
        takes_strict=False,
        efforts={"openai/gpt-oss": LOW, "deepseek-ai/deepseek-v4": ("high", "max")},
    ),
    "fireworks": ChatRules(
        fields=COMMON | PENALTIES | PARALLEL | LOGS
        | {"top_k", "min_p", "typical_p", "repetition_penalty", "n", "seed", "logit_bias"}
        | {"user", "metadata", "reasoning_effort", "thinking", "reasoning_history"}
        | {"prompt_cache_key", "prompt_cache_isolation_key", "service_tier", "prediction"}
        | {"perf_metrics_in_response", "context_length_exceeded_behavior"},
        types=_types("fireworks"),
        untyped=frozenset({"stream_options"}),
        limits=frozenset({"max_tokens", "max_completion_tokens"}),
        message_fields=MESSAGE - {"name"} | {"reasoning_content"},
        takes_strict=False,
        format_with_tools=False,
        efforts={"": ("none", *LOW)},
    ),
    "deepseek": ChatRules(
        fields=COMMON | LOGS | {"thinking", "reasoning_effort", "user_id"},
        types=_types("openai"),
        untyped=frozenset({"thinking", "reasoning_content", "user_id"}),
        message_fields=MESSAGE | {"reasoning_content"},
        stops_max=16,
        takes_strict=False,
        formats=("text", "json_object"),
        needs_json_word=True,
        efforts={"": ("low", "high", "max")},
    ),
    "cerebras": ChatRules(
        fields=COMMON | PENALTIES | PARALLEL | LOGS
        | {"seed", "n", "logit_bias", "reasoning_effort", "disable_reasoning", "reasoning_format"}
        | {"clear_thinking", "prediction", "prompt_cache_key", "service_tier", "user"},
        types=_types("cerebras.cloud.sdk", "CompletionCreateParams"),
        limits=frozenset({"max_completion_tokens"}),
        message_fields=MESSAGE | {"reasoning"},
        developer=("gpt-oss",),
        efforts={
            "gpt-oss": LOW,
            "qwen": ("none", *LOW),
            "kimi": ("low", "high", "max"),
            "zai-glm": ("low", "high", "max"),
        },
    ),
    "sambanova": ChatRules(
        fields=COMMON | PARALLEL | LOGS
        | {"top_k", "do_sample", "seed", "n", "logit_bias", "repetition_penalty"}
        | {"reasoning_effort", "chat_template_kwargs"},
        types=_types("sambanova"),
        limits=frozenset({"max_tokens", "max_completion_tokens"}),
        takes_strict=False,
        efforts={"gpt-oss": LOW},
    ),
    "openrouter": ChatRules(
        fields=COMMON | PENALTIES | PARALLEL | LOGS
        | {"provider", "models", "plugins", "transforms", "session_id", "reasoning"}
        | {"top_k", "min_p", "top_a", "repetition_penalty", "seed", "logit_bias", "verbosity"}
        | {"service_tier", "user", "metadata"},
        types="openrouter.components:ChatRequest",
        untyped=frozenset({"verbosity"}),
        message_fields=MESSAGE | {"reasoning", "reasoning_details"},
        developer=("openai/", "anthropic/"),
        takes_cache_control=True,
    ),
    "huggingface": ChatRules(
        fields=COMMON | PENALTIES | LOGS | {"seed", "reasoning_effort", "tool_prompt"},
        types=_types("openai"),
        takes_strict=False,
        efforts={"": LOW},
    ),
}  # fmt: skip


# What only one of them refuses


def openai_models(body: Body) -> None:
    """Reasoning models take no sampling; from 5.2 on, tools only without reasoning."""
    model = body["model"]
    efforts = efforts_of(OPENAI_EFFORTS, model)
    require(
        not (efforts and "max_tokens" in body), f"Unsupported parameter: 'max_tokens' at {model}."
    )
    if efforts is None:
        return
    default = "none" if model.startswith(("gpt-5.1", "gpt-5.2", "gpt-5.3", "gpt-5.4")) else "medium"
    reasons = body.get("reasoning_effort", default) != "none"
    refused = [name for name in SAMPLING if name in body and body[name] not in (1, 0, False, {})]
    require(not (reasons and refused), f"Unsupported parameter: {refused} with this model.")
    newer = model.startswith(("gpt-5.2", "gpt-5.3", "gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6"))
    require(
        not (newer and reasons and body.get("tools")),
        f"Function tools with reasoning_effort are not supported for {model} in "
        "/v1/chat/completions. To use function tools, use /v1/responses.",
    )


def openai_strict_schema(body: Body) -> None:
    """Strict mode: everything required, nothing more allowed, no combinators but anyOf."""
    wanted = body.get("response_format") or {}
    strict = [
        f["function"]["parameters"] for f in body.get("tools", ()) if f["function"].get("strict")
    ]
    named = wanted.get("json_schema") or {}
    schemas = [*strict, *([named.get("schema")] if named.get("strict") else [])]
    for schema in schemas:
        for part in objects(schema):
            place = f"Invalid schema for '{named.get('name')}': In context=()"
            require(part.get("additionalProperties") is False, f"{place}, additionalProperties")
            require(
                {*part.get("properties", {})} <= {*part.get("required", ())}, f"{place}, required"
            )


def mistral(body: Body) -> None:
    """Its order of roles, its ids of nine, its words for a choice."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    for before, after in pairwise(roles):
        require(
            (before, after) != ("tool", "user"),
            "Unexpected role 'user' after role 'tool' (3230 invalid_request_message_order)",
        )
    require(roles[-1] in ("user", "tool"), f"Expected last role User or Tool but got {roles[-1]}")
    for message in messages:
        calls = message.get("tool_calls") or []
        ids = [*(call["id"] for call in calls), message.get("tool_call_id")]
        require(
            all(len(i) == 9 and i.isalnum() and i.isascii() for i in ids if i is not None),
            "Tool call id was invalid: must be a-z, A-Z, 0-9, with a length of 9. (3280)",
        )
        is_empty = message["role"] == "assistant" and not (message.get("content") or calls)
        require(not is_empty, "Assistant message must have either content or tool_calls.")
        has_null = "content" in message and message["content"] is None
        require(not (calls and has_null), "Input should be a valid string")
    schemas = [*(t["function"].get("parameters") for t in body.get("tools", ()))]
    schemas.append((body.get("response_format") or {}).get("json_schema"))
    require(not {"$id", "$schema"} & {*_keys(schemas)}, "$id and $schema are not taken")


def groq(body: Body) -> None:
    """Knobs that belong to some models, and to no two of them together."""
    model = body["model"]
    is_oss, is_qwen = model.startswith("openai/gpt-oss"), model.startswith("qwen/qwen3")
    require("reasoning_format" not in body or is_qwen, "reasoning_format is not supported")
    require(
        "include_reasoning" not in body or is_oss or is_qwen, "include_reasoning is not supported"
    )
    require(
        not {"reasoning_format", "include_reasoning"} <= body.keys(),
        "reasoning_format and include_reasoning exclude each other",
    )
    kind = (body.get("response_format") or {}).get("type")
    require(
        kind != "json_schema" or is_oss,
        "This model does not support response format `json_schema`.",
    )
    is_raw = is_qwen and body.get("reasoning_format") == "raw"
    require(not (is_raw and ("tools" in body or kind)), "raw reasoning with tools or JSON mode")
    for message in body["messages"]:
        null = message["role"] == "assistant" and None in message.values()
        require(not null, "messages: null is not allowed in an assistant message")
        is_list = isinstance(message.get("content"), list)
        require(not is_list or message["role"] == "user", "content must be a string")


def together(body: Body) -> None:
    """Lists where OpenAI also takes one word."""
    require(not isinstance(body.get("stop"), str), "stop: expected a list")
    require(body.get("reasoning_effort") not in ("none", "auto"), "reasoning_effort: no such level")


def fireworks(body: Body) -> None:
    """Full names of models, a schema that also stands in the prompt, and one knob for thinking."""
    require(body["model"].startswith("accounts/"), f"Model not found: {body['model']}")
    require(not {"reasoning_effort", "thinking"} <= body.keys(), "reasoning_effort and thinking")
    require(
        body.get("context_length_exceeded_behavior") == "error",
        "This fake cuts no prompt silently, which is the default there.",
    )
    kind = (body.get("response_format") or {}).get("type")
    told = mentions(body["messages"], "json") if kind in ("json_object", "json_schema") else True
    require(told, "Without JSON in the prompt the model writes blanks until its limit.")
    is_minimax = "minimax" in body["model"]
    require(not (is_minimax and body.get("reasoning_effort") == "none"), "none is not supported")


def deepseek(body: Body) -> None:
    """What thinking rules out, and what it wants back."""
    model = body["model"]
    require(model not in ("deepseek-chat", "deepseek-reasoner"), f"Model Not Exist: {model}")
    thinks = (body.get("thinking") or {}).get("type") != "disabled"
    forced = body.get("tool_choice") not in (None, "auto", "none")
    require(not (thinks and forced), "Thinking mode does not support this tool_choice")
    ignored = {"temperature", "top_p"} & body.keys() if thinks else ()
    require(not ignored, f"{ignored} has no effect in thinking mode")
    has_loop = thinks and any(m["role"] == "tool" for m in body["messages"])
    for message in body["messages"] if has_loop else ():
        require(
            message["role"] != "assistant" or "reasoning_content" in message,
            "The reasoning_content in the thinking mode must be passed back to the API.",
        )
    for message in body["messages"]:
        is_text = isinstance(message.get("content"), str | None)
        require(is_text or model.startswith("deepseek-flash"), "content: expected a string")


def cerebras(body: Body) -> None:
    """Closed schemas, and a limit, without which its limiter reserves the most."""
    require("max_completion_tokens" in body, "Tokens per minute limit exceeded: no limit was set.")
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    for part in objects(schema):
        require(
            part.get("additionalProperties") is False,
            "'additionalProperties' is required to be supplied and set to false",
        )


def sambanova(body: Body) -> None:
    """Images in data URIs alone; one system message, first."""
    roles = [message["role"] for message in body["messages"]]
    require("system" not in roles[1:], "System message must be at the beginning.")
    for message in body["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        require(not parts or any(p["type"] == "image_url" for p in parts), "content: not a string")
        for part in parts:
            url = (part.get("image_url") or {}).get("url", "data:")
            require(url.startswith("data:"), "Only base64 images are supported.")


def openrouter(body: Body) -> None:
    """A route that heeds the parameters has to be asked for, or they are dropped."""
    if body["model"].startswith("openai/"):
        openai_strict_schema(body)
    matters = {"tools", "response_format"} & body.keys()
    is_sure = (body.get("provider") or {}).get("require_parameters") is True
    require(not matters or is_sure, f"This fake drops no parameter silently: {matters}")
    choice = body.get("tool_choice")
    require(choice is None or isinstance(choice, str), "No endpoint supports this tool_choice.")


EXTRA: Final = {
    "openai": (openai_models, openai_strict_schema),
    "azure": (openai_models, openai_strict_schema),
    "mistral": (mistral,),
    "groq": (groq,),
    "together": (together,),
    "fireworks": (fireworks,),
    "deepseek": (deepseek,),
    "cerebras": (cerebras,),
    "sambanova": (sambanova,),
    "openrouter": (openrouter,),
}


def efforts_of(table: Mapping[str, tuple[str, ...]], model: str) -> tuple[str, ...] | None:
    """The words of the row whose beginning fits the model best."""
    best = max((p for p in table if model.lower().startswith(p)), key=len, default=None)
    return None if best is None else table[best]


def _keys(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [*value] if isinstance(value, dict) else []
    return [*found, *(key for item in inner for key in _keys(item))]
