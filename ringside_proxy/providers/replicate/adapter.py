"""Replicate: a prediction is created, and its stream listened to.

There is no chat wire: each model has inputs of its own, found by the beginning of its name, and a
conversation becomes a text where the model does not take messages. There are no tools, so that they
are made up for around the adapter, in words. What a prediction consumed is not in its stream, so that usage is mostly left to be estimated.
Source: https://replicate.com/docs/reference/http and Replicate's own client (1.0.7), read
2026-11-21. Which inputs a model has was not read from its schema: that takes a call to Replicate.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderBadReplyError,
    ProviderError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.params import EFFORT_PARAMS, asked_effort
from ringside_proxy.providers.loose_json import text_in
from ringside_proxy.providers.replicate.stream import PredictionDecoder, counted, failure
from ringside_proxy.providers.types import (
    LIMIT_PARAMS,
    NOT_FOR_PROVIDERS,
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Embeddings,
    EmbeddingsRequest,
    Epilogue,
    HTTPRequest,
    StreamDecoder,
    Support,
)

Fields = dict[str, Any]

VERSION: Final = re.compile(r"[0-9a-f]{64}")
OWN_DOMAIN: Final = ".replicate.com"
OURS: Final = NOT_FOR_PROVIDERS | {"n", "modalities", "tool_choice", "parallel_tool_calls"}
"""What is the proxy's own business, or says nothing without tools and with one answer."""
PLAIN_FORMATS: Final = ("auto", {"type": "text"})
RESETS_IN: Final = re.compile(r"resets? in ~?(\d+(?:\.\d+)?) ?s")


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What a family of models calls its inputs.

    `params` gives the input of OpenAI's parameters; what is not in it is not taken. `efforts` are
    the words that the model knows, if it can be told how much to reason.
    """

    params: dict[str, str]
    image: str | None = None
    images: str | None = None
    takes_messages: bool = False
    efforts: tuple[str, ...] = ()


SAMPLING: Final = {"temperature": "temperature", "top_p": "top_p"}
LIMIT: Final = {"max_completion_tokens": "max_tokens", "max_tokens": "max_tokens"}
OPEN_WEIGHTS: Final = {
    **LIMIT,
    **SAMPLING,
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}

FAMILIES: Final[dict[str, Inputs]] = {
    "anthropic/claude": Inputs(params=LIMIT, image="image"),
    "openai/": Inputs(
        params={
            "max_completion_tokens": "max_completion_tokens",
            "max_tokens": "max_completion_tokens",
            "reasoning_effort": "reasoning_effort",
            "verbosity": "verbosity",
        },
        images="image_input",
        takes_messages=True,
        efforts=("minimal", "low", "medium", "high"),
    ),
    "openai/gpt-4": Inputs(
        params={
            **SAMPLING,
            "max_completion_tokens": "max_completion_tokens",
            "max_tokens": "max_completion_tokens",
            "presence_penalty": "presence_penalty",
            "frequency_penalty": "frequency_penalty",
        },
        images="image_input",
        takes_messages=True,
    ),
    "meta/": Inputs(params=OPEN_WEIGHTS | {"stop": "stop_sequences", "seed": "seed"}),
    "deepseek-ai/": Inputs(params=OPEN_WEIGHTS),
}
"""By the beginning of the model's name; the longest that fits counts."""

OTHER: Final = Inputs(params=LIMIT | SAMPLING)
"""What language models nearly always take; nothing that is rarer is risked."""


class Replicate(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfies the `Provider` protocol."""

    name: str = "replicate"
    base_url: str | None = "https://api.replicate.com/v1"
    docs_url: str = "https://replicate.com/docs/reference/http"
    key_variables: tuple[str, ...] = ("REPLICATE_API_TOKEN",)
    speaks_openai: bool = False
    has_embeddings: bool = False

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself: no tools, which are had in words, and no schemas."""
        inputs = inputs_of(model)
        can_see = inputs.image is not None or inputs.images is not None
        return Capabilities(
            tools=Support.EMULATED,
            image_urls=can_see,
            image_data=can_see,
            reasoning=bool(inputs.efforts),
        )

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that creates the prediction; following it gives the stream."""
        _refuse_impossible(request.params)
        inputs = inputs_of(request.model)
        given, dropped = _params(request.params, inputs)
        path, target = _route(request.model)
        return HTTPRequest(
            url=credentials.base_url.rstrip("/") + path,
            headers={"content-type": "application/json"} | _key(credentials),
            body=orjson.dumps({**target, "input": _prompt(request.messages, inputs) | given}),
            dropped_params=dropped,
            follow=partial(_listen, self.name, credentials, _limit(request.params)),
        )

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """Raises InvalidRequestError: its embedding models have no inputs in common."""
        raise InvalidRequestError(
            f"{self.name} offers no embeddings: use another provider's embedding model, "
            "for example 'fc:openai/text-embedding-3-small'.",
            param="model",
        )

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """Raises ProviderBadReplyError: there is nothing to parse."""
        raise ProviderBadReplyError(f"{self.name} offers no embeddings.", provider=self.name)

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return PredictionDecoder(self.name, _limit(request.params))

    @staticmethod
    def restate(
        status: int, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """A throttled call tells in its text how long to wait; for `Target.restate`."""
        said = RESETS_IN.search(body.decode("utf-8", "replace")) if status == 429 else None
        if said is None or "retry-after" in headers:
            return status, headers, body
        return (
            status,
            {**{name.lower(): value for name, value in headers.items()}, "retry-after": said[1]},
            body,
        )


def inputs_of(model: str) -> Inputs:
    """What a model calls its inputs."""
    best = max((p for p in FAMILIES if model.startswith(p)), key=len, default=None)
    return FAMILIES[best] if best is not None else OTHER


def _refuse_impossible(params: Fields) -> None:
    if (params.get("n") or 1) != 1:
        raise InvalidRequestError(
            "Replicate gives one answer per request: leave 'n' out, or set it to 1.",
            param="n",
            code="unsupported_parameter",
        )
    for name in ("audio", "modalities"):
        if params.get(name) and "audio" in (name, *params[name]):
            raise InvalidRequestError(
                "Replicate's language models give no audio.",
                param=name,
                code="unsupported_parameter",
            )


def _route(model: str) -> tuple[str, Fields]:
    """Where a prediction of `owner/name`, `owner/name:version` or a version is created."""
    name, _, version = model.partition(":")
    version = version or (model if VERSION.fullmatch(model) else "")
    if version:
        return "/predictions", {"version": version}
    return f"/models/{quote(name, safe='/')}/predictions", {}


def _params(params: Fields, inputs: Inputs) -> tuple[Fields, tuple[str, ...]]:
    """The inputs that parameters become, and the names of those that become none."""
    sent: Fields = {}
    given = {name: value for name, value in params.items() if value is not None and value != []}
    wished = asked_effort(given)
    for name in sorted(given.keys() & inputs.params.keys(), reverse=True):
        sent[inputs.params[name]] = given[name]  # of two limits the newer name comes last
    if isinstance(stops := sent.get("stop_sequences"), list):
        sent["stop_sequences"] = ",".join(stops)
    taken = inputs.params.keys() | OURS
    if inputs.efforts and wished is not None:
        sent["reasoning_effort"] = _effort(wished, inputs.efforts)
        taken |= set(EFFORT_PARAMS)
    if given.get("response_format") in PLAIN_FORMATS:
        taken |= {"response_format"}
    return sent, tuple(sorted(given.keys() - taken))


def _effort(effort: str, known: tuple[str, ...]) -> str:
    """The nearest word that the model knows."""
    if effort in known:
        return effort
    return known[0] if effort == "none" else known[-1]


def _limit(params: Fields) -> int | None:
    given = [params.get(name) for name in LIMIT_PARAMS]
    return next((limit for limit in given if isinstance(limit, int)), None)


def _prompt(messages: list[Fields], inputs: Inputs) -> Fields:
    """The conversation: as messages where they are taken, else as a text to be continued."""
    said = [
        (message["role"], *_read(message.get("content") or text_in(message, "refusal")))
        for message in messages
    ]
    images = [url for _, _, urls in said for url in urls]
    if inputs.takes_messages:
        told = [{"role": _role(role), "content": text} for role, text, _ in said if text]
        return {"messages": told} | ({inputs.images: images} if images and inputs.images else {})
    system = "\n\n".join(text for role, text, _ in said if _role(role) == "system" and text)
    turns = [(_role(role), text) for role, text, _ in said if text and _role(role) != "system"]
    fields: Fields = {"prompt": _flattened(turns)}
    if system:
        fields["system_prompt"] = system
    if images and inputs.image:
        fields[inputs.image] = images[-1]
    return fields


def _role(role: str) -> str:
    return {"developer": "system", "tool": "user"}.get(role, role)


def _flattened(turns: list[tuple[str, str]]) -> str:
    """What one user says once stands for itself; more becomes a dialogue."""
    if len(turns) == 1 and turns[0][0] == "user":
        return turns[0][1]
    lines = [f"{role.capitalize()}: {text}" for role, text in turns]
    return "\n\n".join([*lines, "Assistant:"])


def _read(content: Any) -> tuple[str, list[str]]:
    """The text and the images of a message. Raises InvalidRequestError for other parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else "", []
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        kind = "text" if isinstance(part, str) else part.get("type")
        if kind == "image_url":
            given = part["image_url"]
            images.append(given["url"] if isinstance(given, dict) else given)
        elif kind in ("text", "refusal"):
            texts.append(part if isinstance(part, str) else part[kind])
        else:
            raise InvalidRequestError(
                f"Replicate takes no message parts of type '{kind}'.",
                param="messages",
                code="unsupported_parameter",
            )
    return "\n".join(texts), images


def _listen(provider: str, credentials: Credentials, limit: int | None, body: bytes) -> HTTPRequest:
    """The call that gets a prediction's stream. Raises ProviderError if there is none to get."""
    prediction = _prediction(provider, body)
    _raise_failure(provider, prediction)
    urls = prediction.get("urls")
    stream = urls.get("stream") if isinstance(urls, dict) else None
    if not isinstance(stream, str):
        raise ProviderRejectedError(
            f"{provider} cannot stream this model, and only streaming models are served.",
            provider=provider,
            param="model",
        )
    if not _is_trusted(stream, credentials.base_url):
        raise ProviderBadReplyError(
            f"{provider} named a stream at an address that is not its own.", provider=provider
        )
    headers = {"accept": "text/event-stream", "cache-control": "no-store"}
    return HTTPRequest(
        method="GET",
        url=stream,
        headers=headers | _key(credentials),
        abandon=_cancel(prediction, credentials),
        epilogue=_epilogue(prediction, credentials, limit),
    )


def _cancel(prediction: Fields, credentials: Credentials) -> HTTPRequest | None:
    """The call that ends a prediction: it is paid by the second, and goes on without a listener."""
    url = _url(prediction, "cancel", credentials)
    headers = {"content-type": "application/json"}
    return None if url is None else HTTPRequest(url=url, headers=headers | _key(credentials))


def _epilogue(prediction: Fields, credentials: Credentials, limit: int | None) -> Epilogue | None:
    """The call that gets the counts, which a stream does not tell."""
    url = _url(prediction, "get", credentials)
    if url is None:
        return None
    return Epilogue(
        HTTPRequest(method="GET", url=url, headers=_key(credentials)), partial(_counted, limit)
    )


def _counted(limit: int | None, body: bytes, end: list[Delta]) -> list[Delta]:
    """The end of an answer with what its prediction says of it, if its model counts tokens."""
    try:
        prediction = orjson.loads(body)
    except orjson.JSONDecodeError:
        return end
    return counted(end, prediction.get("metrics") if isinstance(prediction, dict) else None, limit)


def _key(credentials: Credentials) -> dict[str, str]:
    return {"authorization": f"Bearer {credentials.api_key}"} if credentials.api_key else {}


def _url(prediction: Fields, name: str, credentials: Credentials) -> str | None:
    """An address that a prediction names, if it may be given the key."""
    urls = prediction.get("urls")
    url = urls.get(name) if isinstance(urls, dict) else None
    return url if isinstance(url, str) and _is_trusted(url, credentials.base_url) else None


def _prediction(provider: str, body: bytes) -> Fields:
    try:
        prediction = orjson.loads(body)
    except orjson.JSONDecodeError:
        prediction = None
    if not isinstance(prediction, dict):
        raise ProviderBadReplyError(f"{provider} sent no prediction.", provider=provider)
    return prediction


def _raise_failure(provider: str, prediction: Fields) -> None:
    """Raises ProviderError for a prediction that is over before it began."""
    error: ProviderError | None = None
    match prediction.get("status"):
        case "failed":
            error = failure(provider, prediction.get("error"))
        case "canceled" | "aborted" as status:
            error = ProviderUnavailableError(
                f"{provider} ended the prediction before it began ('{status}').", provider=provider
            )
        case _:
            pass
    if error is not None:
        raise error


def _is_trusted(url: str, base_url: str) -> bool:
    """Whether a stream may be given the key: the same host, or both Replicate's over TLS."""
    try:
        there, here = urlsplit(url), urlsplit(base_url)
        hosts = there.hostname or "", here.hostname or ""
        if (there.scheme, there.netloc) == (here.scheme, here.netloc):
            return True
    except ValueError:
        return False
    return there.scheme == "https" and all(host.endswith(OWN_DOMAIN) for host in hosts)
