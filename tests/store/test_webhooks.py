"""Receivers: what they are subscribed to, how they are doing, and what goes when they go."""

import pytest

from ringside_proxy.domain.durations import HOUR_MS
from ringside_proxy.domain.errors import InvalidRequestError, NotFoundError
from ringside_proxy.domain.webhooks import WEBHOOKS_MAX
from ringside_proxy.store import deliveries, events, webhooks
from ringside_proxy.store.webhooks import ConfiguredWebhook


def add(store, *types, name=None):
    return store.write(
        webhooks.insert,
        name or store.new_id("wh"),
        "https://example.com/hook",
        list(types or ["*"]),
        b"sealed",
        "whsec_…abcd",
    )


def reload(store, webhook):
    return store.write(webhooks.get, webhook.id)


def fail(store, webhook, *, is_gone=False):
    return store.write(webhooks.note_failure, webhook.seq, is_gone=is_gone)


def configured(name, *types):
    return ConfiguredWebhook(
        id=name, url=f"https://example.com/{name}", events=list(types or ["*"]), secret_hint="h"
    )


def subscribed(store, event_type="run.completed"):
    return store.write(webhooks.subscribed, event_type)


def test_receiver_hears_of_what_it_subscribed_to(store):
    """Some of everything, some of a list, each once."""
    everything = add(store, "run.failed", "*")
    some = add(store, "run.completed", "run.failed", "run.completed")

    assert subscribed(store, "run.failed") == [everything.seq, some.seq]
    assert subscribed(store, "wallet.low") == [everything.seq]
    assert reload(store, some).events == ["run.completed", "run.failed", "run.completed"]


def test_subscription_changes_with_the_receiver(store):
    """What it wants now counts."""
    webhook = add(store, "run.completed")

    store.write(webhooks.change, webhook, events=["run.failed"])

    assert subscribed(store) == []
    assert subscribed(store, "run.failed") == [webhook.seq]


def test_disabled_receiver_hears_nothing(store):
    """Until it is enabled again, and then with a clean record."""
    webhook = add(store)
    fail(store, webhook)

    disabled = store.write(webhooks.switch, reload(store, webhook), is_enabled=False)
    assert (subscribed(store), disabled.disabled_reason) == ([], "requested")

    enabled = store.write(webhooks.switch, reload(store, webhook), is_enabled=True)
    assert subscribed(store) == [webhook.seq]
    assert (enabled.disabled_reason, enabled.consecutive_failures) == (None, 0)


def test_receiver_that_is_gone_is_disabled_at_once(store):
    """410 is a wish."""
    webhook = add(store)

    assert fail(store, webhook, is_gone=True) == "gone"

    assert not reload(store, webhook).is_enabled
    assert fail(store, webhook, is_gone=True) is None


def test_receiver_that_fails_for_days_is_disabled(store):
    """120 hours after its first failure in a row, with the twentieth or a later one."""
    webhook = add(store)
    store.write(webhooks.note_success, webhook.seq)
    store.now_ms += 500 * HOUR_MS  # without an event is no failure
    first = [fail(store, webhook) for _ in range(30)]
    store.now_ms += 120 * HOUR_MS

    assert first == [None] * 30
    assert fail(store, webhook) == "failing"
    assert reload(store, webhook).disabled_reason == "failing"


def test_success_wipes_the_slate_clean(store):
    """Failures before it no longer count."""
    webhook = add(store)
    for _ in range(30):
        fail(store, webhook)
    store.now_ms += 120 * HOUR_MS
    store.write(webhooks.note_success, webhook.seq)

    assert fail(store, webhook) is None
    after = reload(store, webhook)
    assert (after.consecutive_failures, after.failing_since_ms) == (1, store.now_ms)
    assert (after.last_success_ms, after.last_failure_ms) == (store.now_ms, store.now_ms)


def test_rotation_keeps_one_old_secret_for_a_while(store):
    """At most two are live; when the overlap ends, the old one is removed."""
    webhook = add(store)
    for name in (b"second", b"third"):
        known = reload(store, webhook)
        store.write(webhooks.rotate, known, name, "h", b"was " + (known.secret or b""), 1000)

    rotated = reload(store, webhook)
    assert (rotated.secret, rotated.old_secret) == (b"third", b"was second")

    store.now_ms += 1000
    store.write(webhooks.forget_old_secrets)
    assert reload(store, webhook).old_secret is None


def test_rotation_without_overlap_keeps_no_old_secret(store):
    """For a secret that somebody else knows."""
    webhook = add(store)

    rotated = store.write(webhooks.rotate, webhook, b"new", "h", b"old", 0)

    assert (rotated.old_secret, rotated.old_secret_until_ms) == (None, None)


def test_deleted_receiver_is_gone_with_what_was_meant_for_it(store):
    """It is not found at once, and its deliveries go in portions."""
    webhook = add(store)
    other = add(store)
    for _ in range(3):
        store.write(events.emit, "wallet.low", {})

    store.write(webhooks.delete, webhook)

    with pytest.raises(NotFoundError, match="No webhook found with id"):
        reload(store, webhook)
    assert store.write(webhooks.every) == [reload(store, other)]
    while store.write(webhooks.purge):
        pass
    assert store.rows("SELECT DISTINCT webhook FROM deliveries") == [(other.seq,)]
    assert store.rows("SELECT count(*) FROM webhooks") == [(1,)]


def test_there_is_a_limit(store):
    """Each event is looked at for each of them; the configuration has one of its own."""
    for _ in range(WEBHOOKS_MAX):
        add(store)

    with pytest.raises(InvalidRequestError) as refused:
        add(store)

    assert refused.value.code == "too_many_webhooks"
    store.write(webhooks.configure, [configured("wh_a")])
    assert len(store.write(webhooks.every)) == WEBHOOKS_MAX + 1


def test_configuration_makes_its_receivers_and_removes_them(store):
    """What it names is there and enabled, what it no longer names goes; the API's stay."""
    own = add(store)
    store.write(webhooks.configure, [configured("wh_a"), configured("wh_b")])
    gone = store.write(webhooks.get, "wh_b")
    fail(store, gone, is_gone=True)

    store.write(webhooks.configure, [configured("wh_b", "run.failed")])

    found = {webhook.id: webhook for webhook in store.write(webhooks.every)}
    assert set(found) == {own.id, "wh_b"}
    assert found["wh_b"].is_enabled
    assert (found["wh_b"].source, found["wh_b"].events) == ("config", ["run.failed"])
    assert found["wh_b"].seq == gone.seq


def test_configuration_brings_a_receiver_back(store):
    """With the id that it had, though it was on its way out."""
    store.write(webhooks.configure, [configured("wh_a")])
    store.write(webhooks.configure, [])

    store.write(webhooks.configure, [configured("wh_a")])

    assert subscribed(store) == [store.write(webhooks.get, "wh_a").seq]
    assert not store.write(webhooks.purge)


def test_pending_deliveries_of_a_disabled_receiver_are_given_up(store):
    """They are dead, others wait on."""
    off, on = add(store), add(store)
    store.write(events.emit, "wallet.low", {})
    store.write(webhooks.switch, off, is_enabled=False)

    while store.write(deliveries.abandon):
        pass

    assert store.rows("SELECT webhook, state FROM deliveries ORDER BY seq") == [
        (off.seq, "dead"),
        (on.seq, "pending"),
    ]
