"""Embeddings on OpenAI's shape, as far as each vendor has them.

Source: the vendors' references that `ringside_proxy/providers` names, read 2026-11-21.
"""

import re
from typing import Any, Final

from tests.vendors.asked import Asked, Kind, require, require_key, require_known
from tests.vendors.typed import problems

FIELDS: Final = {
    "openai": {"model", "input", "dimensions", "encoding_format"},
    "azure": {"model", "input", "dimensions", "encoding_format"},
    "mistral": {"model", "input", "output_dimension", "output_dtype", "encoding_format"},
    "together": {"model", "input"},
    "fireworks": {"model", "input", "dimensions"},
    "perplexity": {"model", "input", "dimensions", "encoding_format"},
    "sambanova": {"model", "input"},
    "openrouter": {"model", "input", "dimensions", "encoding_format", "provider"},
}
TYPES: Final = {
    "openai": "openai.types:EmbeddingCreateParams",
    "azure": "openai.types:EmbeddingCreateParams",
    "mistral": "mistralai.client.models:EmbeddingRequest",
    "together": "together.types:EmbeddingCreateParams",
    "perplexity": "perplexity.types:EmbeddingCreateParams",
    "sambanova": "sambanova.types:EmbeddingCreateParams",
}
INPUTS_MAX: Final = 2048
FEATURES: Final = re.compile(r"/hf-inference/models/[\w.-]+/[\w.-]+/pipeline/feature-extraction")
FEATURE_FIELDS: Final = {"inputs", "normalize", "prompt_name", "truncate", "truncation_direction"}
FEATURES_MAX: Final = 32


def judge_features(asked: Asked, key: str) -> None:
    """Raises Refused for what a feature-extraction pipeline of HuggingFace's would refuse."""
    has_model = FEATURES.fullmatch(asked.path) and asked.method == "POST"
    require(has_model, "Not Found", Kind.NOT_FOUND)
    require_key(asked, "authorization", key)
    body: Any = asked.body
    require(not body.keys() - FEATURE_FIELDS, "extra fields not permitted")
    texts = body.get("inputs")
    require(isinstance(texts, list) and texts, "inputs: field required")
    require(all(isinstance(text, str) for text in texts), "inputs: str type expected")
    require(len(texts) <= FEATURES_MAX, f"batch size {len(texts)} > maximum allowed batch size 32")


def judge(vendor: str, asked: Asked, key: str) -> None:
    """Raises Refused for what the vendor would refuse in a call for embeddings."""
    has_any = vendor in FIELDS and asked.path == "/embeddings" and asked.method == "POST"
    require(has_any, "Not Found", Kind.NOT_FOUND)
    require_key(asked, "api-key" if vendor == "azure" else "authorization", key)
    body: Any = asked.body
    unknown = body.keys() - FIELDS[vendor]
    require(not unknown, f"Unrecognized request argument supplied: {unknown}")
    require(body.get("model") and body.get("input"), "Missing required parameter: 'input'.")
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    require(len(given) <= INPUTS_MAX, "Too many inputs.")
    if vendor in TYPES:
        require_known(problems(body, TYPES[vendor]))
