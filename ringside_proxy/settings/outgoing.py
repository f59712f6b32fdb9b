"""What goes out to others: webhooks, usage to an upstream, and what is fetched for a request."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import AddressRefusedError
from ringside_proxy.domain.outgoing import SubscribedType
from ringside_proxy.domain.webhooks import SECRET_PREFIX, WEBHOOKS_MAX, is_well_formed
from ringside_proxy.settings.field_types import HOUR_S, Address, TimeoutS
from ringside_proxy.settings.problems import Problem, shown
from ringside_proxy.settings.values import Secret

UPSTREAM_RULES: Final = AddressRules(
    "upstream.url", networks=(ip_network("0.0.0.0/0"), ip_network("::/0"))
)
"""Where the upstream may be: the owner of the proxy named it."""

NO_LIBRARY_TAKES_IT: Final = Problem(
    "secret",
    "begins with whsec_, and what follows is not base64 of 24 to 64 bytes",
    "write whsec_$(openssl rand -base64 32), or a secret that begins otherwise",
)


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
        tuple[SubscribedType, ...],
        Meta(description="Which ones; * is all.", examples=[["run.completed", "run.failed"]]),
    ] = ("*",)
    secret: Annotated[
        Secret,
        Meta(
            description="Signs them: whsec_ and 32 random bytes in base64.",
            examples=["${WEBHOOK_SECRET:-whsec_bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU=}"],
        ),
    ]

    def faults(self) -> Iterator[Problem]:
        """A secret that no library takes."""
        return _secret_faults(self.secret)


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
        """Exceptions to the guard that are none; receivers that the guard stops, or that are two."""
        faults = [*address_faults(self.allow_private)]
        yield from faults
        if not faults:
            rules = AddressRules.of("webhooks.allow_private", self.allow_private)
            yield from _endpoint_faults(rules, [endpoint.url for endpoint in self.endpoints])


class UpstreamSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename={"flush_interval_s": "flush_interval"}
):
    """Where usage is reported to."""

    url: Annotated[
        Address | None,
        Meta(description="Receiver of usage records.", examples=["https://example.com/usage"]),
    ] = None
    secret: Annotated[
        Secret | None,
        Meta(
            description="Signs them, as webhooks are signed.",
            examples=["${UPSTREAM_SECRET:-whsec_bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU=}"],
        ),
    ] = None
    flush_interval_s: Annotated[
        TimeoutS, Meta(description="Longest wait before a record is sent.")
    ] = 5.0

    def faults(self) -> Iterator[Problem]:
        """A receiver without a secret, or with one that no library takes; a URL that is not sent to."""
        if self.url is not None and not self.secret:
            yield Problem("secret", "is missing", "write the secret that signs what is reported")
        if self.url is not None:
            yield from _url_faults(UPSTREAM_RULES, self.url, "url", may_be_plain=True)
        yield from _secret_faults(self.secret or "")


def _secret_faults(secret: str) -> Iterator[Problem]:
    if secret.startswith(SECRET_PREFIX) and not is_well_formed(secret):
        yield NO_LIBRARY_TAKES_IT


def _endpoint_faults(rules: AddressRules, urls: Sequence[str]) -> Iterator[Problem]:
    for index, url in enumerate(urls):
        path = f"endpoints[{index}].url"
        if url in urls[:index]:
            yield Problem(path, "is there twice", "join their events")
        yield from _url_faults(rules, url, path)
    if len(urls) > WEBHOOKS_MAX:
        yield Problem("endpoints", f"are {len(urls)}", f"name at most {WEBHOOKS_MAX}")


def _url_faults(
    rules: AddressRules, url: str, path: str, *, may_be_plain: bool = False
) -> Iterator[Problem]:
    try:
        rules.check_url(url, may_be_plain=may_be_plain)
    except AddressRefusedError as error:
        what = f"is refused: {error.message.partition('. ')[0].rstrip('.')}"
        remedy = "use a public https address"
        if rules is not UPSTREAM_RULES:
            remedy += f", or list its host under {rules.setting}"
        yield Problem(path, what, remedy)


def address_faults(allow_private: Iterable[str]) -> Iterator[Problem]:
    """What is wrong in a list of exceptions to the guard of addresses."""
    for index, entry in enumerate(allow_private):
        try:
            AddressRules.of("", [entry])
        except ValueError:
            what = f"{shown(entry)} is neither a network, an address nor a host name"
            remedy = "write 10.0.0.0/8, 127.0.0.1 or hooks.internal"
            yield Problem(f"allow_private[{index}]", what, remedy)
