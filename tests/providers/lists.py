"""What providers answer when they are asked for their models, after their documentation.

Each answer with the models that are to be read out of it.
"""

from typing import Any, Final

from ringside_proxy.providers.listings import ListedModel

CHAT: Final = ("streaming",)
CALLS: Final = ("tools", "streaming")
ALL: Final = ("tools", "json_schema", "reasoning", "vision", "streaming")
EMBEDDINGS: Final = ("embeddings",)


def openai_row(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_789_000_000, "owned_by": "x"} | more


def listed(name: str, **facts: Any) -> ListedModel:
    return ListedModel(id=name, **facts)


def dated(name: str, **facts: Any) -> ListedModel:
    return listed(name, created=1_789_000_000, **facts)


OPENAI: Final = {
    "object": "list",
    "data": [
        openai_row("gpt-77"),
        openai_row("text-embedding-9", owned_by="system"),
        openai_row("whisper-2"),
        openai_row("gpt-77-realtime"),
        openai_row("gpt-image-9"),
        openai_row("ft:gpt-4.1-2025-04-14:acme::abc"),
    ],
}
OPENAI_MODELS: Final = [
    dated("gpt-77"),
    dated("text-embedding-9", supports=EMBEDDINGS),
    dated("ft:gpt-4.1-2025-04-14:acme::abc"),
]

ANTHROPIC: Final = {
    "data": [
        {
            "type": "model",
            "id": "claude-nova-9",
            "display_name": "Claude Nova 9",
            "created_at": "2026-09-09T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 1_000_000,
            "max_tokens": 128_000,
            "capabilities": {
                "structured_outputs": {"supported": True},
                "image_input": {"supported": True},
                "thinking": {"supported": True, "types": {}},
            },
        },
        {"type": "model", "id": "claude-1", "lifecycle": "retired"},
        {
            "type": "model",
            "id": "claude-plain",
            "created_at": "2026-09-09T00:00:00Z",
            "lifecycle": "deprecated",
            "max_input_tokens": None,
            "max_tokens": None,
            "capabilities": None,
        },
    ],
    "has_more": False,
    "first_id": "claude-nova-9",
    "last_id": "claude-plain",
}
ANTHROPIC_MODELS: Final = [
    listed(
        "claude-nova-9",
        created=1_788_912_000,
        context_window=1_000_000,
        max_output_tokens=128_000,
        supports=ALL,
    ),
    listed("claude-plain", created=1_788_912_000),
]

GOOGLE: Final = {
    "models": [
        {
            "name": "models/gemini-9-flash",
            "version": "9",
            "displayName": "Gemini 9 Flash",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "thinking": True,
        },
        {
            "name": "models/gemini-embedding-9",
            "inputTokenLimit": 2048,
            "outputTokenLimit": 1,
            "supportedGenerationMethods": ["embedContent"],
        },
        {"name": "models/veo-9", "supportedGenerationMethods": ["predictLongRunning"]},
        {"name": "models/gemini-9-flash-tts", "supportedGenerationMethods": ["generateContent"]},
    ]
}
GOOGLE_MODELS: Final = [
    listed("gemini-9-flash", context_window=1_048_576, max_output_tokens=65_536, supports=ALL),
    listed("gemini-embedding-9", context_window=2048, supports=EMBEDDINGS),
]

COHERE: Final = {
    "models": [
        {
            "name": "command-z-01-2027",
            "is_deprecated": False,
            "endpoints": ["chat"],
            "finetuned": False,
            "context_length": 256_000.0,
            "tokenizer_url": "https://x",
            "features": ["json_mode", "json_schema", "tools", "vision", "reasoning"],
        },
        {"name": "embed-v9.0", "endpoints": ["embed"], "context_length": 128_000, "features": None},
        {"name": "rerank-v9", "endpoints": ["rerank"]},
        {"name": "command-old", "is_deprecated": True, "endpoints": ["chat"]},
    ],
    "next_page_token": "",
}
COHERE_MODELS: Final = [
    listed("command-z-01-2027", context_window=256_000, supports=ALL),
    listed("embed-v9.0", context_window=128_000, supports=EMBEDDINGS),
]

MISTRAL: Final = {
    "object": "list",
    "data": [
        {
            "id": "mistral-huge-9",
            "object": "model",
            "created": 1_795_262_400,
            "owned_by": "mistralai",
            "capabilities": {
                "completion_chat": True,
                "function_calling": True,
                "reasoning": False,
                "vision": True,
            },
            "max_context_length": 262_144,
            "aliases": ["mistral-huge-latest"],
            "type": "base",
        },
        {"id": "mistral-embed-9", "capabilities": {"completion_chat": False}, "type": "base"},
        {"id": "mistral-ocr-9", "capabilities": {"ocr": True}, "type": "base"},
    ],
}
MISTRAL_MODELS: Final = [
    listed(
        "mistral-huge-9",
        context_window=262_144,
        supports=("tools", "json_schema", "vision", "streaming"),
    ),
    listed("mistral-embed-9", supports=EMBEDDINGS),
]

GROQ: Final = {
    "object": "list",
    "data": [
        openai_row(
            "openai/gpt-oss-999b",
            active=True,
            context_window=131_072,
            max_completion_tokens=65_536,
            public_apps=None,
        ),
        openai_row("old/model", active=False, context_window=8192),
        openai_row("whisper-large-v9", active=True, context_window=448),
    ],
}
GROQ_MODELS: Final = [
    dated("openai/gpt-oss-999b", context_window=131_072, max_output_tokens=65_536)
]

TOGETHER: Final = [
    {
        "id": "Acme/Chat-9",
        "object": "model",
        "created": 1_789_000_000,
        "type": "chat",
        "context_length": 262_144,
        "pricing": {"input": 0.5, "output": 1.5, "base": 0, "finetune": 0, "hourly": 0},
    },
    {"id": "Acme/Embed-9", "type": "embedding", "context_length": 512},
    {"id": "Acme/Draw-9", "type": "image"},
]
TOGETHER_MODELS: Final = [
    dated("Acme/Chat-9", context_window=262_144),
    listed("Acme/Embed-9", context_window=512, supports=EMBEDDINGS),
]

FIREWORKS: Final = {
    "object": "list",
    "data": [
        openai_row("accounts/fireworks/models/acme-9", supports_chat=True, context_length=262_144),
        openai_row("accounts/acme/models/own", supports_chat=True),
        openai_row("accounts/fireworks/models/acme-embed-9", supports_chat=False),
        openai_row("accounts/fireworks/models/acme-paint", supports_chat=False),
    ],
}
FIREWORKS_MODELS: Final = [
    dated("acme-9", context_window=262_144),
    dated("accounts/acme/models/own"),
    dated("acme-embed-9", supports=EMBEDDINGS),
]

SAMBANOVA: Final = {
    "object": "list",
    "data": [
        {
            "id": "Acme-70B",
            "object": "model",
            "owned_by": "no-reply@sambanova.ai",
            "context_length": 131_072,
            "max_completion_tokens": 16_384,
            "pricing": {"prompt": "0.0000006", "completion": "0.0000012"},
            "sn_metadata": {},
        },
        openai_row("Whisper-Large-v9"),
    ],
}
SAMBANOVA_MODELS: Final = [listed("Acme-70B", context_window=131_072, max_output_tokens=16_384)]

OPENROUTER: Final = {
    "data": [
        {
            "id": "acme/model-9",
            "created": 1_789_000_000,
            "context_length": 200_000,
            "architecture": {
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "tokenizer": "Other",
            },
            "pricing": {"prompt": "0", "completion": "0"},
            "top_provider": {"is_moderated": False, "max_completion_tokens": 64_000},
            "supported_parameters": ["tools", "tool_choice", "structured_outputs", "reasoning"],
        },
        {
            "id": "acme/small",
            "context_length": 8192,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "top_provider": {"max_completion_tokens": None},
            "supported_parameters": ["temperature"],
        },
        {"id": "acme/paint", "architecture": {"output_modalities": ["image"]}},
        {"id": "acme/embed", "architecture": {"output_modalities": ["embeddings"]}},
    ],
    "links": {"next": None},
    "total_count": 4,
}
OPENROUTER_MODELS: Final = [
    dated("acme/model-9", context_window=200_000, max_output_tokens=64_000, supports=ALL),
    listed("acme/small", context_window=8192, supports=CHAT),
    listed("acme/embed", supports=EMBEDDINGS),
]

HUGGINGFACE: Final = {
    "object": "list",
    "data": [
        {
            "id": "acme/model-9",
            "object": "model",
            "created": 1_789_000_000,
            "owned_by": "acme",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "providers": [
                {
                    "provider": "groq",
                    "status": "live",
                    "context_length": 131_072,
                    "pricing": {"input": 0.1, "output": 0.5},
                    "supports_tools": True,
                    "supports_structured_output": False,
                },
                {"provider": "novita", "status": "live", "supports_structured_output": True},
                {"provider": "nscale", "status": "error"},
            ],
        }
    ],
}
HUGGINGFACE_MODELS: Final = [
    dated("acme/model-9", context_window=131_072, supports=("tools", "json_schema", "streaming")),
    dated("acme/model-9:groq", context_window=131_072, supports=CALLS),
    dated("acme/model-9:novita", supports=("json_schema", "streaming")),
]

OLLAMA: Final = {
    "models": [
        {
            "name": "qwen9:8b",
            "model": "qwen9:8b",
            "modified_at": "2026-09-09T00:00:00.123456789Z",
            "size": 5_200_000_000,
            "digest": "abc",
            "details": {"family": "qwen9", "parameter_size": "8B", "quantization_level": "Q4"},
            "capabilities": ["completion", "tools", "thinking"],
        },
        {"name": "old:latest", "model": "old:latest", "modified_at": "2025-01-01T00:00:00+02:00"},
        {"name": "nomic-embed-text:latest", "model": "nomic-embed-text:latest"},
    ]
}
OLLAMA_MODELS: Final = [
    listed(
        "qwen9:8b",
        created=1_788_912_000,
        supports=("tools", "json_schema", "reasoning", "streaming"),
    ),
    listed("old:latest", created=1_735_689_600 - 7200),
    listed("nomic-embed-text:latest", supports=EMBEDDINGS),
]

ANSWERS: Final[dict[str, tuple[Any, list[ListedModel]]]] = {
    "openai": (OPENAI, OPENAI_MODELS),
    "perplexity": (OPENAI, OPENAI_MODELS),
    "deepseek": (OPENAI, OPENAI_MODELS),
    "xai": (OPENAI, OPENAI_MODELS),
    "cerebras": (OPENAI, OPENAI_MODELS),
    "anthropic": (ANTHROPIC, ANTHROPIC_MODELS),
    "google": (GOOGLE, GOOGLE_MODELS),
    "cohere": (COHERE, COHERE_MODELS),
    "mistral": (MISTRAL, MISTRAL_MODELS),
    "groq": (GROQ, GROQ_MODELS),
    "together": (TOGETHER, TOGETHER_MODELS),
    "fireworks": (FIREWORKS, FIREWORKS_MODELS),
    "sambanova": (SAMBANOVA, SAMBANOVA_MODELS),
    "openrouter": (OPENROUTER, OPENROUTER_MODELS),
    "huggingface": (HUGGINGFACE, HUGGINGFACE_MODELS),
    "ollama": (OLLAMA, OLLAMA_MODELS),
}
