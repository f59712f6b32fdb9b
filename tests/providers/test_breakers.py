"""Circuit breakers: the numbers by which they open and close, against a model that only remembers."""

from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.breakers import (
    BREAKERS_MAX,
    Breaker,
    Breakers,
    Call,
    Key,
    State,
)
from tests.fakes import FakeClock

KEY: Final = Key("openai", "https://api.openai.com/v1", "gpt-4o")
FAILURES: Final = (ProviderUnavailableError, ProviderTimeoutError, ProviderBadReplyError)
ANSWERS: Final = (
    ProviderRejectedError,
    ProviderAuthenticationError,
    ProviderPermissionDeniedError,
)


def error(kind: type[ProviderError], retry_after_s: float | None = None) -> ProviderError:
    """What an attempt came to."""
    return kind("The test says no.", provider="openai", retry_after_s=retry_after_s)


DOWN: Final = error(ProviderUnavailableError)


class Rig:
    """A breaker, the clock it reads, and the states it went through."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.states: list[State] = []
        self.breaker = Breaker(KEY, self.clock, self._note)

    def _note(self, provider: str, model: str, state: State) -> None:
        assert (provider, model) == ("openai", "gpt-4o")
        self.states.append(state)

    def calls(self, outcomes: str) -> None:
        """Calls that are answered (`.`) or fail (`x`), one after the other."""
        for outcome in outcomes:
            call = self.breaker.admit()
            if outcome == ".":
                call.answered()
            else:
                call.failed(DOWN)

    def refusal(self) -> ProviderError:
        """Why no call is let through."""
        with pytest.raises(ProviderError) as caught:
            self.breaker.admit()
        return caught.value


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("xxxxxxxxx", False),  # nine calls say nothing yet
        ("xxxxxxxxxx", True),
        (".....xxxxx", True),
        ("......xxxx", False),
        ("......xxxxx", False),
        ("......xxxxxx", True),
        ("xxxxxxxxx.", True),
        ("x" * 5 + "." * 5, True),
    ],
)
def test_opens_when_half_of_at_least_ten_calls_have_failed(
    rig: Rig, outcomes: str, opens: bool
) -> None:
    """Not with fewer calls, and not with fewer failures."""
    rig.calls(outcomes)

    assert (rig.breaker.state is State.OPEN) == opens


def test_calls_of_the_last_thirty_seconds_count(rig: Rig) -> None:
    """An older failure is forgotten, to the moment."""
    rig.calls("xxxxx....")
    rig.clock.advance(29.999)
    within = Rig()
    within.calls("xxxxx....")
    within.clock.advance(29.999)

    within.calls(".")
    rig.clock.advance(0.001)
    rig.calls("....................xxxxx")

    assert within.breaker.state is State.OPEN
    assert rig.breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", FAILURES)
def test_what_counts_as_a_failure(rig: Rig, kind: type[ProviderError]) -> None:
    """Whatever keeps an answer from coming."""
    for _ in range(10):
        rig.breaker.admit().failed(error(kind))

    assert rig.breaker.state is State.OPEN


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_refusal_is_an_answer(rig: Rig, kind: type[ProviderError]) -> None:
    """A provider that says no is well."""
    rig.calls("xxxx")
    for _ in range(6):
        rig.breaker.admit().failed(error(kind))

    assert rig.breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", [ProviderRateLimitedError, ProviderQuotaExceededError])
def test_limits_and_credit_are_not_counted(rig: Rig, kind: type[ProviderError]) -> None:
    """Neither as failures nor as answers."""
    for _ in range(20):
        rig.breaker.admit().failed(error(kind))
    rig.calls("xxxxxxxxx")
    closed = rig.breaker.state

    rig.calls("x")

    assert (closed, rig.breaker.state) == (State.CLOSED, State.OPEN)


def test_calls_that_nobody_waited_for_are_not_counted(rig: Rig) -> None:
    """A caller who leaves says nothing about the provider."""
    for _ in range(20):
        rig.breaker.admit().dropped()
    rig.calls("xxxxxxxxx")

    assert rig.breaker.state is State.CLOSED


def test_a_stream_that_breaks_off_is_a_failure(rig: Rig) -> None:
    """Its call was answered, and is taken back; it is one call all the same."""
    calls = [rig.breaker.admit() for _ in range(10)]
    for call in calls:
        call.answered()
    for call in calls[:4]:
        call.failed(DOWN)
    before = rig.breaker.state

    calls[4].failed(DOWN)

    assert (before, rig.breaker.state) == (State.CLOSED, State.OPEN)


def test_open_lets_nothing_through_and_says_for_how_long(rig: Rig) -> None:
    """A 503 that is not worth another try here, with the time that is left."""
    rig.calls("x" * 10)
    rig.clock.advance(1.5)

    refusal = rig.refusal()

    assert isinstance(refusal, ProviderUnavailableError)
    assert refusal.code == "provider_unavailable"
    assert refusal.retry_after_s == pytest.approx(3.5)
    assert not refusal.is_retryable
    assert "openai is not asked for 'gpt-4o' at the moment" in refusal.message
    assert "Try again in 4 s" in refusal.message


def test_one_probe_finds_out(rig: Rig) -> None:
    """After the pause one call goes through, the others wait for what it comes to."""
    rig.calls("x" * 10)
    rig.clock.advance(5)

    probe = rig.breaker.admit()
    others = [rig.refusal().retry_after_s for _ in range(3)]
    probe.answered()
    rig.breaker.admit()

    assert others == [1, 1, 1]
    assert rig.states == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_a_probe_that_fails_doubles_the_pause(rig: Rig) -> None:
    """5, 10, 20, 40 and then 60 s; one that is answered begins anew."""
    pauses = []
    rig.calls("x" * 10)
    for _ in range(6):
        wait_s = rig.refusal().retry_after_s
        assert wait_s is not None
        pauses.append(round(wait_s, 6))
        rig.clock.advance(wait_s)
        rig.breaker.admit().failed(DOWN)
    rig.clock.advance(60)
    rig.calls("." + "x" * 9)

    assert pauses == [5, 10, 20, 40, 60, 60]
    assert rig.refusal().retry_after_s == 5


def test_a_probe_that_nobody_waits_for_makes_room_for_another(rig: Rig) -> None:
    """Else a caller who leaves would lock the model for ever."""
    rig.calls("x" * 10)
    rig.clock.advance(5)

    rig.breaker.admit().dropped()
    rig.breaker.admit().answered()

    assert rig.breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", [*ANSWERS, ProviderRateLimitedError, ProviderQuotaExceededError])
def test_a_probe_that_is_refused_was_answered(rig: Rig, kind: type[ProviderError]) -> None:
    """Whoever says no is there."""
    rig.calls("x" * 10)
    rig.clock.advance(5)

    rig.breaker.admit().failed(error(kind))

    assert rig.breaker.state is State.CLOSED


def test_what_comes_in_while_open_changes_nothing(rig: Rig) -> None:
    """Calls that were out when it opened."""
    late = [rig.breaker.admit() for _ in range(3)]
    rig.calls("x" * 10)

    late[0].failed(DOWN)
    late[1].answered()
    late[2].dropped()

    assert rig.refusal().retry_after_s == 5
    assert rig.states == [State.OPEN]


def test_a_rate_limit_makes_the_model_cool_down(rig: Rig) -> None:
    """For as long as the provider says, a minute at most; whoever has waited already goes on."""
    rig.breaker.admit().failed(error(ProviderRateLimitedError, 7))
    rig.clock.advance(3)

    refusal = rig.refusal()
    rig.breaker.admit(is_again=True).dropped()
    rig.clock.advance(4)
    rig.breaker.admit().failed(error(ProviderRateLimitedError, 3600))

    assert isinstance(refusal, ProviderRateLimitedError)
    assert refusal.retry_after_s == pytest.approx(4)
    assert refusal.is_retryable
    assert rig.refusal().retry_after_s == 60
    assert rig.states == []


def test_a_rate_limit_without_a_time_cools_nothing(rig: Rig) -> None:
    """The next call may be let in."""
    rig.breaker.admit().failed(error(ProviderRateLimitedError))

    rig.breaker.admit()


def test_each_model_at_each_address_has_its_own() -> None:
    """One that is down says nothing about the others."""
    breakers = Breakers(FakeClock())
    keys = [KEY, KEY._replace(model="other"), KEY._replace(base_url="https://gateway/v1")]

    assert len({id(breakers.of(key)) for key in keys}) == 3
    assert breakers.of(KEY) is breakers.of(Key(*KEY))


def test_made_up_models_are_forgotten_before_one_that_is_down() -> None:
    """Callers may name what they like: memory is bounded, and what is open stays open."""
    breakers = Breakers(FakeClock())
    for _ in range(10):
        breakers.of(KEY).admit().failed(DOWN)

    for number in range(2 * BREAKERS_MAX):
        breakers.of(KEY._replace(model=f"made-up-{number}"))

    assert len(breakers) == BREAKERS_MAX
    assert breakers.of(KEY).state is State.OPEN


# ----------------------------------------------------------------------------------------- a model


@dataclass
class Model:
    """All that ever happened, and the rules read off the page."""

    now: float = 1000.0
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    open_until: float | None = None
    pause: float = 5.0
    probe: Call | None = None

    def lets_through(self) -> bool:
        """Whether a call may go out now."""
        if self.open_until is None:
            return True
        return self.now >= self.open_until and self.probe is None

    def came_out(self, call: Call, failed: bool | None) -> None:
        """A call ended; None: nobody knows how."""
        if call is self.probe:
            self.probe = None
            if failed is None:
                return
            self.open_until = self.now + self._next_pause() if failed else None
            self.pause = self._next_pause() if failed else 5.0
            self.outcomes = []
        if failed is None or self.open_until is not None:
            return
        self.outcomes.append((self.now, failed))
        recent = [each for at, each in self.outcomes if at > self.now - 30]
        if len(recent) >= 10 and sum(recent) * 2 >= len(recent):
            self.open_until = self.now + self.pause
            self.outcomes = []

    def _next_pause(self) -> float:
        return min(60.0, self.pause * 2)


STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1, 2.5, 5, 10, 29.75, 60])),
        st.tuples(st.just("call"), st.sampled_from([1, 2, 8])),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 9), st.sampled_from("xxxx..?"))),
    ),
    min_size=1,
    max_size=120,
)


@given(steps=STEPS)
def test_breaker_is_its_model(steps: list[tuple[str, Any]]) -> None:
    """Whatever calls overlap, end and are dropped: it lets through what the rules let through."""
    rig, model = Rig(), Model()
    out: list[Call] = []
    for action, value in steps:
        if action == "wait":
            rig.clock.advance(value)
            model.now += value
        elif action == "end" and out:
            number, outcome = value
            call = out.pop(number % len(out))
            model.came_out(call, {"x": True, ".": False, "?": None}[outcome])
            if outcome == "x":
                call.failed(DOWN)
            elif outcome == ".":
                call.answered()
            else:
                call.dropped()
        for _ in range(value if action == "call" else 0):
            if model.lets_through():
                call = rig.breaker.admit()
                if model.open_until is not None:
                    model.probe = call
                out.append(call)
            else:
                assert isinstance(rig.refusal(), ProviderUnavailableError)
