"""Answers on OpenAI's chat wire, with what each vendor makes different.

Source: the vendors' references and SDK types that `ringside_proxy/providers` names, read 2026-11-21.
"""

import json
from typing import Any, Final, Literal, NamedTuple

from tests.vendors.speech import Call, Count, Say

Json = dict[str, Any]
CREATED: Final = 1_763_712_000
DONE: Final = b"data: [DONE]\n\n"


class Flavour(NamedTuple):
    """How one vendor's chunks differ."""

    reasoning: Literal["reasoning_content", "reasoning", "details", "parts", "tags"] | None = (
        "reasoning"
    )
    whole_calls: bool = False
    cached_at: tuple[str, ...] = ("prompt_tokens_details", "cached_tokens")
    tells_reasoned: bool = True
    tells_kept: bool = False
    usage_on_last: bool = False
    """With the last words instead of after them."""
    noise: bytes = b""
    is_additive: bool = False
    repeats_role: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    """Stands in every chunk."""


PREFILTER: Final = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
FINGERPRINT: Final = (("system_fingerprint", "fp_1"),)
FLAVOURS: Final = {
    "openai": Flavour(None, tells_kept=True, extra=(("obfuscation", "x"),)),
    "azure": Flavour(None, tells_kept=True),
    "mistral": Flavour("parts", whole_calls=True, cached_at=("num_cached_tokens",), usage_on_last=True),
    "groq": Flavour(whole_calls=True),
    "together": Flavour(whole_calls=True, repeats_role=True, cached_at=("cached_tokens",), tells_reasoned=False),
    "fireworks": Flavour("reasoning_content", tells_reasoned=False),
    "deepseek": Flavour(
        "reasoning_content", cached_at=("prompt_cache_hit_tokens",), noise=b": keep-alive\n\n"
    ),
    "cerebras": Flavour(whole_calls=True, extra=FINGERPRINT),
    "sambanova": Flavour("tags", extra=FINGERPRINT),
    "openrouter": Flavour("details", tells_kept=True, noise=b": OPENROUTER PROCESSING\n\n"),
    "huggingface": Flavour("reasoning_content", whole_calls=True),
}  # fmt: skip


def stream(vendor: str, say: Say, model: str) -> bytes:
    """The answer as server-sent events."""
    flavour = FLAVOURS[vendor]
    deltas = [{"role": "assistant", "content": ""}, *_reasoning(say.reasoning, flavour)]
    deltas += [{"content": piece} for piece in _words(say, flavour)]
    calls = say.calls
    if vendor == "openai":  # which never leaves them out
        calls = tuple(call._replace(arguments=call.arguments or "{}") for call in calls)
    deltas += [{"tool_calls": [piece]} for piece in _calls(calls, flavour)]
    chunks = [_chunk(vendor, model, delta) for delta in deltas]
    if vendor == "azure":
        chunks.insert(
            0, {**_chunk(vendor, "", None), "id": "", "object": "", "created": 0, **PREFILTER}
        )
    last = _chunk(vendor, model, {}, _finish(say))
    usage = usage_of(vendor, say.count)
    if flavour.usage_on_last:
        chunks.append(last | {"usage": usage})
    else:
        chunks += [last, _chunk(vendor, model, None) | {"usage": usage}]
    if vendor == "groq":
        chunks[-2]["x_groq"] = {"id": "req_1", "usage": usage}
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return flavour.noise.join([b"", *frames]) + DONE


def whole(vendor: str, say: Say, model: str) -> bytes:
    """The answer as one JSON object."""
    message: Json = {"role": "assistant", "content": say.text or None, "refusal": None}
    if say.calls:
        message["tool_calls"] = [
            _call(call._replace(arguments=call.arguments or "{}")) for call in say.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(say)}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": model}
    answer |= {"choices": [choice], "usage": usage_of(vendor, say.count)}
    return json.dumps(answer).encode()


def usage_of(vendor: str, count: Count) -> Json:
    """The vendor's `usage`."""
    flavour = FLAVOURS[vendor]
    usage: Json = {
        "prompt_tokens": count.read,
        "completion_tokens": count.written,
        "total_tokens": count.read + count.written,
    }
    if count.cached:
        *inside, key = flavour.cached_at
        place = usage.setdefault(inside[0], {}) if inside else usage
        place[key] = count.cached
        if key == "prompt_cache_hit_tokens":
            usage["prompt_cache_miss_tokens"] = count.read - count.cached
    if count.kept and flavour.tells_kept:
        usage.setdefault("prompt_tokens_details", {})["cache_write_tokens"] = count.kept
    if count.reasoned and flavour.tells_reasoned:
        usage["completion_tokens_details"] = {"reasoning_tokens": count.reasoned}
    return usage


def _chunk(vendor: str, model: str, delta: Json | None, finish: str | None = None) -> Json:
    flavour = FLAVOURS[vendor]
    if delta is not None and flavour.repeats_role:
        delta = {"role": "assistant", **delta}
    chunk: Json = {
        **dict(flavour.extra),
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": [],
    }
    if delta is not None:
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return chunk


def _finish(say: Say) -> str:
    return "tool_calls" if say.calls else say.end


def _words(say: Say, flavour: Flavour) -> list[Any]:
    if flavour.reasoning == "tags" and say.reasoning:
        return [f"<think>\n{say.reasoning}\n</think>\n\n{say.text[:1]}", say.text[1:]]
    return [*say.pieces]


def _reasoning(text: str, flavour: Flavour) -> list[Json]:
    if not text:
        return []
    match flavour.reasoning:
        case "tags" | None:
            return []
        case "parts":
            part = {
                "type": "thinking",
                "thinking": [{"type": "text", "text": text}],
                "closed": True,
            }
            return [{"content": [part]}]
        case "details":
            detail = {"type": "reasoning.text", "text": text, "signature": "c2ln", "index": 0}
            return [{"reasoning": text, "reasoning_details": [detail | {"format": "unknown"}]}]
        case field:
            return [{field: text[:4]}, {field: text[4:]}]


def _call(call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _calls(calls: tuple[Call, ...], flavour: Flavour) -> list[Json]:
    pieces: list[Json] = []
    for index, call in enumerate(calls):
        told = {"index": index, **_call(call)}
        if flavour.whole_calls:
            pieces.append(told)
            continue
        middle = len(call.arguments) // 2
        pieces.append(told | {"function": {"name": call.name, "arguments": ""}})
        pieces += [
            {"index": index, "function": {"arguments": part}}
            for part in (call.arguments[:middle], call.arguments[middle:])
        ]
    return pieces
