"""What is measured all the time, whether or not anything happens: alerts stand on it."""

from pathlib import Path
from typing import Final

from ringside_proxy.store import files
from tests.api.live import following, until
from tests.api.rig import serving
from tests.fakes import error_reply, text_reply

GROW: Final = (
    "ringside_loop_lag_seconds_count",
    "ringside_store_free_bytes",
    "ringside_store_wal_bytes",
    "ringside_store_tx_total",
    "ringside_store_commit_seconds_count",
    "ringside_store_batch_size_count",
)


async def test_a_proxy_measures_itself(tmp_path: Path) -> None:
    """How late its loop is, what its disk has left, what its store does, which SQLite it has."""
    async with following(tmp_path) as live:
        await live.developer.make("/v1/threads", {})

        async def are_measured() -> bool:
            return all([await live.metric(name) > 0 for name in GROW])

        await until(are_measured)
        assert await live.metric("ringside_sqlite_fixed") == files.sqlite_is_fixed()


async def test_calls_that_are_sent_again_are_counted(tmp_path: Path) -> None:
    """With the provider, and why."""
    chat = {"model": "fc:openai/gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
    async with serving(tmp_path, max_retries=1) as ringside:
        ringside.upstream.enqueue(error_reply(503), text_reply("hello"))

        answer = await ringside.developer.post("/v1/chat/completions", chat)

        page = (await ringside.admin("/metrics")).body.decode()
    assert answer.status == 200
    counted = 'ringside_retries_total{provider="openai",reason="provider_unavailable"} 1.0'
    assert counted in page.splitlines()
