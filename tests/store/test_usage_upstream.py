"""Usage for the upstream: batches in order, the same until they are acknowledged."""

import msgspec
import orjson
import pytest

from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.store import usage, usage_reports, usage_upstream
from ringside_proxy.store.usage import Consumed
from ringside_proxy.store.usage_upstream import RECORDS_MAX, Unreported


@pytest.fixture
def consume(store):
    """Books so many attempts."""

    def book(count=1):
        for _ in range(count):
            store.now_ms += 1000
            call = Call(
                kind="run",
                model="fc:openai/m",
                requested_model="slot:fast",
                provider="openai",
                token="tok_1",
                customer="customer_42",
                run_id="run_1",
            )
            consumed = Consumed(
                usage=TokenUsage(input_tokens=10, output_tokens=3),
                provider_cost_nano=1056,
                markup_nano=44,
                price_source="test",
            )
            store.write(usage.record, store.new_id("use"), "2025-11-21", call, consumed, "step_1")

    return book


def batch(store):
    return store.write(usage_upstream.next_batch)


def sequences(body):
    return [record["sequence"] for record in orjson.loads(body)["data"]]


def test_without_usage_there_is_no_batch(store):
    """Nothing is sent to say that there is nothing."""
    assert batch(store) is None
    assert store.write(usage_upstream.unreported) == Unreported()


def test_batch_is_as_the_contract_says(store, consume):
    """Its keys and their order, and records as GET /v1/usage/records shows them."""
    consume(2)

    made = batch(store)

    body = orjson.loads(made.body)
    assert list(body) == ["object", "id", "source", "sequence_from", "sequence_to", "data"]
    assert body["object"] == "usage.batch"
    assert (body["id"], body["id"].startswith("batch_")) == (made.id, True)
    assert body["source"].startswith("inst_")
    assert (body["sequence_from"], body["sequence_to"]) == (1, 2)
    page = store.write(usage_reports.record_page, ListQuery(order="asc"))
    assert body["data"] == msgspec.to_builtins(page.data)
    assert body["data"][0]["cost_usd"] == 0.0000011


def test_batch_is_the_same_until_it_is_acknowledged(store, consume):
    """Whatever happens meanwhile: its id and every byte."""
    consume(2)
    first = batch(store)
    consume(3)

    again = batch(store)

    assert again == first


def test_acknowledged_batch_is_followed_by_what_came_meanwhile(store, consume):
    """Without a gap, from the same source."""
    consume(2)
    first = batch(store)
    consume(3)
    store.write(usage_upstream.acknowledge, first.id)

    second = batch(store)

    assert (sequences(first.body), sequences(second.body)) == ([1, 2], [3, 4, 5])
    assert second.id != first.id
    assert orjson.loads(second.body)["source"] == orjson.loads(first.body)["source"]


def test_batch_has_at_most_five_hundred_records(store, consume):
    """The rest waits for its turn."""
    consume(RECORDS_MAX + 1)

    first = batch(store)
    store.write(usage_upstream.acknowledge, first.id)

    assert sequences(first.body) == list(range(1, 501))
    assert sequences(batch(store).body) == [501]


def test_only_the_batch_on_its_way_can_be_acknowledged(store, consume):
    """A late word about an earlier one skips nothing."""
    consume()
    first = batch(store)
    store.write(usage_upstream.acknowledge, first.id)
    consume()
    second = batch(store)

    store.write(usage_upstream.acknowledge, first.id)

    assert batch(store) == second


def test_what_is_not_acknowledged_is_known(store, consume):
    """How much, and since when; the batch on its way counts."""
    begun_ms = store.now_ms
    consume(3)
    made = batch(store)
    consume(1)
    assert store.write(usage_upstream.unreported) == Unreported(4, begun_ms + 1000)

    store.write(usage_upstream.acknowledge, made.id)

    assert store.write(usage_upstream.unreported) == Unreported(1, begun_ms + 4000)
