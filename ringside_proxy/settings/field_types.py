"""Kinds of values that several sections share, with their bounds."""

from typing import Annotated, Final

from msgspec import Meta

from ringside_proxy.domain.callers import CUSTOMER_ID
from ringside_proxy.domain.money import NANO_PER_USD

KIB: Final = 1 << 10
MIB: Final = 1 << 20
MINUTE_S: Final = 60
HOUR_S: Final = 3600

PROVIDERS: Final = (
    "openai",
    "anthropic",
    "google",
    "mistral",
    "cohere",
    "groq",
    "together",
    "fireworks",
    "perplexity",
    "deepseek",
    "xai",
    "cerebras",
    "sambanova",
    "openrouter",
    "ollama",
    "azure",
    "bedrock",
    "huggingface",
    "replicate",
    "sandbox",
)

Host = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9.:_-]+$", extra={"expects": "a host name or address"})
]
Port = Annotated[int, Meta(ge=0, le=65535)]
Address = Annotated[
    str, Meta(pattern=r"^https?://[^\s/]+(/\S*)?$", extra={"expects": "an http(s) address"})
]
Origin = Annotated[
    str,
    Meta(pattern=r"^(\*|https?://[^\s/,]+)$", extra={"expects": "https://app.example.com, or *"}),
]
CustomerID = Annotated[
    str,
    Meta(
        pattern=f"^{CUSTOMER_ID.pattern}$",
        examples=["customer_42"],
        extra={"expects": "a customer id: up to 256 letters, digits and _ . : @ -"},
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        examples=["fast"],
        extra={"expects": "up to 64 letters, digits and _ . -"},
    ),
]
Model = Annotated[str, Meta(extra={"providers": PROVIDERS})]
PositiveInt = Annotated[int, Meta(ge=1, le=10**9)]
NanoUSD = Annotated[int, Meta(ge=0, le=10**9 * NANO_PER_USD, extra={"unit": "usd"})]
PriceNanoUSD = Annotated[int, Meta(ge=0, le=10**4 * NANO_PER_USD, extra={"unit": "usd"})]
"""Per million tokens."""

TIMEOUT_KEYS: Final = {
    "pool_s": "pool",
    "connect_s": "connect",
    "first_byte_s": "first_byte",
    "between_chunks_s": "between_chunks",
    "total_s": "total",
}
"""What the file calls the times that a provider is waited for."""
TimeoutS = Annotated[float, Meta(ge=0.001, le=HOUR_S, extra={"unit": "duration"})]
