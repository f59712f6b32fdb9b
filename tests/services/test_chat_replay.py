"""A streamed chat completion in few chunks: a role, what was said, an end, for each choice."""

from itertools import pairwise
from typing import Any, Final

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.services.chat_replay import ChatReplay
from tests.conformance.stream import check_chat_stream
from tests.fakes import chunk, frame, usage

Json = dict[str, Any]

DONE: Final = b"data: [DONE]\n\n"
ROLE: Final[Json] = {"role": "assistant", "content": "", "refusal": None}


def replayed(*chunks: Json, end: bytes = DONE) -> bytes:
    """The stream of these chunks, in short."""
    kept = ChatReplay()
    kept.feed(b"".join(map(frame, chunks)) + end)
    return kept.frames()


def chunks_of(raw: bytes) -> list[Json]:
    """The chunks of a stream that is OpenAI's."""
    return [chunk for chunk in check_chat_stream(raw) if isinstance(chunk, dict)]


def deltas(raw: bytes) -> list[Json]:
    """What the first choice's chunks say."""
    return [each["choices"][0]["delta"] for each in chunks_of(raw) if each["choices"]]


def piece(index: int, arguments: str, **fields: Any) -> Json:
    """A piece of a call."""
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {"index": index, **fields, "function": {**name, "arguments": arguments}}


def test_a_text_comes_in_one_chunk() -> None:
    """Role, text, end, and `[DONE]`: four frames, whatever it was streamed in."""
    raw = replayed(
        chunk(ROLE), *(chunk({"content": word}) for word in ["a", "b", "c"]), chunk({}, "stop")
    )

    assert deltas(raw) == [ROLE, {"content": "abc", "refusal": None}, {}]
    assert chunks_of(raw)[-1] == chunk({}, "stop")
    assert raw.endswith(DONE)


def test_calls_come_whole() -> None:
    """Each call's arguments are put together, in the order of the indexes; its name is told once."""
    first = [
        piece(0, "", id="call_a", type="function", name="f"),
        piece(0, '{"a"'),
        piece(0, ":1}"),
    ]
    second = [piece(1, "{", id="call_b", type="function", name="g"), piece(1, "}")]
    told = [chunk({"tool_calls": [each]}) for each in (*first[:2], second[0], first[2], second[1])]

    raw = replayed(chunk({"role": "assistant", "content": None}), *told, chunk({}, "tool_calls"))

    role, said, _ = deltas(raw)
    assert role == {"role": "assistant", "content": None}
    assert said["tool_calls"] == [
        piece(0, '{"a":1}', id="call_a", type="function", name="f"),
        piece(1, "{}", id="call_b", type="function", name="g"),
    ]


def test_what_a_provider_repeats_is_told_once() -> None:
    """Some providers send a call's id and name with every piece."""
    pieces = [piece(0, part, id="call_a", type="function", name="f") for part in ("{", "}")]
    opening = chunk({"role": "assistant", "tool_calls": [pieces[0]]})

    raw = replayed(opening, chunk({"tool_calls": [pieces[1]]}), chunk({}, "tool_calls"))

    assert deltas(raw)[1]["tool_calls"] == [piece(0, "{}", id="call_a", type="function", name="f")]


def test_a_refusal_and_reasoning_stay_what_they_are() -> None:
    """Every text of a delta is put together by itself."""
    parts = [{"reasoning_content": "hm"}, {"refusal": "I "}, {"refusal": "won't"}]

    raw = replayed(chunk(ROLE), *map(chunk, parts), chunk({}, "stop"))

    assert deltas(raw)[1] == {"content": "", "reasoning_content": "hm", "refusal": "I won't"}


def test_every_choice_is_told() -> None:
    """With `n` above 1 each choice has its role, its text, its own end."""
    told = [({"role": "assistant", "content": ""}, None), ({"content": "x"}, None), ({}, "stop")]
    chunks = [
        chunk(delta, end) | {"choices": [chunk(delta, end)["choices"][0] | {"index": index}]}
        for delta, end in told
        for index in (0, 1)
    ]

    raw = replayed(*chunks)

    indexes = [each["choices"][0]["index"] for each in chunks_of(raw)]
    assert sorted(indexes) == [0, 0, 0, 1, 1, 1]


def test_logprobs_stand_beside_their_text() -> None:
    """What was told of each token is told of all."""
    entries = [{"token": word, "logprob": -1.0, "bytes": None, "top_logprobs": []} for word in "ab"]
    told = [chunk({"content": entry["token"]}) for entry in entries]
    for each, entry in zip(told, entries, strict=True):
        each["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}

    raw = replayed(chunk(ROLE), *told, chunk({}, "stop"))

    found = [each["choices"][0]["logprobs"] for each in chunks_of(raw)]
    assert found == [None, {"content": entries, "refusal": []}, None]


def test_usage_is_told_if_it_was() -> None:
    """The chunk without choices is the last one before `[DONE]`."""
    asked = [{**each, "usage": None} for each in (chunk(ROLE), chunk({"content": "x"}, "stop"))]

    raw = replayed(*asked, chunk(None, usage=usage()))

    assert chunks_of(raw)[-1] == chunk(None, usage=usage())
    assert all(each["usage"] is None for each in chunks_of(raw)[:-1])


def test_what_came_with_the_end_is_told_with_the_end() -> None:
    """A provider's own fields of the last chunk are not lost."""
    raw = replayed(chunk(ROLE), chunk({"content": "x"}), chunk({}, "stop", citations=["https://x"]))

    assert [each.get("citations") for each in chunks_of(raw)] == [None, None, ["https://x"]]


def test_a_stream_that_broke_off_breaks_off_again() -> None:
    """What was said until then, and the error; no end, no `[DONE]`."""
    kept, failure = ChatReplay(), b'data: {"error":{"message":"It broke."}}\n\n'
    kept.feed(frame(chunk(ROLE)) + frame(chunk({"content": "Hel"})))
    kept.fail(failure)

    frames = kept.frames().split(b"\n\n")

    assert [*map(orjson.loads, (each.removeprefix(b"data: ") for each in frames[:2]))] == [
        chunk(ROLE),
        chunk({"content": "Hel", "refusal": None}),
    ]
    assert frames[2:] == [failure.strip(), b""]


texts = st.text(max_size=5)
fields = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.fixed_dictionaries({"refusal": texts}),
    st.tuples(st.integers(0, 2), texts),
)


@given(said=st.lists(fields, max_size=12), cuts=st.lists(st.integers(0, 11), max_size=4))
def test_nothing_is_lost_and_nothing_added(said: list[Any], cuts: list[int]) -> None:
    """Whatever was said in whatever pieces, its short form is OpenAI's and says the same."""
    chunks, known = [chunk({"role": "assistant", "content": ""})], list[int]()
    for each in said:
        if isinstance(each, dict):
            chunks.append(chunk(each))
            continue
        index = min(each[0], len(known))
        opening = {} if index < len(known) else {"id": f"c{index}", "type": "function", "name": "f"}
        known += [] if index < len(known) else [index]
        chunks.append(chunk({"tool_calls": [piece(index, each[1], **opening)]}))
    chunks.append(chunk({}, "tool_calls" if known else "stop"))
    kept = ChatReplay()
    bounds = [0, *sorted(cuts), len(chunks)]
    for start, end in pairwise(bounds):
        kept.feed(b"".join(map(frame, chunks[start:end])))
    kept.feed(DONE)

    found = chunks_of(kept.frames())

    assert meaning(found) == meaning(chunks)
    assert len(found) <= 3


def meaning(chunks: list[Json]) -> Any:
    """All that a stream says: texts, calls, end."""
    texts, calls, end = {"content": "", "refusal": ""}, dict[int, list[str]](), None
    for each in chunks:
        [choice] = each["choices"]
        end = choice["finish_reason"] or end
        for name in texts:
            texts[name] += choice["delta"].get(name) or ""
        for call in choice["delta"].get("tool_calls", ()):
            known = calls.setdefault(call["index"], ["", "", ""])
            known[0] += call.get("id", "")
            known[1] += call["function"].get("name", "")
            known[2] += call["function"]["arguments"]
    return texts, calls, end
