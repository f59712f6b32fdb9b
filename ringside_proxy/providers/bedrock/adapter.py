"""AWS Bedrock: every model family on ConverseStream, embeddings on InvokeModel.

A Bedrock API key goes as a bearer token; without one the request is signed with the access key in
the credentials' options, at the moment it goes out.

A schema goes out to the models that are known to be held to one, as far as Anthropic's decoder takes
it; for the others, and for JSON of any shape, there are the prompt and the validation around the
adapter.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, by
the service model of botocore 1.44.5, read 2026-11-21.
"""

import re
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.bedrock.embeddings import embeddings_bodies, parsed
from ringside_proxy.providers.bedrock.messages import (
    CachePoints,
    called_tools,
    conversation,
    replayed,
    system_blocks,
    tool_specs,
)
from ringside_proxy.providers.bedrock.models import Family, family_of
from ringside_proxy.providers.bedrock.params import (
    Converted,
    answer_format,
    converted,
    refuse_impossible,
    service_tier,
)
from ringside_proxy.providers.bedrock.sigv4 import SigningKey, signed
from ringside_proxy.providers.bedrock.stream import ConverseStreamDecoder, restated
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
    StreamDecoder,
    Support,
)

SERVICE: Final = "bedrock"
REGION: Final = re.compile(r"\b([a-z]{2,4}(?:-[a-z]+)+-\d)\b")
PASSED_OPTIONS: Final = ("guardrailConfig", "performanceConfig")


class Bedrock(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfies the `Provider` protocol. `base_url` holds the region, so only the owner knows it."""

    name: str = "bedrock"
    base_url: str | None = None
    docs_url: str = (
        "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html"
    )
    key_variables: tuple[str, ...] = ("AWS_BEARER_TOKEN_BEDROCK",)
    speaks_openai: bool = False
    has_embeddings: bool = True

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        return family_of(model).abilities

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`. Raises InvalidRequestError for what cannot be sent."""
        refuse_impossible(request.params)
        family = family_of(request.model)
        points = CachePoints(family)
        choice = _Choice.of(request, family)
        may_think = not choice.is_forced and replayed(request.messages)
        result = converted(request.params, family, may_think=may_think)
        tools = choice.config(family, points, result)
        output_format, format_words = answer_format(request.params, family, result)
        system = system_blocks(request.messages, points) + format_words
        body = {
            "messages": conversation(request.messages, family, points),
            "system": system,
            "inferenceConfig": result.inference,
            "toolConfig": tools,
            "outputConfig": output_format,
            "additionalModelRequestFields": result.additional,
            **service_tier(request.params, result),
            **{name: credentials.options.get(name) for name in PASSED_OPTIONS},
        }
        return _post(
            f"{_path(request.model)}/converse-stream",
            {name: value for name, value in body.items() if value},
            credentials,
            "application/vnd.amazon.eventstream",
            result.dropped(request.params),
        )

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings, in the order of the inputs."""
        bodies, dropped = embeddings_bodies(request)
        path = f"{_path(request.model)}/invoke"
        return [_post(path, body, credentials, "application/json", dropped) for body in bodies]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in the answer. Raises ProviderBadReplyError."""
        return parsed(self.name, body)

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return ConverseStreamDecoder(self.name, new_id)

    restate = staticmethod(restated)
    """How its refusals are put so that `errors.py` reads them; for `Target.restate`."""


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a request, and how they are to be used, in Anthropic's words."""

    tools: list[dict[str, Any]]
    kind: str
    name: str | None = None
    is_single: bool = False

    @classmethod
    def of(cls, request: CompletionRequest, family: Family) -> "_Choice":
        """What `tools`, `tool_choice` and `parallel_tool_calls` say together."""
        given = [t for t in request.params.get("tools") or () if t.get("type") == "function"]
        if family.abilities.tools is not Support.NATIVE:
            return cls(tools=[], kind="none")
        if not given:
            return cls(tools=called_tools(request.messages), kind="none")
        choice = request.params.get("tool_choice") or "auto"
        name = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
        kind = "tool" if name else {"required": "any", "none": "none"}.get(str(choice), "auto")
        return cls(
            tools=given,
            kind=kind,
            name=name,
            is_single=request.params.get("parallel_tool_calls") is False,
        )

    @property
    def is_forced(self) -> bool:
        return self.kind in ("any", "tool")

    def config(self, family: Family, points: CachePoints, result: Converted) -> dict[str, Any]:
        """Converse's `toolConfig`; what only Claude knows goes beside it, instead of a choice."""
        result.taken |= (
            {"tools", "tool_choice"} if family.abilities.tools is Support.NATIVE else set()
        )
        if not self.tools:
            result.taken |= {"tool_choice", "parallel_tool_calls"}
            return {}
        config: dict[str, Any] = {"tools": tool_specs(self.tools, family, points)}
        if family.is_claude and (self.kind == "none" or self.is_single):
            result.additional["tool_choice"] = self._claudes()
            result.taken.add("parallel_tool_calls")
        elif self.kind == "tool" and family.abilities.tool_choice_named is Support.NATIVE:
            config["toolChoice"] = {"tool": {"name": self.name}}
        elif self.kind == "any" and family.abilities.tool_choice_required is Support.NATIVE:
            config["toolChoice"] = {"any": {}}
        elif self.kind != "none":
            config["toolChoice"] = {"auto": {}}
        if not self.is_single:
            result.taken.add("parallel_tool_calls")
        return config

    def _claudes(self) -> dict[str, Any]:
        if self.kind == "none":
            return {"type": "none"}
        choice = {"type": self.kind, "disable_parallel_tool_use": True}
        return choice | ({"name": self.name} if self.name else {})


def _path(model: str) -> str:
    return f"/model/{quote(model, safe='')}"


def _post(
    path: str,
    body: dict[str, Any],
    credentials: Credentials,
    accept: str,
    dropped: tuple[str, ...],
) -> HTTPRequest:
    headers = {"content-type": "application/json", "accept": accept}
    sign = None
    if credentials.api_key:
        headers["authorization"] = f"Bearer {credentials.api_key}"
    else:
        sign = partial(signed, key=_signing_key(credentials))
    return HTTPRequest(
        url=credentials.base_url.rstrip("/") + path,
        headers=headers,
        body=orjson.dumps(body),
        dropped_params=dropped,
        sign=sign,
    )


def _signing_key(credentials: Credentials) -> SigningKey:
    """The access key in the options. Raises InvalidRequestError if there is none."""
    options = credentials.options
    host = urlsplit(credentials.base_url).hostname or ""
    found = REGION.search(host)
    region = options.get("region") or (found[1] if found else None)
    access_key, secret = options.get("access_key_id"), options.get("secret_access_key")
    if not (access_key and secret and region):
        raise InvalidRequestError(
            "Provider 'bedrock' has no key here. Set providers.bedrock.api_key, or its access_key_id"
            " and secret_access_key with a base_url or region that names the AWS region.",
            param="model",
            code="provider_not_configured",
        )
    return SigningKey(
        access_key_id=str(access_key),
        secret_access_key=str(secret),
        session_token=options.get("session_token"),
        region=str(region),
        service=SERVICE,
    )
