"""OpenAI: chat completions, and the Responses API for what those refuse.

Function tools and reasoning go together on the Responses API alone from GPT-5.2 on, and some
models answer nowhere else. Everything else stays on chat completions, whose bytes are passed on.
Source: https://platform.openai.com/docs/guides/reasoning,
https://platform.openai.com/docs/guides/migrate-to-responses and
https://platform.openai.com/docs/models, read 2026-11-21; the refusal itself: openai/openai-openapi
issue 541, BerriAI/litellm pull request 34569, read 2026-11-21.
"""

import re
from typing import Final

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.adapter import OpenAICompatible
from ringside_proxy.providers.chat.openai_models import OPENAI_ABILITIES
from ringside_proxy.providers.chat.params import ModelRules, ParamRules, asked_effort
from ringside_proxy.providers.chat.rows import OPENAI
from ringside_proxy.providers.memo import Memo
from ringside_proxy.providers.responses.adapter import ANY_MODEL, Responses, reasoning
from ringside_proxy.providers.responses.input import InputForm
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
    StreamDecoder,
)

SAMPLING: Final = frozenset({"temperature", "top_p"})

PRO_ABILITIES: Final = msgspec.structs.replace(
    OPENAI_ABILITIES, json_object=False, json_schema=False, json_schema_with_tools=False
)
"""Structured output is not stated for all of them, so it is had in words."""

MODELS: Final = (
    ModelRules(
        prefixes=("o1-pro", "o3-pro"),
        default_effort="medium",
        efforts=reasoning("low", "medium", "high"),
        refused_params=SAMPLING,
        abilities=PRO_ABILITIES,
    ),
    ModelRules(
        prefixes=("gpt-5-pro",),
        default_effort="high",
        efforts=reasoning("high"),
        refused_params=SAMPLING,
        abilities=PRO_ABILITIES,
    ),
    ModelRules(
        prefixes=("gpt-5.2-pro", "gpt-5.4-pro", "gpt-5.5-pro"),
        default_effort="medium",
        efforts=reasoning("medium", "high", "xhigh"),
        refused_params=SAMPLING,
        abilities=PRO_ABILITIES,
    ),
    ModelRules(
        prefixes=("gpt-5-codex", "gpt-5.1-codex", "codex-mini"),
        default_effort="medium",
        efforts=reasoning("low", "medium", "high"),
        refused_params=SAMPLING,
    ),
    ModelRules(
        prefixes=("gpt-5.1-codex-max", "gpt-5.2-codex", "gpt-5.3-codex"),
        default_effort="medium",
        efforts=reasoning("low", "medium", "high", "xhigh"),
        refused_params=SAMPLING,
    ),
    ModelRules(
        prefixes=("gpt-5.2", "gpt-5.3", "gpt-5.4"),
        efforts=reasoning("none", "low", "medium", "high", "xhigh"),
        refused_params=SAMPLING,
    ),
    ModelRules(
        prefixes=("gpt-5.5",),
        default_effort="medium",
        efforts=reasoning("none", "low", "medium", "high", "xhigh"),
        refused_params=SAMPLING,
    ),
    ModelRules(
        prefixes=("gpt-5.6", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"),
        default_effort="medium",
        efforts=reasoning("none", "low", "medium", "high", "xhigh", "max"),
        refused_params=SAMPLING,
    ),
    ModelRules(
        prefixes=("gpt-6-astra", "gpt-6.1-sol"),
        default_effort="medium",
        efforts=reasoning("low", "medium", "high", "xhigh", "max"),
        refused_params=SAMPLING,
    ),
)

ONLY_RESPONSES: Final = re.compile(r"(o\d|gpt-\d+(\.\d+)?)-(pro|codex)\b|codex-mini\b")
"""The names of models that chat completions does not know."""

FIXED_EFFORT: Final = re.compile(r"gpt-\d+(\.\d+)?-chat\b")
"""Chat models, whose effort is fixed; chat completions takes their tools."""

RESPONSES: Final = Responses(
    name=OPENAI.name,
    base_url=OPENAI.base_url,
    docs_url="https://platform.openai.com/docs/api-reference/responses",
    option_headers=OPENAI.option_headers,
    params=ParamRules(
        allowed=SAMPLING
        | {"tools", "tool_choice", "parallel_tool_calls", "response_format", "verbosity"}
        | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
        | {"safety_identifier", "service_tier"},
        limit="max_completion_tokens",
        has_strict_mode=True,
    ),
    fixed={
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream_options": {"include_obfuscation": False},
    },
    input_form=InputForm(has_files=True, part_extras=frozenset({"prompt_cache_breakpoint"})),
    output_tokens_min=16,
    abilities=OPENAI_ABILITIES,
    models=MODELS,
)


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model; `reasoner`: its rules, where tools decide which dialect takes it."""

    is_only_responses: bool
    reasoner: ModelRules | None
    able: Capabilities


class OpenAI(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses the dialect request by request; satisfies the `Provider` protocol."""

    chat: OpenAICompatible = OPENAI
    responses: Responses = RESPONSES
    memo: Memo[_Known] | None = None

    @property
    def name(self) -> str:
        """What callers write after `fc:`."""
        return self.chat.name

    @property
    def base_url(self) -> str | None:
        """Where it is reached unless the configuration says otherwise."""
        return self.chat.base_url

    @property
    def docs_url(self) -> str:
        """Where its wire is documented."""
        return self.chat.docs_url

    @property
    def speaks_openai(self) -> bool:
        """Where it is not asked in the Responses dialect: `needs_responses` knows when."""
        return True

    @property
    def has_embeddings(self) -> bool:
        """Whether it has embedding models."""
        return self.chat.has_embeddings

    def needs_responses(self, request: CompletionRequest) -> bool:
        """Whether chat completions refuses `request`: decided by its model, tools and effort."""
        known, params = self._known(request.model), request.params
        if known.is_only_responses:
            return True
        rules = known.reasoner
        if rules is None:
            return False
        effort = asked_effort(params) or rules.default_effort
        has_functions = any(tool.get("type") == "function" for tool in params.get("tools") or ())
        can_reason = effort != "none" or not rules.can_turn_off
        return can_reason and (has_functions or effort == "max")

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself, in whichever dialect."""
        return self._known(model).able

    def remembering(self) -> "OpenAI":
        """The same provider, which finds out once what is known of a model."""
        return msgspec.structs.replace(self, chat=self.chat.remembering(), memo=Memo())

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request` in the dialect that takes it."""
        if self.needs_responses(request):
            return self.responses.build_request(request, credentials)
        return self.chat.build_request(request, credentials)  # without `provider_state`

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        dialect = self.responses if self.needs_responses(request) else self.chat
        return dialect.stream_decoder(request, new_id)

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The call that asks for embeddings."""
        return self.chat.build_embeddings_requests(request, credentials)

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in an answer. Raises ProviderBadReplyError."""
        return self.chat.parse_embeddings(body)

    def _known(self, model: str) -> _Known:
        found = self._found
        return found(model) if self.memo is None else self.memo.of(model, found)

    def _found(self, model: str) -> _Known:
        name, rules = model.lower(), self.responses.rules(model)
        is_fixed = rules is ANY_MODEL or FIXED_EFFORT.match(name) is not None
        return _Known(
            is_only_responses=ONLY_RESPONSES.match(name) is not None,
            reasoner=None if is_fixed else rules,
            able=rules.abilities or self.chat.capabilities(model),
        )


OPENAI_BY_REQUEST: Final = OpenAI()
