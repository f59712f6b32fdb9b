"""Answers on the wires that are the vendors' own.

Source: the vendors' references and SDK types that `ringside_proxy/providers` names, read 2026-11-21.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.providers.test_bedrock_stream import message
from tests.vendors.speech import Count, Say

Json = dict[str, Any]
CREATED: Final = 1_763_712_000


def _events(events: list[Json], *, are_named: bool = True) -> bytes:
    named = "event: {}\n" if are_named else ""
    return b"".join(
        (named.format(event.get("type")) + f"data: {json.dumps(event)}\n\n").encode()
        for event in events
    )


def anthropic(say: Say, model: str) -> bytes:
    """Messages: blocks one after the other."""
    blocks: list[tuple[Json, list[Json]]] = []
    if say.reasoning:
        deltas = [
            {"type": "thinking_delta", "thinking": say.reasoning},
            {"type": "signature_delta", "signature": "c2lnbmF0dXJl"},
        ]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if say.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in say.pieces]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for call in say.calls:
        start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        parts = ["", call.arguments[:3], call.arguments[3:]]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        blocks.append((start, deltas))
    count = say.count
    usage = {
        "input_tokens": count.read - count.cached - count.kept,
        "cache_creation_input_tokens": count.kept,
        "cache_read_input_tokens": count.cached,
        "output_tokens": 1,
    }
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    begun |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    events: list[Json] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, (start, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}[say.end]
    reason = "tool_use" if say.calls else end
    told: Json = {"output_tokens": count.written}
    if count.reasoned:
        told["output_tokens_details"] = {"thinking_tokens": count.reasoned}
    delta = {"stop_reason": reason, "stop_sequence": None}
    return _events(
        [
            *events,
            {"type": "message_delta", "delta": delta, "usage": told},
            {"type": "message_stop"},
        ]
    )


def google(say: Say, model: str) -> bytes:
    """Gemini: parts, each chunk a whole answer, and the last count that counts."""
    parts: list[Json] = []
    if say.reasoning:
        parts.append({"text": say.reasoning, "thought": True})
    parts += [{"text": piece} for piece in say.pieces]
    for index, call in enumerate(say.calls):
        told: Json = {"name": call.name, "args": json.loads(call.arguments or "{}"), "id": call.id}
        part: Json = {"functionCall": told}
        parts.append(part | ({"thoughtSignature": "c2ln"} if index == 0 else {}))
    count = say.count
    usage: Json = {
        "promptTokenCount": count.read,
        "candidatesTokenCount": count.written - count.reasoned,
        "totalTokenCount": count.read + count.written,
    }
    if count.cached:
        usage["cachedContentTokenCount"] = count.cached
    if count.reasoned:
        usage["thoughtsTokenCount"] = count.reasoned
    end = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}[say.end]
    chunks = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
    chunks.append({"content": {"role": "model", "parts": []}, "finishReason": end, "index": 0})
    meta = {"usageMetadata": usage, "modelVersion": model, "responseId": "r1"}
    return _events([{"candidates": [chunk], **meta} for chunk in chunks], are_named=False)


def cohere(say: Say, model: str) -> bytes:
    """Cohere: words in blocks, calls apart from them."""
    del model
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[Json] = [{"type": "message-start", "id": "c1", "delta": {"message": empty}}]

    def block(index: int, kind: str, pieces: list[str]) -> Iterator[Json]:
        start = {"message": {"content": {"type": kind, kind: ""}}}
        yield {"type": "content-start", "index": index, "delta": start}
        for piece in pieces:
            delta = {"message": {"content": {kind: piece}}}
            yield {"type": "content-delta", "index": index, "delta": delta}
        yield {"type": "content-end", "index": index}

    kinds = [("thinking", [say.reasoning] if say.reasoning else []), ("text", say.pieces)]
    for index, (kind, pieces) in enumerate((k, p) for k, p in kinds if p):
        events += block(index, kind, pieces)
    for index, call in enumerate(say.calls):
        told = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        start = {"message": {"tool_calls": told}}
        events.append({"type": "tool-call-start", "index": index, "delta": start})
        delta = {"message": {"tool_calls": {"function": {"arguments": call.arguments}}}}
        events.append({"type": "tool-call-delta", "index": index, "delta": delta})
        events.append({"type": "tool-call-end", "index": index})
    count = say.count
    usage: Json = {
        "billed_units": {"input_tokens": count.read, "output_tokens": count.written},
        "tokens": {"input_tokens": count.read + 700, "output_tokens": count.written + 9},
        "cached_tokens": count.cached,
    }
    end = {"stop": "COMPLETE", "length": "MAX_TOKENS", "content_filter": "ERROR"}[say.end]
    last = {"finish_reason": "TOOL_CALL" if say.calls else end, "usage": usage}
    return _events([*events, {"type": "message-end", "id": "c1", "delta": last}])


def bedrock(say: Say, model: str) -> bytes:
    """Converse: binary frames, text without a start, usage after the stop."""
    del model
    frames: list[tuple[str, Json]] = [("messageStart", {"role": "assistant", "p": "abcd"})]
    deltas: list[list[Json]] = []
    if say.reasoning:
        thought = [{"text": say.reasoning}, {"signature": "c2ln"}]
        deltas.append([{"reasoningContent": piece} for piece in thought])
    if say.text:
        deltas.append([{"text": piece} for piece in say.pieces])
    for index, pieces in enumerate(deltas):
        frames += [("contentBlockDelta", {"contentBlockIndex": index, "delta": p}) for p in pieces]
        frames.append(("contentBlockStop", {"contentBlockIndex": index}))
    for index, call in enumerate(say.calls, start=len(deltas)):
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        frames.append(("contentBlockStart", {"contentBlockIndex": index, "start": start}))
        for part in (call.arguments[:4], call.arguments[4:]):
            delta = {"contentBlockIndex": index, "delta": {"toolUse": {"input": part}}}
            frames.append(("contentBlockDelta", delta))
        frames.append(("contentBlockStop", {"contentBlockIndex": index}))
    end = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}[
        say.end
    ]
    frames.append(("messageStop", {"stopReason": "tool_use" if say.calls else end}))
    count = say.count
    usage = {
        "inputTokens": count.read - count.cached - count.kept,
        "outputTokens": count.written,
        "totalTokens": count.read + count.written,
        "cacheReadInputTokens": count.cached,
        "cacheWriteInputTokens": count.kept,
    }
    frames.append(("metadata", {"usage": usage, "metrics": {"latencyMs": 700}}))
    return b"".join(message(name, json.dumps(payload).encode()) for name, payload in frames)


def ollama(say: Say, model: str) -> bytes:
    """Ollama: one object a line, each call whole."""
    head = {"model": model, "created_at": "2026-11-21T00:00:00Z"}
    messages: list[Json] = []
    if say.reasoning:
        messages.append({"content": "", "thinking": say.reasoning})
    messages += [{"content": piece} for piece in say.pieces]
    for index, call in enumerate(say.calls):
        function = {
            "index": index,
            "name": call.name,
            "arguments": json.loads(call.arguments or "{}"),
        }
        messages.append({"content": "", "tool_calls": [{"id": call.id, "function": function}]})
    rows = [head | {"message": {"role": "assistant", **m}, "done": False} for m in messages]
    count = say.count
    last: Json = {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length" if say.end == "length" else "stop",
        "total_duration": 900_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": count.read,
        "prompt_eval_duration": 1_000_000,
        "eval_count": count.written,
        "eval_duration": 1_000_000,
    }
    if count.cached:
        last["prompt_eval_cached_count"] = count.cached
    rows.append(head | last)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def replicate(say: Say, model: str) -> bytes:
    """Replicate: raw text, in which calls are lines of their own, and counts at the end."""
    del model
    calls = (f'{{"tool": "{c.name}", "arguments": {c.arguments or "{}"}}}' for c in say.calls)
    said = "\n".join([*([say.text] if say.text else []), *calls])
    lines = [f"data: {line}" for line in said.split("\n")]
    output = "\n".join(["event: output", "id: 1:0", *lines]) + "\n\n"
    counts = {"input_token_count": say.count.read, "output_token_count": say.count.written}
    done = json.dumps({"metrics": counts | {"predict_time": 0.9}})
    return (output + f"event: done\nid: 2:0\ndata: {done}\n\n").encode()


def responses(vendor: str, say: Say, model: str) -> bytes:
    """The Responses dialect: items, and the whole of them at the end."""
    count = say.count
    cached_key = "cache_read_input_tokens" if vendor == "perplexity" else "cached_tokens"
    kept_key = "cache_creation_input_tokens" if vendor == "perplexity" else "cache_write_tokens"
    usage = {
        "input_tokens": count.read,
        "input_tokens_details": {cached_key: count.cached, kept_key: count.kept},
        "output_tokens": count.written,
        "output_tokens_details": {"reasoning_tokens": count.reasoned},
        "total_tokens": count.read + count.written,
    }
    base: Json = {"id": "resp_1", "object": "response", "created_at": CREATED, "model": model}
    if vendor != "perplexity":
        base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None}
        base |= {"incomplete_details": None}
    begun = base | {"status": "in_progress", "output": []}
    events: list[Json] = [{"type": "response.created", "response": begun}]
    if vendor == "perplexity" and say.reasoning:
        events.append({"type": "response.reasoning.started", "thought": say.reasoning})
    output: list[Json] = []
    for index, (item, deltas) in enumerate(_items(vendor, say)):
        events.append(
            {
                "type": "response.output_item.added",
                "output_index": index,
                "item": item | _OPEN.get(item["type"], {}),
            }
        )
        events += [{"output_index": index, "item_id": item["id"], **delta} for delta in deltas]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        output.append(item)
    status = "completed" if say.end == "stop" else "incomplete"
    ended = base | {"status": status, "output": output, "usage": usage}
    if say.end != "stop":
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}[say.end]
        ended |= {"incomplete_details": {"reason": reason}}
    events.append({"type": f"response.{status}", "response": ended})
    numbered = [event | {"sequence_number": i} for i, event in enumerate(events)]
    return _events(numbered, are_named=vendor != "perplexity")


_OPEN: Final[dict[str, Json]] = {
    "message": {"content": [], "status": "in_progress"},
    "function_call": {"arguments": "", "status": "in_progress"},
}
"""How an item looks before it is done."""


def _items(vendor: str, say: Say) -> Iterator[tuple[Json, list[Json]]]:
    if say.reasoning and vendor != "perplexity":
        summary = {"type": "summary_text", "text": say.reasoning}
        item = {"id": "rs_1", "type": "reasoning", "summary": [summary]}
        item |= {"encrypted_content": "gAAA"}
        told = {"type": "response.reasoning_summary_text.delta", "delta": say.reasoning}
        yield item, [told | {"summary_index": 0}]
    if say.text:
        part = {"type": "output_text", "text": say.text, "annotations": []}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        told = {"type": "response.output_text.delta", "content_index": 0}
        told |= {"logprobs": []} if vendor != "perplexity" else {}
        yield item | {"content": [part]}, [told | {"delta": piece} for piece in say.pieces]
    for index, call in enumerate(say.calls):
        item = {"id": f"fc_{index}", "type": "function_call", "status": "completed"}
        item |= {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        told = {"type": "response.function_call_arguments.delta"}
        # Perplexity's calls come whole.
        parts = (call.arguments[:5], call.arguments[5:]) if vendor != "perplexity" else ()
        yield item, [told | {"delta": part} for part in parts]


TELL_KEPT: Final = ("openai", "azure", "openrouter", "anthropic", "bedrock", "xai", "perplexity")
TELL_NO_REASONED: Final = ("cohere", "bedrock", "ollama", "replicate", "together", "fireworks")


def counted(vendor: str, count: Count) -> Count:
    """What of a count a vendor's own wire can tell."""
    return count._replace(
        cached=0 if vendor == "replicate" else count.cached,
        kept=count.kept if vendor in TELL_KEPT else 0,
        reasoned=0 if vendor in TELL_NO_REASONED else count.reasoned,
    )
