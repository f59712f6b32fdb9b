"""From a name to who is asked, and in which order."""

from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.providers.client import Target, Timeouts
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Credentials
from ringside_proxy.services.model_routing import (
    ActiveProvider,
    AnswerRules,
    ModelRouter,
    Route,
    Slot,
)

NAMES: Final = ("openai", "groq", "mistral", "xai", "together")
REFS: Final = [ModelRef(name, "m") for name in NAMES]


def router(slot: Slot, on: tuple[str, ...] = NAMES, point: float = 0) -> ModelRouter:
    """A router with one slot, whose random number is `point` of the whole."""
    active = {
        name: ActiveProvider(
            provider=PROVIDERS[name],
            credentials=Credentials(base_url="http://provider/v1"),
            target=Target(provider=name, model=""),
        )
        for name in on
    }
    return ModelRouter(
        NAMES, active, {"s": slot}, AnswerRules(), uniform=lambda low, high: point * (high - low)
    )


def order(route: Route | None) -> list[str]:
    """Whose model is asked first, second, and so on."""
    found = []
    while route is not None:
        found.append(route.ref.provider)
        route = route.next
    return found


@given(weights=st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_each_model_goes_first_as_often_as_its_weight_says(weights: list[int]) -> None:
    """Exactly, over all the random numbers there are."""
    slot = Slot(models=tuple(zip(REFS, weights, strict=False)))
    total = sum(weights)

    steps = range(0, total, max(1, total // 40))
    firsts = [
        router(slot, point=(step + 0.5) / total).route("slot:s").ref.provider for step in steps
    ]

    edges = [sum(weights[: index + 1]) for index in range(len(weights))]
    expected = [
        NAMES[next(index for index, edge in enumerate(edges) if step < edge)] for step in steps
    ]
    assert firsts == expected


def test_the_others_follow_in_the_order_in_which_they_are_written() -> None:
    """Those that share first, then the fallbacks."""
    slot = Slot(models=((REFS[0], 1), (REFS[1], 1)), fallbacks=(REFS[2], REFS[3]))

    assert order(router(slot, point=0).route("slot:s")) == ["openai", "groq", "mistral", "xai"]
    assert order(router(slot, point=0.9).route("slot:s")) == ["groq", "openai", "mistral", "xai"]


def test_whoever_has_begun_goes_first() -> None:
    """Also a fallback; one that is gone from the slot, or off, is no longer asked."""
    slot = Slot(models=((REFS[0], 1), (REFS[1], 1)), fallbacks=(REFS[2],))

    assert order(router(slot).route("slot:s", "fc:mistral/m")) == ["mistral", "openai", "groq"]
    assert order(router(slot).route("slot:s", "fc:xai/m")) == ["openai", "groq", "mistral"]
    off = router(slot, on=("openai", "groq"))
    assert order(off.route("slot:s", "fc:mistral/m")) == ["openai", "groq"]


def test_only_the_last_one_waits_for_rate_limits() -> None:
    """Before it there is somebody else to ask."""
    route = router(Slot(models=((REFS[0], 1),), fallbacks=(REFS[1],))).route("slot:s")

    assert route.next is not None
    assert (route.target.has_next, route.next.target.has_next) == (True, False)


def test_a_slot_s_timeouts_replace_its_providers() -> None:
    """Those that it has; for all of its models."""
    slot = Slot(models=((REFS[0], 1),), fallbacks=(REFS[1],), timeouts={"first_byte_s": 3.0})

    route = router(slot).route("slot:s")

    assert route.next is not None
    for each in (route, route.next):
        assert each.target.timeouts == msgspec.structs.replace(Timeouts(), first_byte_s=3.0)


def test_a_model_by_its_own_name_has_nobody_behind_it() -> None:
    """Falling back is what slots are for."""
    assert order(router(Slot(models=((REFS[0], 1),))).route("fc:groq/m")) == ["groq"]
