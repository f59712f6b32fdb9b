"""Replicate: predictions by each model's own inputs, and their streams.

Source: https://replicate.com/docs/reference/http and the public input schemas of the models named
here, read 2026-11-21.
"""

import re
from typing import Any, Final

from tests.vendors.asked import Asked, Kind, require, require_key

Body = dict[str, Any]
CREATE: Final = re.compile(r"/models/([\w.-]+/[\w.-]+)/predictions")
LISTEN: Final = "/listen/"
SAMPLING: Final = {"temperature": (int, float), "top_p": (int, float)}
OPEN: Final = {
    "prompt": (str,),
    "system_prompt": (str,),
    "max_tokens": (int,),
    **SAMPLING,
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
}
INPUTS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "meta/": OPEN
    | {"stop_sequences": (str,), "seed": (int,), "top_k": (int,), "min_tokens": (int,)},
    "deepseek-ai/": OPEN,
    "anthropic/": {
        "prompt": (str,),
        "system_prompt": (str,),
        "max_tokens": (int,),
        "effort": (str,),
        "image": (str,),
    },
    "openai/": {
        "prompt": (str,),
        "system_prompt": (str,),
        "messages": (list,),
        "image_input": (list,),
        "reasoning_effort": (str,),
        "verbosity": (str,),
        "max_completion_tokens": (int,),
    },
    "openai/gpt-4": {
        "prompt": (str,),
        "system_prompt": (str,),
        "messages": (list,),
        "image_input": (list,),
        "max_completion_tokens": (int,),
        "presence_penalty": (int, float),
        "frequency_penalty": (int, float),
        **SAMPLING,
    },
}
FIELDS: Final = frozenset({"input", "version", "webhook", "webhook_events_filter"})


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Replicate would refuse."""
    require_key(asked, "authorization", key)
    if asked.path.startswith(LISTEN):
        accepted = asked.headers.get("accept")
        require(asked.method == "GET" and accepted == "text/event-stream", "Method not allowed.")
        return
    created = CREATE.fullmatch(asked.path)
    require(asked.method == "POST", "Method not allowed.")
    require(created or asked.path == "/predictions", "Not found", Kind.NOT_FOUND)
    body = asked.body
    require(isinstance(body, dict) and isinstance(body.get("input"), dict), "input is required")
    require(
        not body.keys() - FIELDS, f"Additional properties are not allowed: {body.keys() - FIELDS}"
    )
    require(created or body.get("version"), "version is required")
    model = created[1] if created else ""
    require("no-such-model" not in model, "", Kind.NOT_FOUND)
    _inputs(body["input"], model)


def _inputs(given: Body, model: str) -> None:
    best = max((p for p in INPUTS if model.startswith(p)), key=len, default=None)
    known = INPUTS[best] if best is not None else OPEN
    for name, value in given.items():
        require(name in known, f"- input.{name}: Additional property {name} is not allowed")
        fits = isinstance(value, known[name]) and not isinstance(value, bool)
        require(fits, f"- input.{name}: Invalid type. Given: {type(value).__name__}")
    require(given.get("prompt") or given.get("messages"), "- input: prompt is required")
