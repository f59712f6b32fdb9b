"""What each of Anthropic's models takes and does by itself, as data. Pure.

Source: https://platform.claude.com/docs/en/about-claude/models/overview,
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking,
https://platform.claude.com/docs/en/build-with-claude/effort, the model list of anthropic 2.11.0 and
the live-verified profiles of pydantic-ai 2.68.0, read 2026-11-21.
"""

import re
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from ringside_proxy.providers.types import Capabilities, Support

Off = Literal["omit", "disabled", "between_tools", "never"]

SNAPSHOT: Final = re.compile(r"(?:[-@]\d{8}|-latest)$")

FULL: Final = Capabilities(
    tools=Support.NATIVE,
    tool_choice_none=Support.NATIVE,
    tool_choice_required=Support.NATIVE,
    tool_choice_named=Support.NATIVE,
    single_tool_call=Support.NATIVE,
    json_schema=True,
    json_schema_with_tools=True,
    image_urls=True,
    image_data=True,
    reasoning=True,
    prompt_caching=True,
)
UNFORCED: Final = replace(
    FULL, tool_choice_required=Support.EMULATED, tool_choice_named=Support.EMULATED
)
NO_SCHEMA: Final = replace(FULL, json_schema=False, json_schema_with_tools=False)


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One model. The defaults are what the newest have in common."""

    abilities: Capabilities = FULL
    output_tokens_max: int = 128_000
    samplings_max: Literal[0, 1, 2] = 0
    """How many of `temperature` and `top_p` may be sent; any is fatal to the newer models."""
    thinking_types: frozenset[str] = frozenset({"adaptive"})
    """What `thinking.type` may be; empty for a model that cannot reason."""
    off: Off = "disabled"
    """What turns thinking off. `never`: it cannot be, so that the least effort stands for none."""
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    """The words for `output_config.effort`, the least first; any is fatal where there is none."""
    has_system_turns: bool = False
    """A system message may stand in the middle; elsewhere it is refused, or has little effect."""

    @property
    def is_adaptive(self) -> bool:
        """Decides by itself how much to think, by an effort; the others take a budget."""
        return "adaptive" in self.thinking_types

    @property
    def can_be_forced(self) -> bool:
        """Takes a `tool_choice` that demands a call."""
        return self.abilities.tool_choice_required is Support.NATIVE


BUDGETED: Final = Family(
    output_tokens_max=64_000,
    samplings_max=1,
    thinking_types=frozenset({"enabled", "disabled"}),
    off="omit",
    efforts=(),
)
BOTH_WAYS: Final = Family(
    samplings_max=1,
    thinking_types=frozenset({"adaptive", "enabled", "disabled"}),
    off="omit",
    efforts=("low", "medium", "high", "max"),
)
ADAPTIVE: Final = Family(thinking_types=frozenset({"adaptive", "disabled"}))
ADAPTIVE_IN_TURNS: Final = replace(ADAPTIVE, has_system_turns=True)
ALWAYS_ON: Final = Family(off="never", has_system_turns=True)
UNFORCED_ALWAYS_ON: Final = replace(ALWAYS_ON, abilities=UNFORCED)
FIRST_4: Final = replace(BUDGETED, abilities=NO_SCHEMA, samplings_max=2)

FAMILIES: Final[dict[str, Family]] = {
    "claude-3-7-sonnet": FIRST_4,
    "claude-sonnet-4": FIRST_4,
    "claude-sonnet-4-0": FIRST_4,
    "claude-opus-4": replace(FIRST_4, output_tokens_max=32_000),
    "claude-opus-4-0": replace(FIRST_4, output_tokens_max=32_000),
    "claude-opus-4-1": replace(BUDGETED, abilities=NO_SCHEMA, output_tokens_max=32_000),
    "claude-haiku-4-5": BUDGETED,
    "claude-sonnet-4-5": BUDGETED,
    "claude-opus-4-5": replace(BUDGETED, efforts=("low", "medium", "high")),
    "claude-sonnet-4-6": BOTH_WAYS,
    "claude-opus-4-6": BOTH_WAYS,
    "claude-opus-4-7": ADAPTIVE,
    "claude-opus-4-8": ADAPTIVE_IN_TURNS,
    "claude-sonnet-5": ADAPTIVE,
    "claude-opus-5": ADAPTIVE_IN_TURNS,
    "claude-haiku-5-5": ADAPTIVE,
    "claude-sonnet-5-5": Family(
        abilities=UNFORCED,
        thinking_types=frozenset({"adaptive", "between_tools"}),
        off="between_tools",
    ),
    "claude-opus-5-5": UNFORCED_ALWAYS_ON,
    "claude-fable-5": ALWAYS_ON,
    "claude-mythos-5": ALWAYS_ON,
    "claude-fable-5-1": UNFORCED_ALWAYS_ON,
    "claude-fable-5-2": UNFORCED_ALWAYS_ON,
    "claude-mythos-5-1": UNFORCED_ALWAYS_ON,
    "claude-mythos-5-2": UNFORCED_ALWAYS_ON,
}
"""By the model's name without its snapshot's date. Whole names: `claude-opus-5` is no beginning of
`claude-opus-5-5`, and a successor that is not here yet takes less than its predecessor, not more."""

OLD: Final = replace(
    BUDGETED,
    abilities=replace(NO_SCHEMA, reasoning=False),
    output_tokens_max=8192,
    samplings_max=2,
    thinking_types=frozenset(),
)
OLD_NAMES: Final = ("claude-2", "claude-3", "claude-instant")
SMALL_NAMES: Final = ("claude-3-haiku", "claude-3-opus", "claude-3-sonnet", "claude-2")
SMALL: Final = replace(OLD, output_tokens_max=4096)

NEWEST: Final = replace(UNFORCED_ALWAYS_ON, has_system_turns=False)
"""Of a model that is not known, what every one of the newest takes."""


def family_of(model: str) -> Family:
    """The row for a model, with or without its snapshot's date."""
    name = SNAPSHOT.sub("", model.lower())
    if (family := FAMILIES.get(name)) is not None:
        return family
    if name.startswith(SMALL_NAMES):
        return SMALL
    return OLD if name.startswith(OLD_NAMES) else NEWEST
