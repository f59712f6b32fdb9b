"""Google's Gemini API: `streamGenerateContent` and `batchEmbedContents`.

Source: https://ai.google.dev/api/generate-content, its page on thought signatures and the types of
google-genai 3.4.0, which refuse unknown fields themselves, read 2026-11-21.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from pydantic import ValidationError

from tests.vendors.asked import Asked, Kind, keys, require, require_key
from tests.vendors.typed import loaded

Body = dict[str, Any]
CALL: Final = re.compile(r"/models/([^/:]+):(streamGenerateContent|generateContent)")
EMBED: Final = re.compile(r"/models/([^/:]+):batchEmbedContents")
NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
SHAPES: Final = {
    "contents": "google.genai.types:Content",
    "systemInstruction": "google.genai.types:Content",
    "tools": "google.genai.types:Tool",
    "toolConfig": "google.genai.types:ToolConfig",
    "generationConfig": "google.genai.types:GenerationConfig",
    "safetySettings": "google.genai.types:SafetySetting",
}
PLAIN: Final = frozenset({"serviceTier", "cachedContent", "continuationToken"})
TIERS: Final = ("flex", "standard", "priority")
NO_MINIMAL: Final = ("gemini-3.1-pro", "gemini-3.7-flash", "gemini-3.8-flash", "gemini-4")
BUDGETS: Final = {
    "gemini-2.5-pro": (128, 32_768),
    "gemini-2.5-flash": (0, 24_576),
    "gemini-2.5-flash-lite": (0, 24_576),
}
SCHEMA_KEYWORDS: Final = frozenset(
    {"$schema", "$id", "examples", "discriminator", "exclusiveMinimum", "exclusiveMaximum", "const"}
)
STOPS_MAX: Final = 5
EMBEDDINGS_MAX: Final = 100


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Google would refuse."""
    called = CALL.fullmatch(unquote(asked.path))
    require(asked.method == "POST" and called, "The requested URL was not found.", Kind.NOT_FOUND)
    assert called is not None
    require_key(asked, "x-goog-api-key", key)
    streams = called[2] == "streamGenerateContent"
    require(not streams or asked.query == "alt=sse", "This fake streams server-sent events alone.")
    model, body = called[1], asked.body
    require("no-such-model" not in model and "gemini-3-pro" not in model, "", Kind.NOT_FOUND)
    require(isinstance(body, dict) and body.get("contents"), "contents is not specified")
    _shapes(body)
    _turns(body["contents"], model)
    _tools(body, model)
    _config(body, model)


def judge_embeddings(asked: Asked, key: str) -> None:
    """Raises Refused for what Google would refuse in a batch of texts."""
    called = EMBED.fullmatch(unquote(asked.path))
    require(called, "The requested URL was not found.", Kind.NOT_FOUND)
    assert called is not None
    require_key(asked, "x-goog-api-key", key)
    requests = asked.body.get("requests", [])
    require(0 < len(requests) <= EMBEDDINGS_MAX, f"at most 100 requests, not {len(requests)}")
    for one in requests:
        unknown = one.keys() - {"model", "content", "outputDimensionality", "taskType", "title"}
        require(not unknown, f"Unknown name {unknown}: Cannot find field.")
        require(one["model"] == f"models/{called[1]}", "model does not match the one in the URL")
        _valid(one["content"], SHAPES["contents"])


def _shapes(body: Body) -> None:
    for name, value in body.items():
        require(name in SHAPES or name in PLAIN, f'Invalid JSON payload. Unknown name "{name}"')
        if name in SHAPES:
            for item in value if isinstance(value, list) else [value]:
                _valid(item, SHAPES[name])
    require(body.get("serviceTier", "flex") in TIERS, "Invalid value at 'service_tier'")
    require(
        not {"cache_control", "provider_state"} & {*keys(body)}, "Unknown name: Cannot find field."
    )


def _valid(value: Any, kind: str) -> None:
    problem = ""
    try:
        loaded(kind).model_validate(value)
    except ValidationError as error:
        problem = str(error)
    require(not problem, f"Invalid JSON payload received: {problem}")


def _turns(contents: list[Body], model: str) -> None:
    require(
        contents[-1]["role"] != "model", "Please ensure the last content is not from the model."
    )
    owed: list[str] = []
    for content in contents:
        require(content.get("role") in ("user", "model"), "Please use a valid role: user, model.")
        parts = content.get("parts") or []
        require(parts, "contents.parts must not be empty.")
        results = [p["functionResponse"]["name"] for p in parts if "functionResponse" in p]
        require(
            sorted(results) == sorted(owed),
            "Please ensure that the number of function response parts is equal to the number of "
            "function call parts of the function call turn.",
        )
        calls = [part for part in parts if "functionCall" in part]
        owed = [part["functionCall"]["name"] for part in calls]
        _call_ids(parts, model)
        if calls and _generation(model) >= 3:
            has_signature = "thoughtSignature" in calls[0]
            require(has_signature, "Function call is missing a thought_signature in functionCall.")
    require(not owed, "Please ensure that function call turn is followed by function responses.")


def _call_ids(parts: list[Body], model: str) -> None:
    for part in parts:
        told = part.get("functionCall") or part.get("functionResponse") or {}
        require(
            "id" not in told or _generation(model) >= 3, 'Unknown name "id": Cannot find field.'
        )
        is_object = isinstance(told.get("response", {}), dict) and isinstance(
            told.get("args", {}), dict
        )
        require(is_object, "Proto field is not an object.")
        uri = (part.get("fileData") or {}).get("fileUri", "")
        is_address = uri.startswith("http") and _generation(model) < 2.5
        require(not is_address, "Unsupported file URI type.")


def _tools(body: Body, model: str) -> None:
    declared = [f for tool in body.get("tools", ()) for f in tool.get("functionDeclarations", ())]
    for function in declared:
        require(NAME.fullmatch(function["name"]), "Invalid function name.")
        _schema(function.get("parametersJsonSchema"))
    names = {function["name"] for function in declared}
    require(len(names) == len(declared), "Duplicate function declaration found.")
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = {*config.get("allowedFunctionNames", ())}
    mode = config.get("mode", "AUTO")
    require(declared or mode in ("AUTO", "NONE"), "Function calling config without tools.")
    require(allowed <= names, "allowed_function_names: not declared.")
    require(not allowed or mode in ("ANY", "VALIDATED"), "allowed_function_names: only with ANY.")
    wanted = body.get("generationConfig") or {}
    is_pair = declared and "responseMimeType" in wanted and _generation(model) < 3
    require(
        not is_pair,
        "Function calling with a response mime type: 'application/json' is unsupported",
    )


def _config(body: Body, model: str) -> None:
    config = body.get("generationConfig") or {}
    generation = _generation(model)
    penalties = {"presencePenalty", "frequencyPenalty"} & config.keys()
    require(not penalties or generation < 2.5, "Penalty is not enabled for this model")
    require(0 <= config.get("temperature", 1) <= 2, "temperature must be in the range [0.0, 2.0]")
    require(len(config.get("stopSequences", ())) <= STOPS_MAX, "at most 5 stop sequences")
    _schema(config.get("responseJsonSchema"))
    thinking = config.get("thinkingConfig") or {}
    both = {"thinkingLevel", "thinkingBudget"} <= thinking.keys()
    require(not both, "You can only set one of thinking budget and thinking level.")
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    require(level is None or generation >= 3, "Thinking level is not supported for this model.")
    no_minimal = str(level).lower() == "minimal" and model.startswith(NO_MINIMAL)
    require(not no_minimal, "Thinking level MINIMAL is not supported for this model.")
    require(budget is None or generation < 3, "Thinking budget is not supported for this model.")
    if budget is not None:
        best = max((p for p in BUDGETS if model.startswith(p)), key=len, default="")
        least, most = BUDGETS.get(best, (1, 0))
        require(budget == -1 or least <= budget <= most, "The thinking budget is invalid.")


def _schema(schema: Any) -> None:
    refused = SCHEMA_KEYWORDS & {*_keywords(schema)}
    require(not refused, f'Unknown name "{refused}" at a schema: Cannot find field.')


def _keywords(schema: Any) -> list[str]:
    """The keywords of a schema and of those inside; names of properties are none."""
    if isinstance(schema, list):
        return [word for item in schema for word in _keywords(item)]
    if not isinstance(schema, dict):
        return []
    found = [*schema]
    for key, value in schema.items():
        is_named = key in ("properties", "$defs") and isinstance(value, dict)
        found += _keywords([*value.values()] if is_named else value if key != "enum" else None)
    return found


def _generation(model: str) -> float:
    found = re.match(r"gemini-(\d+(?:\.\d+)?)", model)
    return float(found[1]) if found else 3.0
