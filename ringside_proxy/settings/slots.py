"""Models under names of the owner's own, and who answers when one of them cannot."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from ringside_proxy.settings.field_types import TIMEOUT_KEYS, Model, TimeoutS
from ringside_proxy.settings.problems import Problem

RESERVED_PARAMS: Final = ("model", "messages", "stream", "stream_options")

Refusal = Literal[
    "content_policy",
    "context_length_exceeded",
    "invalid_request",
    "model_not_found",
    "response_schema_validation_failed",
    "unsupported_parameter",
]
"""What a model may say no to and another yes. `invalid_request`: any other refusal of a provider."""


class SlotModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One of the models that share a slot's calls."""

    SHORT_FORM: ClassVar = "model"

    model: Annotated[
        Model, Meta(description="The model.", examples=["fc:groq/llama-3.3-70b-versatile"])
    ]
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="Its share of the calls, beside the others' weights.")
    ] = 1


class SlotTimeoutSettings(msgspec.Struct, frozen=True, kw_only=True, rename=TIMEOUT_KEYS):
    """How long each model of a slot is waited for, where that is not as long as its provider."""

    pool_s: Annotated[
        TimeoutS | None, Meta(description="For a free connection.", examples=["5s"])
    ] = None
    connect_s: Annotated[
        TimeoutS | None, Meta(description="For a connection, TLS included.", examples=["2s"])
    ] = None
    first_byte_s: Annotated[
        TimeoutS | None, Meta(description="For the start of a stream.", examples=["10s"])
    ] = None
    between_chunks_s: Annotated[
        TimeoutS | None, Meta(description="Between bytes of a stream.", examples=["30s"])
    ] = None
    total_s: Annotated[
        TimeoutS | None,
        Meta(description="For a whole answer that is no stream.", examples=["60s"]),
    ] = None


class SlotSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A model under a name of its own: `slot:<name>`."""

    SHORT_FORM: ClassVar = "model"

    model: Annotated[
        Model | None, Meta(description="The model to use.", examples=["fc:openai/gpt-4o-mini"])
    ] = None
    models: Annotated[
        tuple[SlotModelSettings, ...],
        Meta(
            description="Models that share the calls by weight; `model` is one of them, of weight 1,"
            " if it is given. The others come next when one fails. Short: `models: [fc:…, fc:…]`."
        ),
    ] = ()
    fallbacks: Annotated[
        tuple[Model, ...],
        Meta(
            description="Models to try in turn when nothing of an answer has come and the provider is"
            " down, overloaded, out of time, out of credit or refuses its key.",
            examples=[["fc:anthropic/claude-sonnet-4-5"]],
        ),
    ] = ()
    fallback_on: Annotated[
        tuple[Refusal, ...],
        Meta(
            description="What to try the next one for as well: content_policy,"
            " context_length_exceeded, model_not_found, unsupported_parameter,"
            " response_schema_validation_failed, invalid_request (any other refusal).",
            examples=[["content_policy", "context_length_exceeded"]],
        ),
    ] = ()
    timeouts: Annotated[
        SlotTimeoutSettings,
        Meta(description="How long each of them is waited for; null: as its provider says."),
    ] = SlotTimeoutSettings()
    params: Annotated[
        dict[str, Any],
        Meta(
            description="Parameters a request gets unless it brings its own.",
            examples=[{"temperature": 0.2}],
        ),
    ] = {}

    @property
    def every_model(self) -> list[str]:
        """Whoever may be asked, in the order in which they are written."""
        first = [] if self.model is None else [self.model]
        return [*first, *(each.model for each in self.models), *self.fallbacks]

    def faults(self) -> Iterator[Problem]:
        """What is wrong between the keys."""
        if self.model is None and not self.models:
            yield Problem(
                "model", "is missing", "write a model: fc:<provider>/<model>, or some under models"
            )
        names = self.every_model
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem("fallbacks", f"{name} is there twice", "remove one")
        if self.fallback_on and len(names) < 2:
            yield Problem(
                "fallback_on", "has nothing to fall back on", "add fallbacks, or remove it"
            )
        for name in self.params:
            if name in RESERVED_PARAMS:
                yield Problem(f"params.{name}", "belongs to the request", "remove it")
