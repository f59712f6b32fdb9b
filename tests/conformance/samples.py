"""Objects as the real service sent them, written by hand from its recordings."""

import json
from typing import Any

Json = dict[str, Any]

NOW = 1761861531
LATER = NOW + 4
EXPIRY = NOW + 600

ASSISTANT_ID = "asst_nGl00s4xa9zmVY6Fvuvz9wwQ"
THREAD_ID = "thread_Qbqs4hQ1RpJCJuv4nBZEQy8H"
RUN_ID = "run_tRTvYbiHjEkIl9EDYNlX4gg6"
STEP_ID = "step_b163e6fe3bcb4c1da5a1a1d9"
TOOL_STEP_ID = "step_00aa6e0e83cb4b0d8c0d2d7e"
MESSAGE_ID = "msg_sLMfjZ1ZxC3pHnmBMwyRyMqd"
USER_MESSAGE_ID = "msg_0a1b2c3d4e5f6a7b8c9d0e1f"
CALL_ID = "call_VTvYbiHjEkIl9EDYNlX4gg6a"
SECOND_CALL_ID = "call_9f1kL2hZpMZ0Yh1cQm8xWv3T"

WEATHER_TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "The weather at a place",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    },
}
USAGE: Json = {
    "prompt_tokens": 260,
    "completion_tokens": 12,
    "total_tokens": 272,
    "prompt_token_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
NO_USAGE: Json = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_token_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
SERVER_ERROR: Json = {"code": "server_error", "message": "Sorry, something went wrong."}
TEXT = ["Since", " it's", " sunny", ", go out."]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def error_body(**fields: Any) -> Json:
    error = {
        "message": f"No thread found with id '{THREAD_ID}'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return {"error": error | fields}


def assistant(**fields: Any) -> Json:
    return {
        "id": ASSISTANT_ID,
        "object": "assistant",
        "created_at": NOW,
        "name": None,
        "description": None,
        "model": "fc:openai/gpt-4o",
        "instructions": None,
        "tools": [WEATHER_TOOL],
        "top_p": 1.0,
        "temperature": 1.0,
        "reasoning_effort": None,
        "tool_resources": {},
        "metadata": {},
        "response_format": "auto",
    } | fields


def thread(**fields: Any) -> Json:
    return {
        "id": THREAD_ID,
        "object": "thread",
        "created_at": NOW,
        "metadata": {},
        "tool_resources": {},
    } | fields


def message(**fields: Any) -> Json:
    """The assistant's message while it is written."""
    return {
        "id": MESSAGE_ID,
        "object": "thread.message",
        "created_at": NOW + 1,
        "assistant_id": ASSISTANT_ID,
        "thread_id": THREAD_ID,
        "run_id": RUN_ID,
        "status": "in_progress",
        "incomplete_details": None,
        "incomplete_at": None,
        "completed_at": None,
        "role": "assistant",
        "content": [],
        "attachments": [],
        "metadata": {},
    } | fields


def text_part(value: str) -> Json:
    return {"type": "text", "text": {"value": value, "annotations": []}}


def user_message() -> Json:
    return message(
        id=USER_MESSAGE_ID,
        created_at=NOW,
        assistant_id=None,
        run_id=None,
        status="completed",
        completed_at=NOW,
        role="user",
        content=[text_part("What shall I do today?")],
        metadata={"source": "web"},
    )


def written_message() -> Json:
    return message(status="completed", completed_at=LATER, content=[text_part("".join(TEXT))])


def cut_message(reason: str) -> Json:
    return message(
        status="incomplete",
        incomplete_details={"reason": reason},
        incomplete_at=LATER,
        content=[text_part("".join(TEXT))],
    )


def run(status: str, **fields: Any) -> Json:
    """A run as it is in `status`; what else belongs to it is in `RUN_IN`."""
    return {
        "id": RUN_ID,
        "object": "thread.run",
        "created_at": NOW,
        "assistant_id": ASSISTANT_ID,
        "thread_id": THREAD_ID,
        "status": status,
        "started_at": NOW,
        "expires_at": EXPIRY,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": None,
        "required_action": None,
        "last_error": None,
        "model": "fc:openai/gpt-4o",
        "instructions": None,
        "tools": [WEATHER_TOOL],
        "tool_resources": {},
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "reasoning_effort": None,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "usage": None,
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        **RUN_IN[status],
        **fields,
    }


def call(call_id: str, arguments: str) -> Json:
    function = {"name": "get_current_weather", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


CALLS = [call(CALL_ID, '{"location":"Rome"}'), call(SECOND_CALL_ID, '{"location":"Oslo"}')]

RUN_IN: dict[str, Json] = {
    "queued": {"started_at": None},
    "in_progress": {},
    "requires_action": {
        "required_action": {
            "type": "submit_tool_outputs",
            "submit_tool_outputs": {"tool_calls": CALLS},
        }
    },
    "cancelling": {},
    "completed": {"expires_at": None, "completed_at": LATER, "usage": USAGE},
    "incomplete": {
        "expires_at": None,
        "completed_at": LATER,
        "incomplete_details": {"reason": "max_completion_tokens"},
        "usage": USAGE,
    },
    "failed": {
        "expires_at": None,
        "failed_at": LATER,
        "last_error": SERVER_ERROR,
        "usage": NO_USAGE,
    },
    "cancelled": {"expires_at": None, "cancelled_at": LATER, "usage": USAGE},
    "expired": {"expires_at": None, "usage": USAGE},
}


def message_step(status: str = "in_progress", **fields: Any) -> Json:
    return _step(STEP_ID, status) | {
        "type": "message_creation",
        "step_details": {
            "type": "message_creation",
            "message_creation": {"message_id": MESSAGE_ID},
        },
        **fields,
    }


def tool_step(status: str = "in_progress", **fields: Any) -> Json:
    return _step(TOOL_STEP_ID, status) | fields


def answered_calls(*outputs: str | None) -> Json:
    calls = [
        {**made, "function": {**made["function"], "output": output}}
        for made, output in zip(CALLS, outputs, strict=True)
    ]
    return {"type": "tool_calls", "tool_calls": calls}


def _step(step_id: str, status: str) -> Json:
    return {
        "id": step_id,
        "object": "thread.run.step",
        "created_at": NOW + 1,
        "run_id": RUN_ID,
        "assistant_id": ASSISTANT_ID,
        "thread_id": THREAD_ID,
        "type": "tool_calls",
        "status": status,
        "cancelled_at": None,
        "completed_at": None,
        "expires_at": EXPIRY,
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "step_details": {"type": "tool_calls", "tool_calls": []},
        "usage": None,
        "metadata": {},
        **STEP_IN[status],
    }


STEP_IN: dict[str, Json] = {
    "in_progress": {},
    "completed": {"completed_at": LATER, "usage": USAGE},
    "failed": {"failed_at": LATER, "last_error": SERVER_ERROR, "usage": NO_USAGE},
    "cancelled": {"cancelled_at": LATER, "usage": USAGE},
    "expired": {"expired_at": LATER, "usage": USAGE},
}


def page(*items: Json) -> Json:
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": False,
    }


def chat_completion() -> Json:
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": CALLS,
        "refusal": None,
    }
    return {
        "id": "chatcmpl-9xY2",
        "object": "chat.completion",
        "created": NOW,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


def embeddings(*vectors: Any) -> Json:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}


def models(*ids: str) -> Json:
    data = [{"id": name, "object": "model", "created": NOW, "owned_by": "openai"} for name in ids]
    return {"object": "list", "data": data}
