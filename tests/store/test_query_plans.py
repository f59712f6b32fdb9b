"""Every statement of the store finds its rows through an index, however large the store grows.

The plans are SQLite's own. Where a plan cannot tell (a listing walks an index and stops at its
limit), the cost is counted in steps of SQLite's machine, which are the same on every machine.
"""

import importlib
import pkgutil
import re
from datetime import date
from functools import partial
from itertools import permutations

import pytest

from ringside_proxy import store as package
from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.deliveries import DeliveryState, Reply
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.runs import RunEvent
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.domain.usage_reports import DIMENSIONS, ReportQuery
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.settings.money import WalletSettings
from ringside_proxy.store import (
    accounts,
    assistants,
    customers,
    deliveries,
    delivery_claims,
    events,
    items,
    run_steps,
    runs,
    threads,
    tokens,
    usage,
    usage_reports,
    wallet,
    webhooks,
)
from ringside_proxy.store.ledger import Terms
from ringside_proxy.store.paging import bury, clear_tombstones
from ringside_proxy.store.tokens import TokenRecord
from ringside_proxy.store.usage import Consumed
from tests.store.memory import DEVELOPER, Store

WEBHOOK = "wh_" + "0" * 24
STATEMENT = re.compile(r"(SELECT|INSERT|UPDATE|DELETE) ")
CLIENT = Caller(token_id="tok_c", name="client", role="client", customer="customer_1")

EXCEPTIONS = {
    "runs.EVERY_ACTIVE": (
        ["SCAN runs USING INDEX runs_by_expiry"],
        "the index holds active runs only, and all of them are wanted, once at start-up",
    ),
    "runs.COUNT_ACTIVE": (
        ["SCAN runs USING INDEX runs_by_expiry", "USE TEMP B-TREE FOR GROUP BY"],
        "the index holds active runs only, and there are four statuses",
    ),
    "runs.DUE": (
        ["SCAN runs USING INDEX runs_by_expiry"],
        "the index holds active runs only, in the order that is wanted, up to the limit",
    ),
    "tokens.ALL": (
        ["SCAN api_tokens"],
        "every token is kept in memory, so all of them are wanted, once at start-up",
    ),
    "tokens.USES": (["SCAN token_uses"], "the same: there is at most one for each token"),
    "ledger.OF_OTHER_BOOTS": (
        ["SCAN holds"],
        "only calls that are out have a row, and at start-up all of them are wanted",
    ),
    "ledger.STALE": (["SCAN holds"], "only calls that are out have a row"),
    "ledger.LIVE": (["SCAN holds"], "only calls that are out have a row, and all are counted"),
    "webhooks.EVERY": (["SCAN webhooks"], "there are at most 100, and all of them are wanted"),
    "webhooks.COUNT": (["SCAN webhooks"], "there are at most 100, and all of them are counted"),
    "delivery_claims.RECEIVERS": (
        ["SCAN webhooks"],
        "there are at most 100, and each has its turn",
    ),
    "deliveries.OF_DISABLED": (["SCAN webhooks"], "there are at most 100; theirs have an index"),
    "deliveries.WAITING": (
        ["SCAN deliveries USING COVERING INDEX deliveries_waiting"],
        "the index holds what is not over, and all of it is counted, on a reader",
    ),
    "waiting_runs.COUNT": (
        ["SCAN runs USING INDEX runs_waiting"],
        "the index holds runs that wait only, at most a thousand, and all are counted",
    ),
    "waiting_runs.STRANDED": (
        ["SCAN w USING INDEX runs_waiting"],
        "the index holds runs that wait only, at most a thousand, and all are looked at",
    ),
    "items.OF_STEPS": (
        ["USE TEMP B-TREE FOR ORDER BY"],
        "the sorted rows are those of one run",
    ),
}
"""Statement → what of its plan is no index search, and why that is right."""


def statements():
    """Every statement that a module of the store names."""
    for module in pkgutil.iter_modules(package.__path__):
        names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for name, value in names.items():
            for number, sql in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(sql, str) and STATEMENT.match(sql):
                    suffix = f"[{number}]" if isinstance(value, tuple) else ""
                    yield f"{module.name}.{name}{suffix}", sql


STATEMENTS = dict(statements())


def plan(store, sql):
    """The lines of a statement's plan; placeholders that it has are null."""
    nulls = [None] * sql.count("?")
    return [row[3] for row in store.rows(f"EXPLAIN QUERY PLAN {sql}", *nulls)]


def costly(store, sql):
    """The lines of a plan that read a table from end to end, or sort."""
    lines = plan(store, sql)
    return [line for line in lines if line.startswith("SCAN") or "TEMP B-TREE" in line]


def fill(store, count):
    """So many of everything; every thread is alike, and has a run that ended after two steps."""
    store.write(webhooks.insert, WEBHOOK, "https://example.com/hook", ["*"], b"", "whsec_…")
    for number in range(count):
        assistant = Assistant(id=store.new_id("asst"), created_at=0, model="fc:sandbox/echo")
        store.write(assistants.insert, assistant, "customer_1" if number % 2 else "")
        store.write(tokens.insert, token(store))
        store.write(bury, store.new_id("gone"), 0, number)
        spend(store, f"customer_{number}", f"2025-{1 + number % 12:02}-01")
        thread = store.thread({"app": "one", "n": str(number)}, CLIENT if number % 2 else DEVELOPER)
        add_run(store, thread)
        store.write(events.emit, "customer.created", {"customer": f"customer_{number}"})


def spend(store, customer, day):
    """A call of the customer, on that day."""
    call = Call(
        kind="run",
        model="fc:openai/m",
        requested_model="slot:m",
        provider="openai",
        token="tok",
        customer=customer,
    )
    priced = Consumed(
        usage=TokenUsage(output_tokens=1),
        provider_cost_nano=1,
        markup_nano=0,
        price_source="test",
    )
    store.write(customers.ensure, customer)
    store.write(usage.record, store.new_id("use"), day, call, priced, None)
    store.write(wallet.charge, 1, store.new_id("use"), WalletSettings())


def token(store):
    name = store.new_id("tok")
    return TokenRecord(
        id=name,
        name=name,
        role="developer",
        customer=None,
        sha256=name,
        created_ms=0,
        expires_ms=None,
    )


def add_run(store, thread):
    """A message, a run that called a function and answered, and what it left."""
    store.message(thread)
    run, generation = store.started(thread)
    [call], changes = store.call(run)
    needs = Ending(event=RunEvent.REQUIRE_ACTION, changes=changes)
    store.write(run_transactions.finish, run.id, generation, needs)
    waiting = store.write(runs.reload, run.id)
    store.write(run_transactions.submit, waiting, [(call.call_id, "x")], store.new_id)
    run, generation = store.write(
        run_transactions.start, run.id, store.new_id("resp"), "fc:sandbox/echo"
    )
    _, changes = store.open_message(run)
    store.write(
        run_transactions.finish,
        run.id,
        generation,
        Ending(event=RunEvent.COMPLETE, changes=changes),
    )
    return run


@pytest.fixture(scope="module")
def filled():
    """A store with some of everything."""
    store = Store()
    fill(store, 30)
    yield store
    store.connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_finds_its_rows_by_an_index(filled, name):
    """No named statement reads a whole table or sorts, but for the exceptions and as they say."""
    expected, _ = EXCEPTIONS.get(name, ([], ""))

    assert costly(filled, STATEMENTS[name]) == expected


def test_every_exception_is_one():
    """The list of exceptions names statements that exist; there are enough to have been found."""
    assert set(EXCEPTIONS) <= set(STATEMENTS)
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("name", ["SELECT * FROM runs WHERE status = ?", "DELETE FROM runs"])
def test_a_walk_of_a_table_is_found(filled, name):
    """What is looked for here can be found: a statement without an index is caught."""
    assert costly(filled, name)


OWN_ASSISTANTS = "SELECT id FROM assistants WHERE owner = ? ORDER BY seq"
SEEN_THREADS = (
    "SELECT a.thread_id FROM api_thread_aliases a JOIN conversations c ON c.seq = a.conversation "
    "WHERE ? = 'developer' OR c.owner = ? ORDER BY c.seq"
)


def thread_page(caller, metadata):
    return lambda store: (
        partial(threads.page, caller=caller, metadata=metadata),
        [row[0] for row in store.rows(SEEN_THREADS, caller.role, caller.owner)],
    )


def of_last_thread(page, ids):
    """A listing below the newest thread, and the ids it gives."""

    def listing(store):
        [name, run_id, seq] = store.rows("SELECT thread_id, id, seq FROM runs ORDER BY seq DESC")[0]
        thread = store.write(threads.get, name, DEVELOPER)
        return partial(page, thread=thread, run_id=run_id, run=seq), [
            row[0] for row in store.rows(ids, thread.seq)
        ]

    return listing


def delivery_page(state):
    return lambda store: (
        partial(deliveries.page, webhook=store.write(webhooks.get, WEBHOOK), state=state),
        [row[0] for row in store.rows("SELECT id FROM deliveries ORDER BY seq")],
    )


MESSAGES = "SELECT id FROM items WHERE conversation = ? AND type = 'message' ORDER BY ordinal"
RUNS = "SELECT id FROM runs WHERE conversation = ? ORDER BY seq"
STEPS = "SELECT s.id FROM run_steps s JOIN runs r ON r.seq = s.run WHERE r.conversation = ? ORDER BY s.seq"

RECORDS = "SELECT id FROM usage_records ORDER BY sequence"

LISTINGS = {
    "customers": lambda store: (
        partial(accounts.page, terms=Terms()),
        [row[0] for row in store.rows("SELECT id FROM customers ORDER BY seq")],
    ),
    "wallet transactions": lambda store: (
        wallet.transaction_page,
        [row[0] for row in store.rows("SELECT id FROM wallet_transactions ORDER BY seq")],
    ),
    "usage records": lambda store: (
        usage_reports.record_page,
        [row[0] for row in store.rows(RECORDS)],
    ),
    "assistants": lambda store: (
        partial(assistants.page, caller=DEVELOPER),
        [row[0] for row in store.rows("SELECT id FROM assistants ORDER BY seq")],
    ),
    "assistants of a client": lambda store: (
        partial(assistants.page, caller=CLIENT),
        [row[0] for row in store.rows(OWN_ASSISTANTS, CLIENT.owner)],
    ),
    "threads": thread_page(DEVELOPER, {}),
    "threads of a client": thread_page(CLIENT, {}),
    "threads with what all have": thread_page(DEVELOPER, {"app": "one"}),
    "threads with what one has": thread_page(DEVELOPER, {"n": "7"}),
    "threads with both": thread_page(DEVELOPER, {"n": "7", "app": "one"}),
    "threads of a client with metadata": thread_page(CLIENT, {"app": "one"}),
    "messages": of_last_thread(
        lambda tx, query, thread, run_id, run: items.message_page(tx, thread, query, None), MESSAGES
    ),
    "messages of a run": of_last_thread(
        lambda tx, query, thread, run_id, run: items.message_page(tx, thread, query, run_id),
        MESSAGES,
    ),
    "runs": of_last_thread(
        lambda tx, query, thread, run_id, run: runs.page(tx, thread, query), RUNS
    ),
    "run steps": of_last_thread(
        lambda tx, query, thread, run_id, run: run_steps.page(tx, run, query), STEPS
    ),
    "deliveries": delivery_page(None),
    "deliveries that wait": delivery_page(DeliveryState.PENDING),
}
"""Every listing: given a store, its page function and the ids that can be cursors."""

QUERIES = [
    (order, has_after, has_before)
    for order in ("asc", "desc")
    for has_after in (False, True)
    for has_before in (False, True)
]


def page_query(ids, order, has_after, has_before):
    """A query for a small page, between cursors near the ends."""
    first, last = (ids[0], ids[-1]) if order == "asc" else (ids[-1], ids[0])
    return ListQuery(
        limit=3,
        order=order,
        after=first if has_after else None,
        before=last if has_before else None,
    )


@pytest.mark.parametrize(("order", "has_after", "has_before"), QUERIES)
@pytest.mark.parametrize("name", LISTINGS)
def test_listing_walks_an_index(filled, name, order, has_after, has_before):
    """No listing sorts, in any order and between any cursors; without a cursor it may start at an end."""
    page, ids = LISTINGS[name](filled)
    made = []
    filled.connection.set_trace_callback(made.append)
    filled.write(page, query=page_query(ids, order, has_after, has_before))
    filled.connection.set_trace_callback(None)

    [listed] = [sql for sql in made if " LIMIT " in sql]
    walks = costly(filled, listed)

    from_an_end = {
        "assistants": "SCAN assistants",
        "customers": "SCAN customers",
        "wallet transactions": "SCAN wallet_transactions",
        "usage records": "SCAN usage_records",
    }
    if name == "threads":
        from_an_end[name] = "SCAN c USING INDEX conversations_live"
    may_walk = name in from_an_end and not (has_after or has_before)
    assert walks == ([from_an_end[name]] if may_walk else [])


def test_every_index_is_taken_by_a_plan(filled):
    """An index that no statement finds its rows by is only written: there is none such."""
    made = []
    filled.connection.set_trace_callback(made.append)
    for listing in LISTINGS.values():
        page, ids = listing(filled)
        for order, has_after, has_before in QUERIES:
            filled.write(page, query=page_query(ids, order, has_after, has_before))
    for query in REPORTS:
        filled.write(usage_reports.report, query, Terms())
    filled.connection.set_trace_callback(None)

    listed = {sql for sql in made if sql.startswith("SELECT")}
    plans = " ".join(line for sql in (*STATEMENTS.values(), *listed) for line in plan(filled, sql))
    indexes = filled.rows("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    assert [name for (name,) in indexes if not re.search(rf"\b{name}\b", plans)] == []


REPORTS = [
    ReportQuery(
        first_day=date(2025, 3, 1),
        last_day=date(2025, 4, 30),
        group_by=group_by,
        customer=customer,
        model=model,
    )
    for count in (1, 2, 5)
    for group_by in permutations(DIMENSIONS, count)
    for customer in (None, "customer_2")
    for model in (None, "fc:openai/m")
]


def planned(store, query):
    """The plan of a report, and how many steps it takes."""
    made = []
    store.connection.set_trace_callback(made.append)
    store.write(usage_reports.report, query, Terms())
    store.connection.set_trace_callback(None)
    [summed] = [sql for sql in made if "sum(" in sql]
    return plan(store, summed)


@pytest.mark.parametrize("query", REPORTS, ids=lambda q: f"{'-'.join(q.group_by)}-{q.customer}")
def test_report_reads_the_days_it_is_about(filled, query):
    """Whatever it sums by: one search of the daily sums, by day or by customer and day."""
    searched, *rest = planned(filled, query)

    by_customer = "INDEX usage_days_of_customer (customer=? AND day>? AND day<?)"
    by_day = "PRIMARY KEY (day>? AND day<?)"
    assert searched == f"SEARCH usage_days USING {by_customer if query.customer else by_day}"
    assert all(line.startswith("USE TEMP B-TREE FOR") for line in rest)


def test_report_costs_the_same_in_a_long_history(sizes):
    """A customer's days, or a few days of all, are as quick to find among many as among few."""
    costs = []
    for store in sizes:
        day = date(2031, 1, 1)
        spend(store, "customer_2", day.isoformat())
        for customer in (None, "customer_2"):
            query = ReportQuery(first_day=day, last_day=day, customer=customer)
            costs.append(store.steps(usage_reports.report, query, Terms()))

    small, large = costs[:2], costs[2:]
    assert all(more <= 1.25 * less for less, more in zip(small, large, strict=True))


@pytest.fixture(scope="module")
def sizes():
    """The same store in small and sixteen times as large."""
    small, large = Store(), Store()
    fill(small, 25)
    fill(large, 400)
    yield small, large
    small.connection.close()
    large.connection.close()


@pytest.mark.parametrize(("order", "has_after", "has_before"), QUERIES)
@pytest.mark.parametrize("name", LISTINGS)
def test_page_costs_the_same_in_a_large_store(sizes, name, order, has_after, has_before):
    """A page takes as many steps among 400 threads and assistants as among 25."""
    costs = []
    for store in sizes:
        page, ids = LISTINGS[name](store)
        query = page_query(ids, order, has_after, has_before)
        store.steps(page, query=query)
        costs.append(store.steps(page, query=query))

    small, large = costs
    assert large <= 1.25 * small


def purge_all(tx):
    while threads.purge(tx):
        pass


def test_purge_costs_the_same_in_a_large_store(sizes):
    """Removing one thread's rows does not search other threads' for references to them."""
    costs = []
    for store in sizes:
        thread = store.thread({"app": "gone"})
        add_run(store, thread)
        store.write(threads.delete, thread)
        costs.append(store.steps(purge_all))

    small, large = costs
    assert large <= 1.25 * small


def test_run_costs_the_same_in_a_large_store(sizes):
    """Beginning and ending a run takes as many steps however many runs there were before."""
    costs = []
    for store in sizes:
        thread = store.thread()
        run, generation = store.started(thread)
        _, changes = store.open_message(run)
        ending = Ending(event=RunEvent.COMPLETE, changes=changes)
        costs.append(store.steps(run_transactions.finish, run.id, generation, ending))
        costs.append(store.steps(run_transactions.create, thread, store.new_run()))
        costs.append(store.steps(run_transactions.recover))
        costs.append(store.steps(runs.by_expiry))

    small, large = costs[:4], costs[4:]
    assert all(more <= 1.25 * less for less, more in zip(small, large, strict=True))


def test_delivery_costs_the_same_in_a_large_store(sizes):
    """Announcing an event, claiming a delivery and ending it: each however many there are."""
    costs = []
    for store in sizes:
        costs.append(store.steps(events.emit, "customer.created", {"customer": "x"}))
        due = store.write(delivery_claims.claim, {}, "lease_1")
        costs.append(store.steps(delivery_claims.finish, due.claims[0], Reply(status=200), 1.0))
        costs.append(store.steps(delivery_claims.finish, due.claims[1], Reply(status=500), 1.0))
        costs.append(store.steps(delivery_claims.claim, {}, "lease_2"))
        costs.append(store.steps(deliveries.forget))
        costs.append(store.steps(events.forget))

    small, large = costs[:6], costs[6:]
    assert all(more <= 1.25 * less for less, more in zip(small, large, strict=True))


def test_clearing_tombstones_takes_only_the_old(sizes):
    """With nothing old enough, clearing costs the same among many tombstones as among few."""
    costs = [store.steps(clear_tombstones, store.now_ms) for store in sizes]

    small, large = costs
    assert large <= 1.25 * small


def test_every_reference_has_an_index(store):
    """A column that refers to another table begins an index, or deletes there would search here."""
    missing = []
    for (table,) in store.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        firsts = {
            store.rows(f"PRAGMA index_info({row[1]})")[0][2]
            for row in store.rows(f"PRAGMA index_list({table})")
        }
        references = {row[3] for row in store.rows(f"PRAGMA foreign_key_list({table})")}
        missing += [f"{table}.{column}" for column in references - firsts]

    assert missing == []
