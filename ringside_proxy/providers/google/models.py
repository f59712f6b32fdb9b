"""What each family of Gemini models takes and does by itself, as data. Pure.

Source: https://github.com/googleapis/python-genai (types.py of 3.4.0),
https://ai.google.dev/gemini-api/docs/thought-signatures, and for behaviour per model the tables of
litellm, the AI SDK and pydantic-ai, read 2026-11-21.
"""

from typing import Final

import msgspec

from ringside_proxy.providers.types import Capabilities, Support

Renamed = tuple[tuple[str, str], ...]

SAMPLING: Final = (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK"))
PENALTIES: Final = (
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens of thinking may be set. Without `can_turn_off`, none means the least."""

    least: int
    most: int
    can_turn_off: bool = True


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for models whose names begin with one of `prefixes`; the longest decides."""

    prefixes: tuple[str, ...]
    abilities: Capabilities
    levels: tuple[str, ...] = ()
    """Words for `thinkingLevel`, the least first; never sent beside a budget."""
    budget: Budget | None = None
    renamed: Renamed = SAMPLING
    """Numbers by OpenAI's name → Gemini's; those that are not here are refused or ignored."""
    has_system: bool = True
    """Takes `systemInstruction`."""
    has_call_ids: bool = True
    """Takes `id` in calls and their results; the others refuse it."""
    wants_signatures: bool = True
    """Refuses a call of its own that comes back without a thought signature."""
    has_validated_mode: bool = True
    """Can hold calls to their schema without being forced to call."""


FULL: Final = Capabilities(
    tools=Support.NATIVE,
    tool_choice_none=Support.NATIVE,
    tool_choice_required=Support.NATIVE,
    tool_choice_named=Support.NATIVE,
    json_object=True,
    json_schema=True,
    json_schema_with_tools=True,
    image_urls=True,
    image_data=True,
    reasoning=True,
    prompt_caching=True,
)
V2_5: Final = msgspec.structs.replace(FULL, json_schema_with_tools=False)
V2_0: Final = msgspec.structs.replace(V2_5, image_urls=False, reasoning=False, prompt_caching=False)

LEVELS: Final = ("low", "medium", "high")
ALL_LEVELS: Final = ("minimal", *LEVELS)

UNKNOWN: Final = Family(prefixes=("",), abilities=FULL, levels=LEVELS)
"""A name that says no generation, such as `gemini-flash-latest`, is one of the newest."""


def _v2_5(prefix: str, budget: Budget) -> Family:
    return Family(
        prefixes=(prefix,),
        abilities=V2_5,
        budget=budget,
        has_call_ids=False,
        wants_signatures=False,
    )


FAMILIES: Final = (
    UNKNOWN,
    Family(
        prefixes=("gemini-3-flash", "gemini-3.1-flash-lite", "gemini-3.5-flash"),
        abilities=FULL,
        levels=ALL_LEVELS,
    ),
    # These ignore sampling parameters; to the other models from 3 on they are merely deprecated.
    Family(
        prefixes=("gemini-3.5-flash-lite", "gemini-3.6-flash"),
        abilities=FULL,
        levels=ALL_LEVELS,
        renamed=(),
    ),
    Family(prefixes=("gemini-3.8-flash",), abilities=FULL, levels=LEVELS, renamed=()),
    _v2_5("gemini-2.5-pro", Budget(least=128, most=32_768, can_turn_off=False)),
    _v2_5("gemini-2.5-flash", Budget(least=1, most=24_576)),
    _v2_5("gemini-2.5-flash-lite", Budget(least=512, most=24_576)),
    Family(
        prefixes=("gemini-1", "gemini-2.0"),
        abilities=V2_0,
        renamed=(*SAMPLING, *PENALTIES),
        has_call_ids=False,
        wants_signatures=False,
        has_validated_mode=False,
    ),
    Family(
        prefixes=("gemma",),
        abilities=Capabilities(tools=Support.EMULATED),
        has_system=False,
        has_call_ids=False,
        wants_signatures=False,
        has_validated_mode=False,
    ),
    Family(prefixes=("gemini-embedding", "text-embedding"), abilities=Capabilities()),
)


def family_of(model: str) -> Family:
    """The family that a model belongs to."""
    name = model.removeprefix("models/").lower()
    fitting = (
        (len(prefix), family)
        for family in FAMILIES
        for prefix in family.prefixes
        if name.startswith(prefix)
    )
    return max(fitting, key=lambda pair: pair[0], default=(0, UNKNOWN))[1]
