"""Calls come one after the other, whatever order a provider tells their pieces in."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.providers.types import Finish, TextDelta, ToolCallDelta
from ringside_proxy.services.call_order import CallOrder

DONE = Finish("tool_calls")


def opened(index: int, arguments: str = "") -> ToolCallDelta:
    return ToolCallDelta(index=index, id=f"call_{index}", name=f"f{index}", arguments=arguments)


def more(index: int, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments)


def told(*deltas: object) -> list[object]:
    """What is told of deltas that come one by one."""
    order = CallOrder()
    return [item for delta in deltas for item in order.feed([delta])]  # type: ignore[list-item]


def test_what_is_in_order_goes_on_at_once():
    """Piece by piece, with nothing held back."""
    deltas = [
        TextDelta("Hm."),
        opened(0),
        more(0, '{"a"'),
        more(0, ": 1}"),
        opened(1),
        more(1, "{}"),
        DONE,
    ]
    order = CallOrder()

    for delta in deltas:
        assert order.feed([delta]) == [delta]


def test_a_call_without_arguments_does_not_end_after_the_next_began():
    """The `{}` that some only tell at the end comes before the next call."""
    late = [opened(0), opened(1), more(1, '{"a": 1}'), more(0, "{}"), DONE]

    assert told(*late) == [opened(0), more(0, "{}"), opened(1), more(1, '{"a": 1}'), DONE]


def test_a_call_that_never_gets_arguments_has_none():
    """Also if nobody says so."""
    assert told(opened(0), opened(1), DONE) == [
        opened(0),
        more(0, "{}"),
        opened(1),
        more(1, "{}"),
        DONE,
    ]


def test_what_comes_after_the_next_call_began_is_left_out():
    """The arguments were whole: a piece that comes again would make them no JSON any more."""
    assert told(opened(0), more(0, "{}"), opened(1), more(0, "{}"), DONE) == [
        opened(0),
        more(0, "{}"),
        opened(1),
        more(1, "{}"),
        DONE,
    ]


def test_text_does_not_wait_for_calls():
    """Only pieces of calls are held back."""
    order = CallOrder()

    order.feed([opened(0), opened(1)])

    assert order.feed([TextDelta("Hm.")]) == [TextDelta("Hm.")]


CALLS = st.lists(
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), min_size=1, max_size=4
)


@given(calls=CALLS, data=st.data())
def test_any_interleaving_gives_the_same_calls(calls, data):
    """Dense, in order, with the arguments that were meant."""
    texts = [json.dumps(call) for call in calls]
    queues = [
        [opened(i), *(more(i, text[k : k + 3]) for k in range(0, len(text), 3))]
        for i, text in enumerate(texts)
    ]
    pieces, next_to_open = [], 0
    while any(queues):
        ready = [i for i, queue in enumerate(queues) if queue and i <= next_to_open]
        index = data.draw(st.sampled_from(ready))
        if len(queues[index]) == 1 + (len(texts[index]) + 2) // 3:
            next_to_open = index + 1
        pieces.append(queues[index].pop(0))

    items = told(*pieces, DONE)

    indexes = [item.index for item in items if isinstance(item, ToolCallDelta)]
    assert indexes == sorted(indexes)
    joined = [
        "".join(item.arguments for item in items if getattr(item, "index", None) == i)
        for i in range(len(calls))
    ]
    assert joined == texts
