"""Every key of the configuration: its place, type, bounds, default and one line of explanation.

The editors' schema and the reference file are derived from here (`reference.py`). Attributes end
in the unit they are held in; `rename` gives the key of the file where that differs. A section may
have `faults`: what is wrong between its keys, found once each of them is right by itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ringside_proxy.settings.field_types import (
    HOUR_S,
    KIB,
    MIB,
    MINUTE_S,
    PROVIDERS,
    TIMEOUT_KEYS,
    Address,
    CustomerID,
    Host,
    Model,
    Name,
    Origin,
    Port,
    PositiveInt,
    TimeoutS,
)
from ringside_proxy.settings.money import (
    BudgetSettings,
    RateLimitSettings,
    WalletSettings,
)
from ringside_proxy.settings.outgoing import ImageSettings, UpstreamSettings, WebhookSettings
from ringside_proxy.settings.prices import PriceSettings
from ringside_proxy.settings.problems import Problem
from ringside_proxy.settings.slots import SlotSettings
from ringside_proxy.settings.tls import TLSSettings
from ringside_proxy.settings.values import Secret, TokenHash

LOCAL_TOKEN: Final = "ko_localhost"  # noqa: S105 - well known on purpose; for loopback only
SQLITE_SCHEME: Final = "sqlite:///"


class ServerSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"max_body_bytes": "max_body", "drain_s": "drain"},
):
    """Where and how the API is served."""

    host: Annotated[
        Host, Meta(description="Address of the API. Beyond loopback it needs auth.tokens.")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the API; 0 takes a free one.")] = 8080
    max_body_bytes: Annotated[
        int, Meta(ge=KIB, le=256 * MIB, description="Largest request.", extra={"unit": "size"})
    ] = 32 * MIB
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=10 * MINUTE_S,
            description="How long requests may go on after SIGTERM.",
            extra={"unit": "duration"},
        ),
    ] = 20.0
    tls: Annotated[
        TLSSettings,
        Meta(
            description="HTTPS for the API; /metrics and its like stay plain. Renewed files are"
            " followed without a restart."
        ),
    ] = TLSSettings()
    cors: Annotated[
        tuple[Origin, ...],
        Meta(
            description="Web pages that may call the API from a browser, by their origin; * is all.",
            examples=[["https://app.example.com"]],
        ),
    ] = ()

    def url(self, host: str | None = None) -> str:
        """Where the API is; at `host`, where that is another name for the listener."""
        host, scheme = host or self.host, "http" if self.tls.cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


class AdminSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where /healthz, /readyz and /metrics are served."""

    host: Annotated[
        Host, Meta(description="Address of the health listener; 0.0.0.0 in a container.")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Its port; 0 takes a free one.")] = 9090


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where state lives."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^sqlite:///[^?#]+$",
            description="The database: sqlite:///relative/path or sqlite:////absolute/path.",
            extra={"expects": "sqlite:///relative/path or sqlite:////absolute/path"},
        ),
    ] = "sqlite:///data/ringside.db"
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description="full survives a power cut; normal is faster and may lose the last writes."
        ),
    ] = "full"

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix(SQLITE_SCHEME))


class TokenSettings(msgspec.Struct, frozen=True, kw_only=True, rename={"hash_of_token": "token"}):
    """A token that opens the API. The token itself is not kept, only its hash."""

    name: Annotated[Name, Meta(description="What the token is called in logs.", examples=["app"])]
    hash_of_token: Annotated[
        TokenHash | None,
        Meta(
            description="The token; only its SHA-256 is kept.",
            examples=["${RINGSIDE_TOKEN:-ko_localhost}"],
        ),
    ] = None
    token_sha256: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^[0-9a-f]{64}$", extra={"expects": "64 hex digits in lower case"}),
        ]
        | None,
        Meta(
            description="Or its SHA-256, so that the file holds no secret.",
            examples=[str(TokenHash.of(LOCAL_TOKEN))],
        ),
    ] = None
    role: Annotated[
        Literal["developer", "client"],
        Meta(description="developer may do everything; client acts for one customer."),
    ] = "developer"
    customer: Annotated[
        CustomerID | None,
        Meta(description="Whom a client token acts for.", examples=["customer_42"]),
    ] = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the token, as hex."""
        return self.hash_of_token or self.token_sha256 or ""

    def faults(self) -> Iterator[Problem]:
        """What is wrong between the keys."""
        if self.hash_of_token and self.token_sha256:
            yield Problem("token", "is given beside token_sha256", "keep one of them")
        if not self.sha256:
            yield Problem("token", "is missing", "write token or token_sha256")
        if self.role == "client" and self.customer is None:
            yield Problem("customer", "is missing", "name the customer of the client token")
        if self.role != "client" and self.customer is not None:
            yield Problem("customer", "belongs to client tokens", "write role: client")


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use the API."""

    required: Annotated[
        bool, Meta(description="false lets everyone in; allowed on loopback only.")
    ] = True
    tokens: Annotated[
        tuple[TokenSettings, ...],
        Meta(description="Tokens beside those made with `ringside token new`."),
    ] = ()


class TimeoutSettings(msgspec.Struct, frozen=True, kw_only=True, rename=TIMEOUT_KEYS):
    """How long a provider is waited for."""

    pool_s: Annotated[TimeoutS, Meta(description="For a free connection.")] = 5.0
    connect_s: Annotated[TimeoutS, Meta(description="For a connection, TLS included.")] = 10.0
    first_byte_s: Annotated[TimeoutS, Meta(description="For the start of a stream.")] = 60.0
    between_chunks_s: Annotated[TimeoutS, Meta(description="Between bytes of a stream.")] = 60.0
    total_s: Annotated[TimeoutS, Meta(description="For a whole answer that is no stream.")] = 300.0


class DeploymentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind an Azure deployment."""

    base_model: Annotated[
        str, Meta(description="OpenAI's name of its model.", examples=["gpt-4.1"])
    ]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider is reached."""

    api_key: Annotated[
        Secret | None,
        Meta(
            description="Its key. Empty: the provider is off.",
            examples=["${AZURE_OPENAI_API_KEY:-}"],
        ),
    ] = None
    base_url: Annotated[
        Address | None,
        Meta(
            description="Replaces the provider's own base URL: a gateway, a test server.",
            examples=["http://127.0.0.1:9000/v1"],
        ),
    ] = None
    endpoint: Annotated[
        Address | None,
        Meta(description="azure only: the resource.", examples=["https://x.openai.azure.com"]),
    ] = None
    deployments: Annotated[
        dict[
            Annotated[Name, Meta(examples=["gpt4"])],
            DeploymentSettings,
        ],
        Meta(description="azure only: deployments and their models."),
    ] = {}
    access_key_id: Annotated[
        str | None,
        Meta(
            description="bedrock only, in place of api_key: requests are signed.",
            examples=["${AWS_ACCESS_KEY_ID:-}"],
        ),
    ] = None
    secret_access_key: Annotated[
        Secret | None,
        Meta(description="Its secret.", examples=["${AWS_SECRET_ACCESS_KEY:-}"]),
    ] = None
    session_token: Annotated[
        Secret | None,
        Meta(description="Of temporary credentials.", examples=["${AWS_SESSION_TOKEN:-}"]),
    ] = None
    region: Annotated[
        str | None,
        Meta(
            description="bedrock only: what requests are signed for, where base_url does not say.",
            examples=["${AWS_REGION:-}"],
        ),
    ] = None
    organization: Annotated[
        str | None,
        Meta(
            description="openai only: who is billed, of several.", examples=["${OPENAI_ORG_ID:-}"]
        ),
    ] = None
    project: Annotated[
        str | None,
        Meta(description="openai only: and for what.", examples=["${OPENAI_PROJECT_ID:-}"]),
    ] = None
    bill_to: Annotated[
        str | None,
        Meta(
            description="huggingface only: the organization that is billed.",
            examples=["${HF_BILL_TO:-}"],
        ),
    ] = None
    referer: Annotated[
        str | None,
        Meta(
            description="openrouter only: the app's address, for its rankings.",
            examples=["${APP_URL:-}"],
        ),
    ] = None
    title: Annotated[
        str | None,
        Meta(description="openrouter only: the app's name there.", examples=["${APP_NAME:-}"]),
    ] = None
    num_ctx: Annotated[
        PositiveInt | None,
        Meta(
            description="ollama only: the context window that models are loaded with, in tokens."
            " Else it is the server's, often no more than 4096, and what is longer is refused.",
            examples=[16384],
        ),
    ] = None
    timeouts: Annotated[
        TimeoutSettings, Meta(description="How long the provider is waited for.")
    ] = TimeoutSettings()
    max_retries: Annotated[
        int, Meta(ge=0, le=10, description="Tries after the first one that failed.")
    ] = 2
    trust_env: Annotated[
        bool, Meta(description="true obeys HTTPS_PROXY, HTTP_PROXY and NO_PROXY.")
    ] = False
    breaker: Annotated[
        bool,
        Meta(
            description="Leave a model alone for 5 to 60 s when half of its last calls have failed;"
            " false always asks it."
        ),
    ] = True


class ModelListSettings(msgspec.Struct, frozen=True, kw_only=True, rename={"refresh_s": "refresh"}):
    """What `/v1/models` shows beside the built-in table."""

    refresh_s: Annotated[
        Annotated[float, Meta(ge=MINUTE_S, le=7 * 24 * HOUR_S, extra={"unit": "duration"})] | None,
        Meta(
            description="How often providers are asked for their models, in the background; null: never.",
            examples=["6h"],
        ),
    ] = 6.0 * HOUR_S


class RunSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename={"expires_after_s": "expires_after"}
):
    """How runs and threads behave."""

    expires_after_s: Annotated[
        int,
        Meta(
            ge=1,
            le=24 * HOUR_S,
            description="When a run that is not done expires.",
            extra={"unit": "duration"},
        ),
    ] = 10 * MINUTE_S
    max_messages_per_thread: Annotated[
        int, Meta(ge=1, le=100_000, description="What a thread holds at most.")
    ] = 5000
    on_disconnect: Annotated[
        Literal["cancel", "continue"],
        Meta(description="What happens to a streamed run when its reader goes away."),
    ] = "cancel"
    when_busy: Annotated[
        Literal["reject", "queue", "replace"],
        Meta(
            description="What happens to a second run on a busy thread: a 409; it waits its turn; or it"
            " replaces the active one, which is cancelled. Per request: x-ringside-when-busy."
        ),
    ] = "reject"


class StructuredOutputSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are held to a JSON schema."""

    max_retries: Annotated[
        int, Meta(ge=0, le=10, description="Repairs of an answer that breaks its schema.")
    ] = 2
    stream: Annotated[
        Literal["buffer", "optimistic"],
        Meta(
            description="buffer holds a stream back until it is valid, and repairs it; optimistic"
            " tells it at once, and ends in an error if it was not."
        ),
    ] = "buffer"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged, and how."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    format: Annotated[
        Literal["json", "text"], Meta(description="One JSON object a line, or text for people.")
    ] = "json"


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says, section by section."""

    server: Annotated[ServerSettings, Meta(description="The API. A change needs a restart.")] = (
        ServerSettings()
    )
    admin: Annotated[
        AdminSettings,
        Meta(description="/healthz, /readyz and /metrics alone. A change needs a restart."),
    ] = AdminSettings()
    store: Annotated[
        StoreSettings, Meta(description="Where state lives. A change needs a restart.")
    ] = StoreSettings()
    auth: Annotated[AuthSettings, Meta(description="Who may use the API.")] = AuthSettings()
    providers: Annotated[
        dict[
            Annotated[
                str, Meta(examples=["azure"], extra={"words": PROVIDERS, "noun": "provider"})
            ],
            ProviderSettings,
        ],
        Meta(
            description="Where models come from. A key in its usual variable (OPENAI_API_KEY …) is"
            " enough. The sandbox needs none and is on when nothing else is."
        ),
    ] = {}
    slots: Annotated[
        dict[Name, SlotSettings],
        Meta(description="Models by a name of yours, used as slot:<name>. Short: `fast: fc:…`."),
    ] = {}
    models: Annotated[
        ModelListSettings, Meta(description="What /v1/models shows beside the built-in table.")
    ] = ModelListSettings()
    budgets: Annotated[BudgetSettings, Meta(description="What customers may spend.")] = (
        BudgetSettings()
    )
    rate_limits: Annotated[RateLimitSettings, Meta(description="How much callers may ask for.")] = (
        RateLimitSettings()
    )
    wallet: Annotated[WalletSettings, Meta(description="Prepaid credit for the whole proxy.")] = (
        WalletSettings()
    )
    runs: Annotated[RunSettings, Meta(description="How runs and threads behave.")] = RunSettings()
    structured_output: Annotated[
        StructuredOutputSettings, Meta(description="How answers are held to a JSON schema.")
    ] = StructuredOutputSettings()
    images: Annotated[
        ImageSettings,
        Meta(description="Images by address, fetched for models that take the bytes alone."),
    ] = ImageSettings()
    webhooks: Annotated[
        WebhookSettings,
        Meta(description="Who is told what happens. Short: a list of endpoints."),
    ] = WebhookSettings()
    upstream: Annotated[UpstreamSettings, Meta(description="Where usage is reported to.")] = (
        UpstreamSettings()
    )
    prices: Annotated[
        dict[Annotated[Model, Meta(examples=["fc:openai/gpt-4o-mini"])], PriceSettings],
        Meta(
            description="Prices in USD per million tokens, over the built-in ones; a trailing *"
            " takes all that begin so. Whoever sets input (or output) replaces its cached rates and"
            " tiers too."
        ),
    ] = {}
    log: Annotated[LogSettings, Meta(description="What is logged.")] = LogSettings()


class Settings(ConfigFile, frozen=True, kw_only=True):
    """One configuration, whole and checked; never changed, only replaced.

    `providers` holds those that are on. `not_in_effect` names keys of the file whose feature this
    version does not have. `master_keys` come from the environment alone: RINGSIDE_MASTER_KEYS.
    """

    not_in_effect: tuple[str, ...] = ()
    master_keys: tuple[Secret, ...] = ()
