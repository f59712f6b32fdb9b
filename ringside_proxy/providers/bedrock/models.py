"""The model families on Bedrock, and what each takes on Converse: one table.

Source: the service model of botocore 1.44.5, Anthropic's SDK and the libraries that call Bedrock,
read 2026-11-21. From memory, and not checked against
https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html:
which models outside Claude and Nova see, which know no tools, and that Nova caches no tools.
"""

import re
from enum import Enum
from typing import Final

import msgspec

from ringside_proxy.providers.types import Capabilities, Support

REGION: Final = re.compile(r"(?:us|us-gov|eu|apac|ap|jp|au|ca|sa|me|af|global)\.(?=.+\.)")
"""What an inference profile puts before the model's own name."""


class Thinking(Enum):
    """How a family is told to reason."""

    NONE = "none"
    CLAUDE_BUDGET = "a number of tokens"
    CLAUDE_ADAPTIVE = "adaptive, with an effort"
    EFFORT = "reasoning_effort"
    NESTED_EFFORT = "reasoning.effort"
    NOVA = "reasoningConfig"


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What models whose names begin alike have in common.

    `efforts` are the words they know, `off` what turns Claude's adaptive thinking off.
    """

    abilities: Capabilities
    is_claude: bool = False
    thinking: Thinking = Thinking.NONE
    efforts: tuple[str, ...] = ()
    off: str | None = None
    takes_sampling: bool = True
    takes_both_samplings: bool = True
    """`temperature` and `top_p` may be sent together."""
    takes_stop: bool = True
    caches_tools: bool = False
    has_lone_results: bool = False
    """Tool results fill a message of their own."""
    is_mistral: bool = False
    """Ids of nine letters and digits, results as objects."""


PLAIN: Final = Capabilities(tools=Support.EMULATED)
TOOLS: Final = Capabilities(tools=Support.NATIVE)
SIGHT: Final = msgspec.structs.replace(TOOLS, image_data=True)
ANY_TOOL: Final = msgspec.structs.replace(TOOLS, tool_choice_required=Support.NATIVE)
NOVA: Final = msgspec.structs.replace(
    ANY_TOOL, tool_choice_named=Support.NATIVE, prompt_caching=True
)
NOVA_SIGHT: Final = msgspec.structs.replace(NOVA, image_data=True)
CLAUDE: Final = msgspec.structs.replace(
    NOVA_SIGHT, tool_choice_none=Support.NATIVE, single_tool_call=Support.NATIVE
)
CLAUDE_SCHEMAS: Final = msgspec.structs.replace(CLAUDE, json_schema=True)
"""Converse holds their answers to a schema; for the newest Claude that is not certain."""
UNFORCED: Final = msgspec.structs.replace(
    CLAUDE, tool_choice_required=Support.EMULATED, tool_choice_named=Support.EMULATED
)

ALL_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")


def _reasoning(abilities: Capabilities) -> Capabilities:
    return msgspec.structs.replace(abilities, reasoning=True)


def _old_claude(*, takes_both: bool = True, abilities: Capabilities = CLAUDE) -> Family:
    return Family(
        abilities=_reasoning(abilities),
        is_claude=True,
        thinking=Thinking.CLAUDE_BUDGET,
        takes_both_samplings=takes_both,
        caches_tools=True,
    )


def _new_claude(
    *,
    off: str | None = None,
    abilities: Capabilities = CLAUDE,
    efforts: tuple[str, ...] = ALL_EFFORTS,
    takes_sampling: bool = False,
) -> Family:
    return Family(
        abilities=_reasoning(abilities),
        is_claude=True,
        thinking=Thinking.CLAUDE_ADAPTIVE,
        efforts=efforts,
        off=off,
        takes_sampling=takes_sampling,
        takes_both_samplings=False,
        caches_tools=True,
    )


def _openai_like(abilities: Capabilities, *, efforts: tuple[str, ...]) -> Family:
    return Family(
        abilities=_reasoning(abilities),
        thinking=Thinking.NESTED_EFFORT,
        efforts=efforts,
        takes_sampling=False,
        takes_stop=False,
    )


ON_OFF: Final = ("none", "high")

FAMILIES: Final[dict[str, Family]] = {
    "anthropic.claude": _new_claude(abilities=UNFORCED),  # unknown ones are taken for the newest
    "anthropic.claude-3": Family(
        abilities=msgspec.structs.replace(CLAUDE, prompt_caching=False), is_claude=True
    ),
    "anthropic.claude-3-7": _old_claude(),
    "anthropic.claude-sonnet-4": _old_claude(),
    "anthropic.claude-opus-4": _old_claude(takes_both=False),
    "anthropic.claude-haiku-4-5": _old_claude(takes_both=False, abilities=CLAUDE_SCHEMAS),
    "anthropic.claude-sonnet-4-5": _old_claude(takes_both=False, abilities=CLAUDE_SCHEMAS),
    "anthropic.claude-opus-4-5": _old_claude(takes_both=False, abilities=CLAUDE_SCHEMAS),
    "anthropic.claude-sonnet-4-6": _new_claude(
        abilities=CLAUDE_SCHEMAS,
        takes_sampling=True,
        efforts=("low", "medium", "high", "max"),
    ),
    "anthropic.claude-opus-4-6": _new_claude(
        abilities=CLAUDE_SCHEMAS,
        takes_sampling=True,
        efforts=("low", "medium", "high", "max"),
    ),
    "anthropic.claude-opus-4-7": _new_claude(off="disabled"),
    "anthropic.claude-opus-4-8": _new_claude(off="disabled"),
    "anthropic.claude-sonnet-5": _new_claude(off="disabled"),
    "anthropic.claude-opus-5": _new_claude(off="disabled"),
    "anthropic.claude-haiku-5-5": _new_claude(off="disabled"),
    "anthropic.claude-sonnet-5-5": _new_claude(off="between_tools", abilities=UNFORCED),
    "anthropic.claude-opus-5-5": _new_claude(abilities=UNFORCED),
    "anthropic.claude-fable-5": _new_claude(),
    "anthropic.claude-mythos-5": _new_claude(),
    "anthropic.claude-fable-5-1": _new_claude(abilities=UNFORCED),
    "anthropic.claude-fable-5-2": _new_claude(abilities=UNFORCED),
    "anthropic.claude-mythos-5-1": _new_claude(abilities=UNFORCED),
    "anthropic.claude-mythos-5-2": _new_claude(abilities=UNFORCED),
    "amazon.nova": Family(abilities=NOVA_SIGHT),
    "amazon.nova-micro": Family(abilities=NOVA),
    "amazon.nova-2": Family(
        abilities=_reasoning(NOVA_SIGHT), thinking=Thinking.NOVA, efforts=("low", "medium", "high")
    ),
    "amazon.titan": Family(abilities=PLAIN),
    "openai.gpt-oss": Family(
        abilities=_reasoning(TOOLS), thinking=Thinking.EFFORT, efforts=("low", "medium", "high")
    ),
    "openai.gpt": _openai_like(SIGHT, efforts=("none", "low", "medium", "high", "xhigh")),
    "xai.grok": _openai_like(ANY_TOOL, efforts=("low", "medium", "high")),
    "deepseek.r1": Family(abilities=PLAIN),
    "deepseek.": Family(abilities=TOOLS),
    "deepseek.v3.2": Family(abilities=_reasoning(TOOLS), thinking=Thinking.EFFORT, efforts=ON_OFF),
    "zai.glm": Family(abilities=_reasoning(ANY_TOOL), thinking=Thinking.EFFORT, efforts=ON_OFF),
    "moonshot": Family(abilities=ANY_TOOL),
    "meta.llama": Family(abilities=TOOLS, has_lone_results=True),
    "meta.llama2": Family(abilities=PLAIN),
    "meta.llama3-8b": Family(abilities=PLAIN),
    "meta.llama3-70b": Family(abilities=PLAIN),
    "meta.llama3-2-11b": Family(abilities=SIGHT, has_lone_results=True),
    "meta.llama3-2-90b": Family(abilities=SIGHT, has_lone_results=True),
    "meta.llama4": Family(abilities=SIGHT, has_lone_results=True),
    "mistral.": Family(abilities=TOOLS, has_lone_results=True, is_mistral=True),
    "mistral.mistral-7b": Family(abilities=PLAIN, is_mistral=True),
    "mistral.mixtral": Family(abilities=PLAIN, is_mistral=True),
    "mistral.pixtral": Family(abilities=SIGHT, has_lone_results=True, is_mistral=True),
    "writer.": Family(abilities=TOOLS, has_lone_results=True),
    "cohere.command-text": Family(abilities=PLAIN),
    "cohere.command-light": Family(abilities=PLAIN),
    "ai21.j2": Family(abilities=PLAIN),
}
"""By the beginning of the model's name; the longest that fits counts."""

OTHER: Final = Family(abilities=TOOLS)
"""A name that says nothing, such as an application inference profile: what Converse is for."""


def family_name(model: str) -> str:
    """The model's own name: without the region, or the rest of the ARN."""
    return REGION.sub("", model.rpartition("/")[2], count=1)


def family_of(model: str) -> Family:
    """The row for a model id, an inference profile or an ARN."""
    name = family_name(model)
    return FAMILIES[best] if (best := _longest(name)) is not None else OTHER


def _longest(name: str) -> str | None:
    return max((prefix for prefix in FAMILIES if name.startswith(prefix)), key=len, default=None)
