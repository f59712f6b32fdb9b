"""Answers that are held to what was asked: what passes, what is asked for again, what a run makes of it."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderRejectedError,
    ProviderUnavailableError,
    ResponseSchemaValidationFailedError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    StateDelta,
    Support,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.settings.schema import SlotSettings
from tests.fakes import (
    FakeUpstream,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
    usage,
)
from tests.services.asker import Asker
from tests.services.limited import NATIVE_FORMATS, Stateful, able, row, state
from tests.services.rig import CLOCK, WEATHER, Json, Rig, payload, rigged

SCHEMA: Final[Json] = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "required": ["a"]}},
}
OBJECT: Final[Json] = {"type": "json_object"}
GOOD, BAD, WORSE = '{"a": 1}', '{"b": 2}', "I am not JSON"
DONE: Final = b"data: [DONE]\n\n"
CALL: Final = ("call_aaaaaaaa", "weather", "{}")
ONE_CALL: Final = TokenUsage(input_tokens=9, output_tokens=4)


def times(count: int) -> TokenUsage:
    """What `count` answers of the FakeUpstream consume."""
    return TokenUsage(input_tokens=9 * count, output_tokens=4 * count)


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def calls_of(deltas: list[Delta]) -> list[str | None]:
    return [delta.id for delta in deltas if isinstance(delta, ToolCallDelta) and delta.id]


async def test_unchecked_answer_comes_as_it_is_said(asker: Asker) -> None:
    """Nothing is held back where nothing has to be checked."""
    asker.upstream.enqueue(text_reply("Hello there you"))

    deltas = await asker.ask(row())

    words = [TextDelta("Hello"), TextDelta(" there"), TextDelta(" you")]
    assert deltas == [*words, Finish("stop"), UsageDelta(ONE_CALL, usage())]


@pytest.mark.parametrize("abilities", [{}, NATIVE_FORMATS], ids=["by words", "natively"])
@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("wanted", [SCHEMA, OBJECT], ids=["schema", "object"])
async def test_answer_is_asked_for_until_it_passes(
    asker: Asker, wanted: Json, attempts: int, abilities: Json
) -> None:
    """Only the answer that passed is told, in one batch, with the usage of all of them."""
    asker.upstream.enqueue(*[text_reply(WORSE)] * (attempts - 1), text_reply(GOOD))

    deltas = await asker.ask(row(able(**abilities)), response_format=wanted)

    assert text_of(deltas) == text_of(asker.batches[-1]) == GOOD
    assert asker.used == times(attempts)
    assert len(asker.upstream.requests) == len(asker.sent) == attempts


async def test_each_repair_shows_the_answer_before_it(asker: Asker) -> None:
    """The conversation does not grow with the attempts: the last answer and its faults are enough."""
    asker.upstream.enqueue(text_reply(BAD), text_reply(WORSE), text_reply(GOOD))

    await asker.ask(row(able(**NATIVE_FORMATS)), response_format=SCHEMA)

    first, second, third = (request.body["messages"] for request in asker.upstream.requests)
    assert [len(each) for each in (first, second, third)] == [1, 3, 3]
    assert (second[1]["content"], third[1]["content"]) == (BAD, WORSE)
    assert '"a" is a required property' in second[2]["content"]
    assert "not JSON" in third[2]["content"]


@pytest.mark.parametrize("repairs_max", [0, 1, 2])
async def test_answer_that_never_passes_is_an_error(asker: Asker, repairs_max: int) -> None:
    """After the last repair: with the last answer and its faults, once the usage has been told."""
    asker.upstream.enqueue(*[text_reply(WORSE)] * repairs_max, text_reply(BAD))

    with pytest.raises(ResponseSchemaValidationFailedError, match="response_format") as raised:
        await asker.ask(row(), repairs_max=repairs_max, response_format=SCHEMA)

    assert raised.value.content == BAD
    assert '"a" is a required property' in raised.value.message
    assert asker.used == times(repairs_max + 1)
    assert text_of([delta for batch in asker.batches for delta in batch]) == ""


REFUSAL: Final = stream_reply(
    chunk({"role": "assistant", "refusal": "I can't."}), chunk({}, "stop"), DONE
)
PASSES: dict[str, tuple[Any, str]] = {
    "a refusal": (REFUSAL, "stop"),
    "an answer that was cut": (text_reply('{"a": ', finish_reason="length"), "length"),
    "an answer that was filtered": (text_reply("", finish_reason="content_filter"), "content_filter"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "reason"), PASSES.values(), ids=PASSES)
async def test_answer_the_model_did_not_end_itself_passes(
    asker: Asker, reply: Any, reason: str
) -> None:
    """To ask again would not help: OpenAI gives these as they are, too."""
    asker.upstream.enqueue(reply)

    deltas = await asker.ask(row(), response_format=SCHEMA)

    assert [delta.reason for delta in deltas if isinstance(delta, Finish)] == [reason]
    assert len(asker.upstream.requests) == 1


async def test_call_passes_where_a_schema_was_wanted(asker: Asker) -> None:
    """The schema holds for answers in text; a call's arguments are the caller's to check."""
    asker.upstream.enqueue(tool_reply([CALL], text="One moment."))

    deltas = await asker.ask(row(), response_format=SCHEMA, tools=[WEATHER])

    assert calls_of(deltas) == ["call_aaaaaaaa"]


async def test_tools_in_the_schemas_way_are_left_out_of_its_repair(asker: Asker) -> None:
    """First both, the schema in words; then, for the answer in text, the schema alone."""
    asker.upstream.enqueue(text_reply(BAD), text_reply(GOOD))

    await asker.ask(row(able(json_schema=True)), response_format=SCHEMA, tools=[WEATHER])

    first, second = (request.body for request in asker.upstream.requests)
    assert ("tools" in first, "response_format" in first) == (True, False)
    assert ("tools" in second, "response_format" in second) == (False, True)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
async def test_forced_call_is_asked_for_until_it_comes(asker: Asker, choice: Any) -> None:
    """The model that only talks is asked again; the talk is not told."""
    asker.upstream.enqueue(text_reply("Sunny"), tool_reply([CALL]))

    deltas = await asker.ask(row(), tools=[WEATHER, CLOCK], tool_choice=choice)

    assert (calls_of(deltas), text_of(deltas)) == (["call_aaaaaaaa"], "")
    assert asker.used == times(2)
    assert all("tool_choice" not in request.body for request in asker.upstream.requests)


async def test_forced_call_that_never_comes_is_an_error(asker: Asker) -> None:
    """The error says that it was a call that was wanted."""
    asker.upstream.enqueue(text_reply("Sunny"), text_reply("Really"))

    with pytest.raises(ResponseSchemaValidationFailedError, match="tool_choice") as raised:
        await asker.ask(row(), repairs_max=1, tools=[WEATHER], tool_choice="required")

    assert raised.value.content == "Really"


@pytest.mark.parametrize("support", [Support.EMULATED, Support.NATIVE])
@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_later_calls_are_dropped_where_one_was_wanted(
    asker: Asker, support: Support, choice: str
) -> None:
    """Whoever allows no parallel calls gets one, also of a model that does not heed it."""
    asker.upstream.enqueue(tool_reply([CALL, ("call_bbbbbbbb", "clock", '{"x": 1}')]))
    provider = row(able(single_tool_call=support))

    deltas = await asker.ask(
        provider, tools=[WEATHER, CLOCK], tool_choice=choice, parallel_tool_calls=False
    )

    assert calls_of(deltas) == ["call_aaaaaaaa"]
    assert {delta.index for delta in deltas if isinstance(delta, ToolCallDelta)} == {0}
    sends_it = "parallel_tool_calls" in asker.upstream.requests[0].body
    assert sends_it is (support is Support.NATIVE)


async def test_state_of_the_answer_that_passed_is_the_one_that_is_told(asker: Asker) -> None:
    """What a rejected answer left belongs to an answer that nobody saw."""
    asker.upstream.enqueue(text_reply("Sunny"), tool_reply([CALL]))

    deltas = await asker.ask(Stateful(), tools=[WEATHER], tool_choice="required")

    assert [delta for delta in deltas if isinstance(delta, StateDelta)] == [StateDelta(state(2))]


async def test_provider_that_fails_during_a_repair_is_its_own_error(asker: Asker) -> None:
    """It is not the model's answer that was wrong then; what was consumed before has been told."""
    asker.upstream.enqueue(text_reply(BAD), error_reply(503))

    with pytest.raises(ProviderUnavailableError):
        await asker.ask(row(), response_format=SCHEMA)

    assert asker.used == ONE_CALL


async def test_usage_of_a_provider_that_says_none_is_estimated(asker: Asker) -> None:
    """An attempt without numbers counts as a guess, and marks the sum as one."""
    silent = stream_reply(chunk({"role": "assistant", "content": WORSE}), chunk({}, "stop"), DONE)
    asker.upstream.enqueue(silent, text_reply(GOOD))

    await asker.ask(row(), response_format=SCHEMA)

    assert asker.used is not None
    assert asker.used.is_estimated
    assert asker.used.input_tokens > ONE_CALL.input_tokens
    assert asker.used.output_tokens > ONE_CALL.output_tokens


# Runs


def used_by(calls: int) -> Json:
    """The `usage` of a run whose model was asked that often."""
    spent = usage(9 * calls, 4 * calls)
    return {name: spent[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_run_says_only_what_passed(rig: Rig, upstream: FakeUpstream, attempts: int) -> None:
    """One message, one step, and the usage of every attempt on both."""
    upstream.enqueue(*[text_reply(BAD)] * (attempts - 1), text_reply(GOOD))
    thread = await rig.thread("Hi")

    run = await rig.run(thread, await rig.assistant(), response_format=SCHEMA)

    [step] = await rig.steps(run)
    assert (run["status"], await rig.texts(thread)) == ("completed", ["Hi", GOOD])
    assert run["usage"].items() >= used_by(attempts).items()
    assert step["usage"] == run["usage"]


async def test_streamed_run_tells_only_what_passed(rig: Rig, upstream: FakeUpstream) -> None:
    """Not one event of an answer that was rejected reaches the reader."""
    upstream.enqueue(text_reply(WORSE), text_reply(GOOD))

    events = await rig.stream_run(
        await rig.thread("Hi"), await rig.assistant(), response_format=SCHEMA
    )

    deltas = [data["delta"]["content"][0]["text"] for name, data in events if name == "message.delta"]  # fmt: skip
    assert "".join(delta["value"] for delta in deltas) == GOOD
    assert WORSE.rsplit(maxsplit=1)[-1] not in str(events)
    assert payload(events, "run.completed")["usage"].items() >= used_by(2).items()


@pytest.mark.parametrize("is_streamed", [False, True], ids=["polled", "streamed"])
async def test_run_whose_answer_never_passes_fails(
    rig: Rig, upstream: FakeUpstream, is_streamed: bool
) -> None:
    """It says why, shows what all attempts consumed, says nothing on the thread, and frees it."""
    upstream.enqueue(*[text_reply(BAD)] * 3)
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    if is_streamed:
        events = await rig.stream_run(thread, assistant, response_format=SCHEMA)
        run = payload(events, "run.failed")
        assert "message.created" not in [name for name, _ in events]
    else:
        run = await rig.run(thread, assistant, response_format=SCHEMA)

    assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
    assert '"a" is a required property' in run["last_error"]["message"]
    assert run["usage"].items() >= used_by(3).items()
    assert await rig.texts(thread) == ["Hi"]
    await rig.require_free(thread)


async def test_run_with_a_broken_schema_fails_unasked(rig: Rig, upstream: FakeUpstream) -> None:
    """A schema that is none is the caller's mistake, and costs nothing."""
    broken = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "objekt"}}}
    thread = await rig.thread("Hi")

    run = await rig.run(thread, await rig.assistant(), response_format=broken)

    assert (run["status"], run["last_error"]["code"]) == ("failed", "invalid_prompt")
    assert "objekt" in run["last_error"]["message"]
    assert upstream.requests == []
    await rig.require_free(thread)


@pytest.fixture
def stateful(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fc:openai/…` is served by a provider that leaves a state with every answer."""
    monkeypatch.setitem(PROVIDERS, "openai", Stateful())


def given_back(rig: Rig, number: int = -1) -> list[Any]:
    """The states in a request, by its messages with calls."""
    return [each.get("provider_state") for each in rig.seen(number) if each.get("tool_calls")]


@pytest.mark.usefixtures("stateful")
async def test_state_comes_back_within_its_run(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Each round gets the states of all rounds before it, each with its own call, and no other."""
    upstream.enqueue(
        tool_reply([CALL, ("call_bbbbbbbb", "clock", "{}")]),
        tool_reply([("call_cccccccc", "clock", "{}")], text="And now the time."),
        text_reply("Sunny"),
    )
    async with rigged(tmp_path, upstream) as rig:
        assistant = await rig.assistant(tools=[WEATHER, CLOCK])
        run = await rig.run(await rig.thread("Hi"), assistant)
        run = await rig.submit(run, call_aaaaaaaa="sunny", call_bbbbbbbb="noon")
        run = await rig.submit(run, call_cccccccc="noon")

        assert run["status"] == "completed"
        assert given_back(rig, 0) == []
        assert given_back(rig, 1) == [state(1)]
        assert given_back(rig, 2) == [state(1), state(2)]


@pytest.mark.usefixtures("stateful")
async def test_state_is_not_given_to_a_later_run(tmp_path: Path, upstream: FakeUpstream) -> None:
    """What the model thought belongs to the turn it was thought in."""
    upstream.enqueue(tool_reply([CALL]), text_reply("Sunny"), text_reply("Still sunny"))
    async with rigged(tmp_path, upstream) as rig:
        thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
        await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sunny")
        await rig.say(thread, "And now?")
        await rig.run(thread, assistant)

        assert given_back(rig, 1) == [state(1)]
        assert given_back(rig, 2) == [None]


@pytest.mark.usefixtures("stateful")
async def test_state_survives_a_restart(tmp_path: Path, upstream: FakeUpstream) -> None:
    """The outputs of a run that waited may come to another process on the same store."""
    upstream.enqueue(tool_reply([CALL]), text_reply("Sunny"))
    async with rigged(tmp_path, upstream) as rig:
        run = await rig.run(await rig.thread("Hi"), await rig.assistant(tools=[WEATHER]))
    async with rigged(tmp_path, upstream) as rig:
        run = await rig.submit(run, call_aaaaaaaa="sunny")

        assert run["status"] == "completed"
        assert given_back(rig) == [state(1)]


@pytest.mark.usefixtures("stateful")
async def test_state_is_not_given_to_another_model(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A slot that means another model by the time the outputs come gets no state of the first."""
    upstream.enqueue(tool_reply([CALL]), text_reply("Sunny"))
    before, after = (
        {"smart": SlotSettings(model=f"fc:openai/{model}")} for model in ("gpt-4o", "gpt-4.1")
    )
    async with rigged(tmp_path, upstream, slots=before) as rig:
        assistant = await rig.assistant(model="slot:smart", tools=[WEATHER])
        run = await rig.run(await rig.thread("Hi"), assistant)
    async with rigged(tmp_path, upstream, slots=after) as rig:
        run = await rig.submit(run, call_aaaaaaaa="sunny")

        assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4.1"]
        assert run["status"] == "completed"
        assert given_back(rig) == [None]


def refused(code: str) -> Any:
    """A provider's refusal with a code that adapters give."""
    return error_reply(400, code)


async def test_schema_that_the_model_refuses_is_asked_for_in_words(asker: Asker) -> None:
    """A schema may be beyond a provider that takes schemas; the answer is held to it all the same."""
    asker.upstream.enqueue(refused("schema_not_supported"), text_reply(GOOD))

    deltas = await asker.ask(row(able(**NATIVE_FORMATS)), response_format=SCHEMA)

    first, second = (json.loads(request.body) for request in asker.sent)
    assert "response_format" in first
    assert "response_format" not in second
    assert '"required": ["a"]' in second["messages"][0]["content"]
    assert "".join(each.text for each in deltas if isinstance(each, TextDelta)) == GOOD


async def test_state_that_the_model_refuses_is_left_out(asker: Asker) -> None:
    """Thinking that is bound to another conversation costs its text, not the answer."""
    asker.upstream.enqueue(refused("provider_state_rejected"), text_reply("Hello"))
    asker.messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hm", "provider_state": {"kept": 1}},
        {"role": "user", "content": "And?"},
    ]

    deltas = await asker.ask(row(able(**NATIVE_FORMATS)))

    assert len(asker.upstream.requests) == 2
    assert any(isinstance(delta, TextDelta) for delta in deltas)


async def test_refusal_of_state_that_was_not_given_is_an_error(asker: Asker) -> None:
    """There is nothing to leave out: asking again would be refused again."""
    asker.upstream.enqueue(refused("provider_state_rejected"))

    with pytest.raises(ProviderRejectedError):
        await asker.ask(row(able(**NATIVE_FORMATS)))

    assert len(asker.upstream.requests) == 1


async def test_several_choices_are_refused_where_one_is_checked(asker: Asker) -> None:
    """The others would be paid for and thrown away."""
    with pytest.raises(InvalidRequestError) as error:
        await asker.ask(row(able(**NATIVE_FORMATS)), response_format=OBJECT, n=2)

    assert (error.value.param, error.value.code) == ("n", "unsupported_parameter")
