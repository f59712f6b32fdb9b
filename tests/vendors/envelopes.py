"""How each vendor says no: the status, headers and body of its refusals, by their kind.

Source: the vendors' error pages and SDK types that `ringside_proxy/providers` names, read 2026-11-21.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tests.vendors.asked import Kind, Refused

RETRY_AFTER_S: Final = 7
"""What each vendor that tells how long to wait is made to tell."""


class Reply(NamedTuple):
    """An answer that is no stream."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"


class Words(NamedTuple):
    """A kind of refusal: what stands for it, where the refusal itself says nothing else."""

    status: int
    message: str
    type: str = ""
    code: str | None = None
    headers: Mapping[str, str] = {}


Body = Callable[[Words, str | None], Any]
SECONDS: Final = {"retry-after": str(RETRY_AFTER_S)}
INVALID: Final = "invalid_request_error"

OPENAIS: Final = {
    Kind.AUTH: Words(401, "Incorrect API key provided.", INVALID, "invalid_api_key"),
    Kind.PERMISSION: Words(403, "You have insufficient permissions for this operation.", INVALID),
    Kind.NOT_FOUND: Words(404, "The model does not exist.", INVALID, "model_not_found"),
    Kind.BAD_REQUEST: Words(400, "Invalid request.", INVALID),
    Kind.CONTEXT: Words(
        400,
        "This model's maximum context length is 8192 tokens.",
        INVALID,
        "context_length_exceeded",
    ),
    Kind.POLICY: Words(
        400, "Rejected by our safety system.", "image_error", "content_policy_violation"
    ),
    Kind.RATE_LIMIT: Words(
        429, "Rate limit reached.", "requests", "rate_limit_exceeded", headers=SECONDS
    ),
    Kind.QUOTA: Words(
        429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"
    ),
    Kind.OVERLOADED: Words(503, "The engine is overloaded.", "server_error", "overloaded"),
    Kind.TIMEOUT: Words(504, "Gateway timeout.", "server_error"),
}

CREDIT: Final = Words(402, "Insufficient balance.", "billing", "402")
OWN: Final[dict[str, dict[Kind, Words]]] = {
    "azure": {
        Kind.AUTH: Words(401, "Access denied due to invalid subscription key.", "", "401"),
        Kind.PERMISSION: Words(403, "Public access is disabled.", "", "PermissionDenied"),
        Kind.NOT_FOUND: Words(404, "The API deployment does not exist.", "", "DeploymentNotFound"),
        Kind.POLICY: Words(400, "The prompt was filtered.", "", "content_filter"),
        Kind.RATE_LIMIT: Words(
            429, "Retry after 7 seconds.", "", "RateLimitReached", {"retry-after-ms": "7000"}
        ),
        Kind.OVERLOADED: Words(503, "No capacity.", "", "NoCapacity"),
    },
    "mistral": {
        Kind.AUTH: Words(401, "Unauthorized", "authentication_error", "1401"),
        Kind.BAD_REQUEST: Words(422, "Invalid request", "invalid_request_error", "3051"),
        Kind.CONTEXT: Words(400, "Prompt is too long: too large for model", INVALID, "3051"),
        Kind.RATE_LIMIT: Words(429, "Requests rate limit exceeded", "", "1300", SECONDS),
        Kind.QUOTA: Words(402, "Insufficient credits", "payment_required", "1402"),
    },
    "groq": {
        Kind.CONTEXT: Words(
            413, "Please reduce the length of the messages.", INVALID, "context_length_exceeded"
        ),
        Kind.OVERLOADED: Words(503, "Service Unavailable", "internal_server_error"),
    },
    "together": {
        Kind.CONTEXT: Words(403, "prompt + max_tokens exceeds the model's context length"),
        Kind.QUOTA: Words(402, "Credit limit exceeded", "credit_limit"),
    },
    "fireworks": {
        Kind.CONTEXT: Words(400, "The prompt is too long: 9000, model maximum context length", ""),
        Kind.QUOTA: Words(402, "Spending limit reached", "payment_required"),
    },
    "perplexity": {
        Kind.AUTH: Words(401, "Invalid API key provided.", "invalid_api_key"),
        Kind.CONTEXT: Words(400, "input exceeds the model's context window", "invalid_request"),
        Kind.QUOTA: Words(402, "insufficient credits", "insufficient_credits"),
        Kind.RATE_LIMIT: Words(429, "Too many.", "request_rate_limit_exceeded", None, SECONDS),
    },
    "deepseek": {Kind.QUOTA: CREDIT, Kind.RATE_LIMIT: Words(429, "Too many requests.", "requests")},
    "xai": {
        Kind.AUTH: Words(401, "Invalid API key.", "", "unauthenticated:bad-credentials"),
        Kind.CONTEXT: Words(400, "This model's maximum context length is 256000.", "", "invalid"),
    },
    "cerebras": {
        Kind.QUOTA: Words(402, "Payment required: out of credits", "payment_required_error"),
        Kind.RATE_LIMIT: Words(
            429,
            "Tokens per minute limit exceeded",
            "too_many_tokens_error",
            "token_quota_exceeded",
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7"},
        ),
    },
    "openrouter": {
        Kind.QUOTA: Words(402, "Insufficient credits.", "", "402"),
        Kind.POLICY: Words(403, "Flagged by content policy.", "", "403"),
        Kind.OVERLOADED: Words(529, "Provider overloaded.", "", "529"),
    },
    "huggingface": {
        Kind.NOT_FOUND: Words(
            400, "The requested model is not supported by any provider.", "", "model_not_supported"
        ),
        Kind.QUOTA: Words(402, "You have depleted your monthly credits: out of credits.", ""),
    },
    "anthropic": {
        Kind.AUTH: Words(401, "invalid x-api-key", "authentication_error"),
        Kind.PERMISSION: Words(403, "Your API key may not use this.", "permission_error"),
        Kind.NOT_FOUND: Words(404, "model: claude-none", "not_found_error"),
        Kind.CONTEXT: Words(400, "prompt is too long: 210000 tokens > 200000", INVALID),
        Kind.POLICY: Words(400, "Output blocked by content filtering policy", INVALID),
        Kind.RATE_LIMIT: Words(429, "Rate limited.", "rate_limit_error", None, SECONDS),
        Kind.QUOTA: Words(402, "Your credit balance is too low.", "billing_error"),
        Kind.OVERLOADED: Words(529, "Overloaded", "overloaded_error"),
        Kind.TIMEOUT: Words(504, "Timed out.", "timeout_error"),
    },
    "google": {
        Kind.AUTH: Words(
            400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"
        ),
        Kind.PERMISSION: Words(403, "The caller does not have permission", "PERMISSION_DENIED"),
        Kind.NOT_FOUND: Words(404, "models/gemini-none is not found.", "NOT_FOUND"),
        Kind.BAD_REQUEST: Words(400, "Invalid value.", "INVALID_ARGUMENT"),
        Kind.CONTEXT: Words(
            400, "The input token count exceeds the maximum number of tokens", "INVALID_ARGUMENT"
        ),
        Kind.POLICY: Words(400, "Blocked by content policy.", "INVALID_ARGUMENT"),
        Kind.RATE_LIMIT: Words(429, "Quota exceeded for this minute.", "RESOURCE_EXHAUSTED"),
        Kind.QUOTA: Words(429, "Quota exceeded for this day.", "RESOURCE_EXHAUSTED"),
        Kind.OVERLOADED: Words(503, "The model is overloaded.", "UNAVAILABLE"),
        Kind.TIMEOUT: Words(504, "Deadline exceeded.", "DEADLINE_EXCEEDED"),
    },
    "cohere": {
        Kind.AUTH: Words(401, "invalid api token"),
        Kind.NOT_FOUND: Words(404, "model 'none' not found"),
        Kind.CONTEXT: Words(400, "too many tokens: total number of tokens exceeds the limit"),
        Kind.RATE_LIMIT: Words(429, "You are using a Trial key, limited to 20 calls a minute."),
        Kind.QUOTA: Words(402, "Please add or update your payment method: insufficient funds"),
        Kind.POLICY: Words(422, "blocked by our content policy"),
    },
    "bedrock": {
        Kind.AUTH: Words(403, "The security token is invalid.", "UnrecognizedClientException"),
        Kind.PERMISSION: Words(403, "You don't have access to the model.", "AccessDeniedException"),
        Kind.NOT_FOUND: Words(
            400, "The provided model identifier is invalid.", "ValidationException"
        ),
        Kind.BAD_REQUEST: Words(400, "Malformed input.", "ValidationException"),
        Kind.CONTEXT: Words(400, "Input is too long for requested model.", "ValidationException"),
        Kind.POLICY: Words(400, "Blocked by the content policy.", "ValidationException"),
        Kind.RATE_LIMIT: Words(429, "Too many requests.", "ThrottlingException"),
        Kind.QUOTA: Words(
            400, "Your request exceeds the service quota.", "ServiceQuotaExceededException"
        ),
        Kind.OVERLOADED: Words(503, "Try again.", "ServiceUnavailableException"),
        Kind.TIMEOUT: Words(408, "Model has timed out.", "ModelTimeoutException"),
    },
    "replicate": {
        Kind.AUTH: Words(401, "You did not pass a valid authentication token.", "Unauthenticated"),
        Kind.PERMISSION: Words(403, "You do not have permission.", "Forbidden"),
        Kind.NOT_FOUND: Words(404, "The requested model could not be found.", "Not found"),
        Kind.BAD_REQUEST: Words(422, "input is not valid.", "Input validation failed"),
        Kind.CONTEXT: Words(422, "The prompt is too long.", "Input validation failed"),
        Kind.POLICY: Words(422, "Flagged by the content policy.", "Input validation failed"),
        Kind.RATE_LIMIT: Words(
            429, "Request was throttled. Your rate limit resets in ~7s.", "Throttled"
        ),
        Kind.QUOTA: Words(402, "You have insufficient credit.", "Insufficient credit"),
        Kind.OVERLOADED: Words(503, "Service unavailable.", "Unavailable"),
        Kind.TIMEOUT: Words(504, "Timeout.", "Timeout"),
    },
    "ollama": {
        Kind.AUTH: Words(401, "unauthorized"),
        Kind.PERMISSION: Words(403, "forbidden"),
        Kind.NOT_FOUND: Words(404, "model 'none' not found"),
        Kind.BAD_REQUEST: Words(400, "invalid request"),
        Kind.CONTEXT: Words(400, "the input length exceeds the context length"),
        Kind.RATE_LIMIT: Words(429, "too many requests"),
        Kind.QUOTA: Words(402, "insufficient credits"),
        Kind.OVERLOADED: Words(503, "server busy, please try again."),
        Kind.TIMEOUT: Words(504, "timeout"),
    },
}
"""What differs from OpenAI's words."""


def _openai(words: Words, param: str | None) -> Any:
    error = {"message": words.message, "type": words.type, "param": param, "code": words.code}
    return {"error": error}


def _azure(words: Words, param: str | None) -> Any:
    error = _openai(words, param)["error"] | {"type": None, "status": words.status}
    if words.code == "content_filter":
        error["innererror"] = {"code": "ResponsibleAIPolicyViolation"}
    return {"error": error}


def _mistral(words: Words, param: str | None) -> Any:
    if words.status == 422:
        problem = {"type": "extra_forbidden", "loc": ["body", param or ""], "msg": words.message}
        return {"detail": [problem]}
    own = {"object": "error", "message": words.message, "type": words.type, "param": param}
    return own | {"code": words.code, "raw_status_code": words.status}


def _cerebras(words: Words, param: str | None) -> Any:
    return _openai(words, param)["error"]


def _fireworks(words: Words, param: str | None) -> Any:
    code = words.code or words.type or "invalid_request_error"
    return {
        "error": {"object": "error", "type": words.type, "code": code, "message": words.message}
    }


def _numbered(words: Words, param: str | None) -> Any:
    error = {"message": words.message, "type": words.type, "code": words.status, "param": param}
    return {"error": error}


def _google(words: Words, param: str | None) -> Any:
    details: list[Any] = []
    if words.status == 429:
        unit = "Day" if "day" in words.message else "Minute"
        quota = {"quotaId": f"GenerateRequestsPer{unit}PerProject"}
        details = [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"},
        ]
    if "API key" in words.message:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        details = [{"@type": kind, "reason": "API_KEY_INVALID"}]
    error = {"code": words.status, "message": words.message, "status": words.type}
    return {"error": error | {"details": details}}


BODIES: Final[dict[str, Body]] = {
    "azure": _azure,
    "mistral": _mistral,
    "cerebras": _cerebras,
    "fireworks": _fireworks,
    "perplexity": _numbered,
    "xai": lambda words, _: {"code": words.code or words.type, "error": words.message},
    "openrouter": lambda words, _: {
        "error": {"code": words.status, "message": words.message, "metadata": {}},
        "user_id": "user_1",
    },
    "sambanova": lambda words, param: _openai(words, param) | {"request_id": "1"},
    "huggingface": lambda words, param: (
        _openai(words, param) if words.code else {"error": words.message}
    ),
    "anthropic": lambda words, _: {
        "type": "error",
        "error": {"type": words.type, "message": words.message},
        "request_id": "req_1",
    },
    "google": _google,
    "cohere": lambda words, _: {"id": "1", "message": words.message},
    "bedrock": lambda words, _: {"message": words.message},
    "replicate": lambda words, _: {
        "title": words.type,
        "detail": words.message,
        "status": words.status,
    },
    "ollama": lambda words, _: {"error": words.message},
}


def says_no(vendor: str, refused: Refused) -> Reply:
    """The vendor's answer to a call that it refuses."""
    words = OWN.get(vendor, {}).get(refused.kind) or OPENAIS[refused.kind]
    words = words._replace(message=refused.message or words.message)
    body = BODIES.get(vendor, _openai)(words, refused.param)
    headers = dict(words.headers)
    if vendor == "bedrock":
        headers["x-amzn-errortype"] = f"{words.type}:http://internal.amazon.com/coral/"
    return Reply(words.status, json.dumps(body).encode(), headers)


def tells_wait(vendor: str) -> bool:
    """Whether the vendor tells a caller that came too often how long to wait."""
    words = OWN.get(vendor, {}).get(Kind.RATE_LIMIT) or OPENAIS[Kind.RATE_LIMIT]
    return bool(words.headers) or vendor in ("google", "replicate")
