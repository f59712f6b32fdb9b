import orjson
import pytest

from ringside_proxy.domain.errors import ProviderBadReplyError, ProviderUnavailableError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.relay import Relay
from tests.fakes import chunk, frame, usage

ROLE = chunk({"role": "assistant", "content": ""}, usage=None)
HELLO = chunk({"content": "Hello"}, usage=None)
STOP = chunk({}, "stop", usage=None)
USAGE = chunk(None, usage=usage(9, 4))
DONE = b"data: [DONE]\n\n"
ANSWER = [frame(ROLE), frame(HELLO), frame(STOP), frame(USAGE), DONE]


def relayed(raw: bytes, *, include_usage: bool = True, choices: int = 1) -> bytes:
    relay = Relay("acme", include_usage=include_usage, choices=choices)
    return b"".join(relay.feed(raw) + relay.close())


def test_openais_bytes_pass_unchanged():
    """With usage asked for, what goes out is what came in, byte for byte."""
    assert relayed(b"".join(ANSWER)) == b"".join(ANSWER)


def test_usage_that_was_not_asked_for_is_taken_out():
    """The client sees the stream it would have got from OpenAI; we keep the count."""
    relay = Relay("acme", include_usage=False)

    chunks = [orjson.loads(f[6:]) for f in relay.feed(b"".join(ANSWER)) if f != DONE]

    expected = [{k: v for k, v in c.items() if k != "usage"} for c in (ROLE, HELLO, STOP)]
    assert chunks == expected
    assert relay.usage == TokenUsage(input_tokens=9, output_tokens=4)
    assert relay.raw_usage == usage(9, 4)


def test_usage_beside_content_goes_on():
    """A provider that counts on its last content chunk keeps that content."""
    last = chunk({"content": "!"}, "stop", usage=usage())

    assert frame(last) in relayed(frame(HELLO) + frame(last) + DONE, include_usage=False)


@pytest.mark.parametrize(
    "text",
    ["error", '"error"', '"usage": {"x": 1}', ',"usage":null', '"finish_reason":"stop"', "\u2028"],
)
def test_text_that_looks_like_wire_is_text(text):
    """An answer may talk about errors, usage and finish reasons."""
    said = frame(chunk({"content": text}))
    relay = Relay("acme", include_usage=False)

    assert relay.feed(frame(HELLO) + said)[1] == said
    assert relay.usage is None
    with pytest.raises(ProviderBadReplyError, match="broke off"):
        relay.close()


def test_comments_and_other_line_ends_become_openais():
    """Comments go, CRLF becomes LF, several data lines become one."""
    raw = b': PROCESSING\r\n\r\ndata: {"choices":\r\ndata: [{"finish_reason":"stop"}]}\r\n\r\n'

    assert relayed(raw + DONE) == b'data: {"choices": [{"finish_reason":"stop"}]}\n\n' + DONE


def test_obfuscation_is_taken_out():
    """Padding that was asked to stay away stays away."""
    assert relayed(frame(HELLO | {"obfuscation": "xK2"}) + frame(STOP) + DONE) == (
        frame(HELLO) + frame(STOP) + DONE
    )


def test_role_waits_for_what_follows():
    """Until something is said the call can still be sent again, so nothing goes out."""
    relay = Relay("acme", include_usage=True)
    preamble = frame(chunk(None, prompt_filter_results=[]))

    assert relay.feed(preamble + frame(ROLE)) == []
    assert relay.feed(frame(HELLO)) == [preamble, frame(ROLE), frame(HELLO)]
    assert relay.feed(frame(HELLO)) == [frame(HELLO)]


def test_error_after_the_role_is_no_stream():
    """An error before the first word can still become a status."""
    with pytest.raises(ProviderUnavailableError):
        Relay("acme", include_usage=True).feed(frame(ROLE) + frame({"error": {"message": "x"}}))


def test_error_after_text_comes_after_the_text():
    """What was said goes out first."""
    relay = Relay("acme", include_usage=True)

    assert relay.feed(frame(HELLO) + frame({"error": {"message": "x"}})) == [frame(HELLO)]
    assert relay.is_done
    with pytest.raises(ProviderUnavailableError):
        relay.close()


ODD = {
    "a comment": b": ping\n\n",
    "a named event": b'event: x\ndata: {"a": 1}\n\n',
    "no blank": b"data:" + frame(HELLO)[6:],
    "empty": b"data: \n\n",
    "CRLF": frame(HELLO).replace(b"\n", b"\r\n"),
    "a word": frame(chunk({"content": "an error, [DONE] or not"}, usage=None)),
    "a count": frame(HELLO | {"usage": usage(1, 1)}),
}


def told(raw: bytes, pieces: int) -> list[bytes]:
    """The chunks that a client reads of what comes in so many pieces."""
    relay = Relay("acme", include_usage=False)
    size = -(-len(raw) // pieces)
    frames = [f for at in range(0, len(raw), size) for f in relay.feed(raw[at : at + size])]
    lines = b"".join(frames + relay.close()).splitlines()
    return [line[5:].strip() for line in lines if line.startswith(b"data:") and line[5:].strip()]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 1, 20, 39, 40])
def test_many_frames_at_once_are_told_as_one_by_one(odd, place):
    """Whatever stands between them, and wherever."""
    frames = [frame(ROLE), *[frame(HELLO)] * 40]
    frames.insert(place + 1, ODD[odd])
    raw = b"".join([*frames, frame(STOP), frame(USAGE), DONE])

    one_by_one = told(raw, len(raw))

    assert [told(raw, pieces) for pieces in (1, 2, 7)] == [one_by_one] * 3
    assert one_by_one.count(orjson.dumps({k: v for k, v in HELLO.items() if k != "usage"})) >= 40


def test_frames_that_come_together_are_told_together():
    """A read's worth of text is two items, not forty."""
    relay = Relay("acme", include_usage=True)
    relay.feed(frame(ROLE) + frame(HELLO))

    assert len(relay.feed(frame(HELLO) * 40)) <= 2


def test_a_padded_stream_is_told_without_its_padding():
    """However many of its frames come together."""
    padded = [frame(each | {"obfuscation": "xyz"}) for each in (ROLE, *[HELLO] * 40, STOP)]

    assert b"obfuscation" not in b"".join(told(b"".join([*padded, DONE]), 1))


@pytest.mark.parametrize("place", [0, 20, 40])
def test_an_error_among_many_frames_ends_the_answer(place):
    """What came before it is told, and nothing that follows."""
    said = [frame(HELLO)] * 40
    said.insert(place, frame({"error": {"message": "x"}}))
    relay = Relay("acme", include_usage=True)

    before = relay.feed(frame(HELLO)) + relay.feed(b"".join(said) if place else frame(HELLO))

    if place:
        assert b"".join(before) == frame(HELLO) * (place + 1)
        with pytest.raises(ProviderUnavailableError):
            relay.close()
    else:
        with pytest.raises(ProviderUnavailableError):
            relay.feed(b"".join(said))


@pytest.mark.parametrize("raw", [b"", DONE, frame(ROLE), frame(ROLE) + frame(HELLO)])
def test_stream_without_end_broke_off(raw):
    """Neither a finish nor [DONE], or a [DONE] of nothing."""
    with pytest.raises(ProviderBadReplyError, match="broke off"):
        relayed(raw)


def test_finish_without_done_is_whole():
    """The client gets the [DONE] that the provider left out."""
    assert relayed(frame(HELLO) + frame(STOP)) == frame(HELLO) + frame(STOP) + DONE


def test_every_choice_has_to_finish():
    """With n=2 the end of one choice is not the end of the answer."""
    with pytest.raises(ProviderBadReplyError, match="broke off"):
        relayed(frame(HELLO) + frame(STOP), choices=2)

    assert relayed(frame(HELLO) + frame(STOP) + frame(STOP), choices=2).endswith(DONE)


@pytest.mark.parametrize("raw", [b"data: hello\n\n", b"data: [1]\n\n"])
def test_garbage_at_the_beginning_is_a_bad_reply(raw):
    """A front proxy's page is not an answer."""
    with pytest.raises(ProviderBadReplyError, match="not a JSON object"):
        relayed(raw)


def test_tier_is_read_beside_the_usage():
    """What the call costs may depend on it."""
    relay = Relay("acme", include_usage=True)

    relay.feed(frame(HELLO) + frame(chunk(None, usage=usage(), service_tier="priority")))

    assert relay.service_tier == "priority"


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["a"] * 40, 40), (["word " * 40, "a"], 50), (["a"], 1), ([], 0)],
    ids=["token by token", "in one piece", "hardly begun", "not begun"],
)
def test_what_came_of_an_answer_without_usage_is_estimated(words, expected):
    """However the provider cuts its answer, about as many tokens are counted as came."""
    relay = Relay("acme", include_usage=True)

    relay.feed(b"".join(frame(chunk({"content": word})) for word in words))

    assert relay.written_tokens_estimate == pytest.approx(expected, abs=1)
