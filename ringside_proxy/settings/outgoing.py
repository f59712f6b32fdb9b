"""What goes out to others: webhooks, usage to an upstream, and what is fetched for a request."""

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.settings.field_types import HOUR_S, Address, TimeoutS
from ringside_proxy.settings.problems import Problem, shown
from ringside_proxy.settings.values import Secret

EventType = Literal[
    "*",
    "run.completed",
    "run.failed",
    "run.requires_action",
    "run.cancelled",
    "run.incomplete",
    "customer.created",
    "customer.budget_warning",
    "customer.budget_exceeded",
    "wallet.low",
    "wallet.exhausted",
]


class ImageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Images by address, which are fetched for models that take the bytes alone."""

    allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts and networks that callers' images may come from although they are private.",
            examples=[["images.internal", "10.0.0.0/8"]],
        ),
    ] = ()

    def faults(self) -> Iterator[Problem]:
        """Exceptions to the guard that are none."""
        return address_faults(self.allow_private)


class WebhookEndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of events."""

    url: Annotated[
        Address, Meta(description="Where events go.", examples=["https://example.com/hooks"])
    ]
    events: Annotated[
        tuple[EventType, ...],
        Meta(description="Which ones; * is all.", examples=[["run.completed", "run.failed"]]),
    ] = ("*",)
    secret: Annotated[
        Secret, Meta(description="Signs them.", examples=["${WEBHOOK_SECRET:-whsec_example}"])
    ]


class WebhookSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"rotation_overlap_s": "rotation_overlap"},
):
    """Who is told what happens. A list stands for its `endpoints`."""

    SHORT_FORM: ClassVar = "endpoints"

    endpoints: Annotated[
        tuple[WebhookEndpointSettings, ...], Meta(description="Receivers of events.")
    ] = ()
    allow_private: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts and networks that receivers may have although they are private.",
            examples=[["127.0.0.1", "10.0.0.0/8"]],
        ),
    ] = ()
    rotation_overlap_s: Annotated[
        float,
        Meta(
            ge=0,
            le=7 * 24 * HOUR_S,
            description="How long an old secret signs beside its successor.",
            extra={"unit": "duration"},
        ),
    ] = 24.0 * HOUR_S

    def faults(self) -> Iterator[Problem]:
        """Exceptions to the guard that are none."""
        return address_faults(self.allow_private)


class UpstreamSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename={"flush_interval_s": "flush_interval"}
):
    """Where usage is reported to."""

    url: Annotated[
        Address | None,
        Meta(description="Receiver of usage records.", examples=["https://example.com/usage"]),
    ] = None
    secret: Annotated[
        Secret | None, Meta(description="Signs them.", examples=["${UPSTREAM_SECRET:-}"])
    ] = None
    flush_interval_s: Annotated[
        TimeoutS, Meta(description="Longest wait before a record is sent.")
    ] = 5.0


def address_faults(allow_private: Iterable[str]) -> Iterator[Problem]:
    """What is wrong in a list of exceptions to the guard of addresses."""
    for index, entry in enumerate(allow_private):
        try:
            AddressRules.of("", [entry])
        except ValueError:
            what = f"{shown(entry)} is neither a network, an address nor a host name"
            remedy = "write 10.0.0.0/8, 127.0.0.1 or hooks.internal"
            yield Problem(f"allow_private[{index}]", what, remedy)
