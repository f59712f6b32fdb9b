"""Where Bedrock is told to cache, and where it is not."""

from tests.providers.test_bedrock import LLAMA, NOVA, F, asked, built, call, result, sent, turns

EPHEMERAL = {"type": "ephemeral"}
POINT = {"cachePoint": {"type": "default"}}


def test_cache_points_follow_what_is_marked():
    """In tools, system, messages and results; a time to live where it is known."""
    marked = {"cache_control": EPHEMERAL}
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = sent(
        [
            {"role": "system", "content": "Be brief.", **hour},
            {"role": "user", "content": [{"type": "text", "text": "Hi", **marked}]},
            asked(call()),
            result() | marked,
        ],
        tools=[F | marked],
    )

    assert body["toolConfig"]["tools"][1] == POINT
    assert body["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert body["messages"][0]["content"] == [{"text": "Hi"}, POINT]
    assert body["messages"][2]["content"][1] == POINT


def test_no_more_than_four_cache_points():
    """A fifth is refused by AWS, so it is left out."""
    parts = [{"type": "text", "text": str(i), "cache_control": EPHEMERAL} for i in range(6)]

    content = turns([{"role": "user", "content": parts}])[0][1]

    assert content.count(POINT) == 4


def test_cache_points_only_where_they_are_known():
    """Nova caches no tools and knows no time to live; Llama caches nothing."""
    marked = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    messages = [{"role": "user", "content": "Hi", **marked}]

    nova = sent(messages, NOVA, tools=[F | marked])
    assert nova["messages"][0]["content"][1] == POINT
    assert len(nova["toolConfig"]["tools"]) == 1
    assert b"cache" not in built(messages, LLAMA, tools=[F | marked]).body
