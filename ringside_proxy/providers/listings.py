"""The model lists of providers that have one: where it is asked for, and what it says.

Pure functions, as for completions: a request, and the reading of its answer. Only names, limits,
abilities and dates are taken from it; prices are not, they stay those of the package and of the
configuration. What is not a model for text or embeddings is left out, and so is whatever is not in
the shape that the provider documents.

Sources, read 2026-11-21: platform.openai.com/docs/api-reference/models/list,
platform.claude.com/docs/en/api/models/list, ai.google.dev/api/models, docs.cohere.com/reference/
list-models, docs.mistral.ai/api/endpoint/models, docs.ollama.com/api/tags, huggingface.co/docs/
inference-providers/hub-api, openrouter.ai/docs/api-reference/list-available-models,
docs.together.ai/reference/models-1, docs.sambanova.ai/docs/en/api-reference.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.domain.model_facts import Capability
from ringside_proxy.providers.anthropic.adapter import VERSION
from ringside_proxy.providers.model_names import EMBEDS, NOT_SERVED
from ringside_proxy.providers.types import Credentials, HTTPRequest

MODELS_MAX: Final = 5000
"""Of one provider; the largest list there is has a fifth of it."""
NAME_CHARS_MAX: Final = 256
TOKENS_MAX: Final = 1_000_000_000

Json = dict[str, Any]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as far as its provider's list describes it.

    `created` is 0 if it does not say; `supports` is None if it says nothing of abilities.
    """

    id: str
    created: int = 0
    context_window: int | None = None
    max_output_tokens: int | None = None
    supports: tuple[Capability, ...] | None = None


class Page(msgspec.Struct, frozen=True):
    """A part of a list, and the parameters that ask for the next one; none: it was the last."""

    models: tuple[ListedModel, ...]
    next: dict[str, str] = {}


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider is asked for its models, and how the answer is read."""

    path: str
    read: Callable[[Json], Iterator[ListedModel]]
    query: dict[str, str] = {}
    next: Callable[[Json], dict[str, str]] = lambda answer: {}
    headers: Callable[[str], dict[str, str]] = lambda key: {"authorization": f"Bearer {key}"}
    version: str = ""
    """Ends base URLs that the owner may write with or without it."""

    def request(self, credentials: Credentials, page: dict[str, str]) -> HTTPRequest:
        """The call that asks for a page."""
        root = credentials.base_url.rstrip("/")
        if self.version:
            root = root.removesuffix(self.version) + self.version
        query = urlencode(self.query | page)
        key = credentials.api_key
        return HTTPRequest(
            method="GET",
            url=f"{root}{self.path}{'?' if query else ''}{query}",
            headers={"accept": "application/json", **(self.headers(key) if key else {})},
        )

    def parse(self, provider: str, body: bytes) -> Page:
        """A page of the list. Raises ProviderBadReplyError if it is none."""
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise _no_list(provider) from error
        if isinstance(answer, list):
            answer = {"data": answer}  # Together
        if not isinstance(answer, dict) or not isinstance(_rows(answer), list):
            raise _no_list(provider)
        found = (model for model in self.read(answer) if _is_name(model.id))
        models = tuple(model for model, _ in zip(found, range(MODELS_MAX), strict=False))
        return Page(models, self.next(answer))


def _no_list(provider: str) -> ProviderBadReplyError:
    return ProviderBadReplyError(f"{provider} sent no list of models.", provider=provider)


def _rows(answer: Json) -> Any:
    return answer.get("data", answer.get("models"))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= NAME_CHARS_MAX and name.isprintable()


# ------------------------------------------------------------------------------- what a row may say


def _inside(row: Json, *keys: str) -> Json:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _words(row: Json, key: str) -> list[Any]:
    value = row.get(key)
    return value if isinstance(value, list) else []


def _count(*values: Any) -> int | None:
    """The first that is a number of tokens; some write it as a float."""
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 1 <= value <= TOKENS_MAX:
            return int(value)
    return None


def _created(value: Any) -> int:
    """Unix seconds, also where they are written as a float or as a date."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return 0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < 1 << 33 else 0


def _able(**flags: Any) -> tuple[Capability, ...]:
    """The abilities that hold, of a model for text."""
    order: tuple[Capability, ...] = ("tools", "json_schema", "reasoning", "vision")
    return (*(name for name in order if flags.get(name) is True), "streaming")


def _objects(answer: Json) -> Iterator[Json]:
    return (row for row in _rows(answer) if isinstance(row, dict))


# ------------------------------------------------------------------------------------- the providers


def _openai_like(answer: Json, *, long: str = "") -> Iterator[ListedModel]:
    """`data[]` with an `id`, and whatever else says how large the model is."""
    for row in _objects(answer):
        name = str(row.get("id") or "").removeprefix(long)
        is_embedding = EMBEDS.search(name) is not None
        is_other = row.get("supports_chat") is False and not is_embedding
        if NOT_SERVED.search(name) or is_other or row.get("active") is False:
            continue
        yield ListedModel(
            id=name,
            created=_created(row.get("created")),
            context_window=_count(row.get("context_window"), row.get("context_length")),
            max_output_tokens=_count(row.get("max_completion_tokens")),
            supports=("embeddings",) if is_embedding else None,
        )


def _mistral(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        able = _inside(row, "capabilities")
        name = str(row.get("id") or "")
        is_embedding = EMBEDS.search(name) is not None
        if able.get("completion_chat") is not True and not is_embedding:
            continue
        yield ListedModel(
            id=name,
            context_window=_count(row.get("max_context_length")),
            supports=("embeddings",)
            if is_embedding
            else _able(
                tools=able.get("function_calling"),
                json_schema=True,
                reasoning=able.get("reasoning"),
                vision=able.get("vision"),
            ),
        )


def _together(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        if row.get("type") not in ("chat", "embedding"):
            continue
        yield ListedModel(
            id=str(row.get("id") or ""),
            created=_created(row.get("created")),
            context_window=_count(row.get("context_length")),
            supports=("embeddings",) if row["type"] == "embedding" else None,
        )


def _openrouter(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        takes = _words(_inside(row, "architecture"), "input_modalities")
        gives = _words(_inside(row, "architecture"), "output_modalities")
        params = _words(row, "supported_parameters")
        if gives and not {"text", "embeddings"} & {word for word in gives if isinstance(word, str)}:
            continue
        yield ListedModel(
            id=str(row.get("id") or ""),
            created=_created(row.get("created")),
            context_window=_count(row.get("context_length")),
            max_output_tokens=_count(_inside(row, "top_provider").get("max_completion_tokens")),
            supports=("embeddings",)
            if "embeddings" in gives
            else _able(
                tools="tools" in params,
                json_schema="structured_outputs" in params,
                reasoning="reasoning" in params,
                vision="image" in takes,
            ),
        )


def _huggingface(answer: Json) -> Iterator[ListedModel]:
    """The model, which goes to whoever is fastest, and the same at each of its partners."""
    for row in _objects(answer):
        name = str(row.get("id") or "")
        takes = _words(_inside(row, "architecture"), "input_modalities")
        partners = [one for one in _words(row, "providers") if isinstance(one, dict)]
        live = [one for one in partners if one.get("status") in ("live", None)]
        for suffix, those in [("", live), *((f":{one.get('provider')}", [one]) for one in live)]:
            yield ListedModel(
                id=name + suffix,
                created=_created(row.get("created")),
                context_window=_count(*(one.get("context_length") for one in those)),
                supports=_able(
                    tools=any(one.get("supports_tools") is True for one in those),
                    json_schema=any(one.get("supports_structured_output") is True for one in those),
                    vision="image" in takes,
                ),
            )


def _anthropic(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        able = _inside(row, "capabilities")
        if row.get("lifecycle") == "retired":
            continue
        yield ListedModel(
            id=str(row.get("id") or ""),
            created=_created(row.get("created_at")),
            context_window=_count(row.get("max_input_tokens")),
            max_output_tokens=_count(row.get("max_tokens")),
            supports=_able(
                tools=True,
                json_schema=_inside(able, "structured_outputs").get("supported"),
                reasoning=_inside(able, "thinking").get("supported"),
                vision=_inside(able, "image_input").get("supported"),
            )
            if able
            else None,
        )


def _google(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        name = str(row.get("name") or "").removeprefix("models/")
        methods = _words(row, "supportedGenerationMethods")
        is_chat = "generateContent" in methods
        if NOT_SERVED.search(name) or not (is_chat or "embedContent" in methods):
            continue
        yield ListedModel(
            id=name,
            context_window=_count(row.get("inputTokenLimit")),
            max_output_tokens=_count(row.get("outputTokenLimit")) if is_chat else None,
            supports=_able(tools=True, json_schema=True, reasoning=row.get("thinking"), vision=True)
            if is_chat
            else ("embeddings",),
        )


def _cohere(answer: Json) -> Iterator[ListedModel]:
    for row in _objects(answer):
        uses = _words(row, "endpoints")
        if row.get("is_deprecated") is True or not ("chat" in uses or "embed" in uses):
            continue
        features = _words(row, "features")
        yield ListedModel(
            id=str(row.get("name") or ""),
            context_window=_count(row.get("context_length")),
            supports=_able(
                tools="tools" in features,
                json_schema="json_schema" in features,
                reasoning="reasoning" in features,
                vision="vision" in features,
            )
            if "chat" in uses
            else ("embeddings",),
        )


def _ollama(answer: Json) -> Iterator[ListedModel]:
    """What is installed; only newer versions say what it can do."""
    for row in _objects(answer):
        name = str(row.get("model") or row.get("name") or "")
        able = _words(row, "capabilities")
        supports: tuple[Capability, ...] | None = None
        if "embedding" in able or (not able and EMBEDS.search(name)):
            supports = ("embeddings",)
        elif able:
            supports = _able(
                tools="tools" in able,
                json_schema=True,
                reasoning="thinking" in able,
                vision="vision" in able,
            )
        yield ListedModel(id=name, created=_created(row.get("modified_at")), supports=supports)


# ----------------------------------------------------------------------------------------- the table


def _after_last(answer: Json) -> dict[str, str]:
    last = answer.get("last_id")
    return {"after_id": last} if answer.get("has_more") is True and isinstance(last, str) else {}


def _token(answer: Json, *, theirs: str, ours: str) -> dict[str, str]:
    token = answer.get(theirs)
    return {ours: token} if isinstance(token, str) and token else {}


def _query_of_next(answer: Json) -> dict[str, str]:
    """Of the next page's address only what it asks for: the key goes nowhere else."""
    address = _inside(answer, "links").get("next")
    try:
        return dict(parse_qsl(urlsplit(address).query)) if isinstance(address, str) else {}
    except ValueError:
        return {}  # no address at all


OPENAI_LIKE: Final = Listing(path="/models", read=_openai_like)

LISTINGS: Final[dict[str, Listing]] = {
    "openai": OPENAI_LIKE,
    "groq": OPENAI_LIKE,
    "perplexity": OPENAI_LIKE,
    "deepseek": OPENAI_LIKE,
    "xai": OPENAI_LIKE,
    "cerebras": OPENAI_LIKE,
    "sambanova": OPENAI_LIKE,
    "fireworks": Listing(
        path="/models", read=partial(_openai_like, long="accounts/fireworks/models/")
    ),
    "mistral": Listing(path="/models", read=_mistral),
    "together": Listing(path="/models", read=_together),
    "openrouter": Listing(path="/models", read=_openrouter, next=_query_of_next),
    "huggingface": Listing(path="/models", read=_huggingface),
    "anthropic": Listing(
        path="/models",
        read=_anthropic,
        query={"limit": "1000"},
        next=_after_last,
        headers=lambda key: {"x-api-key": key, "anthropic-version": VERSION},
        version="/v1",
    ),
    "google": Listing(
        path="/models",
        read=_google,
        query={"pageSize": "1000"},
        next=partial(_token, theirs="nextPageToken", ours="pageToken"),
        headers=lambda key: {"x-goog-api-key": key},
    ),
    "cohere": Listing(
        path="/v1/models",
        read=_cohere,
        query={"page_size": "1000"},
        next=partial(_token, theirs="next_page_token", ours="page_token"),
    ),
    "ollama": Listing(path="/api/tags", read=_ollama),
}
"""Azure lists what a region has and not what is deployed, Replicate everything that anybody ever
uploaded, and Bedrock only through another service with rights of its own: theirs are not read.
"""
