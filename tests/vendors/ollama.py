"""Ollama's own chat and embeddings.

Source: https://docs.ollama.com/api/chat, https://docs.ollama.com/api/embed and the types of ollama
0.6.3, read 2026-11-21. The server ignores what it does not know; this one refuses it, but for schemas.
"""

import base64
import binascii
import re
from typing import Any, Final

from tests.vendors.asked import Asked, Kind, keys, require, require_known
from tests.vendors.typed import loaded, problems

Body = dict[str, Any]
NEWER: Final = {f"$.{name}: unknown field" for name in ("truncate", "shift")}
"""What the server takes although its Python types lack it."""
PASSED_OVER: Final = re.compile(r"\$\.tools\[\d+\]\.function\.parameters\..+: unknown field")
"""The server reads of a function's schema what it knows, and refuses nothing for the rest."""
ROLES: Final = ("system", "user", "assistant", "tool")
THINKING: Final = ("qwen3", "gpt-oss", "deepseek-r1", "deepseek-v3", "magistral")
TOOLLESS: Final = ("gemma2", "llama2", "nomic", "moondream")
SEEING: Final = ("llava", "gemma3", "qwen3-vl", "qwen2.5vl", "llama3.2-vision", "moondream")
LEVELS: Final = (True, False, "low", "medium", "high", "max")


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Ollama would refuse, and for what it would ignore."""
    require(
        asked.method == "POST" and asked.path == "/api/chat", "404 page not found", Kind.NOT_FOUND
    )
    sent = asked.headers.get("authorization")
    require(sent in (None, f"Bearer {key}"), "unauthorized", Kind.AUTH)
    body = asked.body
    require(isinstance(body, dict), "invalid JSON")
    require("no-such-model" not in body.get("model", ""), "", Kind.NOT_FOUND)
    found = problems(body, "ollama._types:ChatRequest")
    require_known([p for p in found if p not in NEWER and not PASSED_OVER.match(p)])
    require("stream" in body, "This fake wants to be told whether to stream: left out, it does.")
    require(body.get("truncate") is False, "This fake cuts no conversation silently.")
    unknown = body.get("options", {}).keys() - loaded("ollama:Options").model_fields.keys()
    require(not unknown, f"invalid option provided: {unknown}")
    require(not {"cache_control", "provider_state", "tool_choice"} & {*keys(body)}, "unknown field")
    model = body["model"]
    require(not (body.get("tools") and model.startswith(TOOLLESS)), "does not support tools")
    if "think" in body:
        require(body["think"] in LEVELS, f"invalid think value: {body['think']}")
        require(model.startswith(THINKING), f'"{model}" does not support thinking')
    require(not (body.get("format") and body.get("tools")), "This fake's grammar binds calls too.")
    _messages(body["messages"], model)


def _messages(messages: list[Body], model: str) -> None:
    waiting: dict[str, str] = {}
    for message in messages:
        require(message.get("role") in ROLES, f"invalid role {message.get('role')}")
        require(isinstance(message.get("content", ""), str), "content: expected a string")
        for image in message.get("images", ()):
            require(_is_base64(image), "illegal base64 data")
            require(model.startswith(SEEING), "this model is missing data required for image input")
        if message["role"] == "tool":
            name = waiting.pop(message.get("tool_call_id", ""), None)
            require(name is not None, "a tool's answer to no call")
            require(message.get("tool_name") == name, "tool_name is not the called one")
            continue
        require(not waiting, f"calls without their results: {sorted(waiting)}")
        for call in message.get("tool_calls", ()):
            require(isinstance(call["function"]["arguments"], dict), "arguments: not an object")
            waiting[call["id"]] = call["function"]["name"]
    require(not waiting, f"calls without their results: {sorted(waiting)}")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def judge_embeddings(asked: Asked, key: str) -> None:
    """Raises Refused for what Ollama would refuse in texts to embed."""
    require(asked.path == "/api/embed", "404 page not found", Kind.NOT_FOUND)
    sent = asked.headers.get("authorization")
    require(sent in (None, f"Bearer {key}"), "unauthorized", Kind.AUTH)
    require_known(problems(asked.body, "ollama._types:EmbedRequest"))
