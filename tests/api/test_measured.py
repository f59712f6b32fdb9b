"""What is measured all the time, whether or not anything happens: alerts stand on it."""

from pathlib import Path
from typing import Final

from ringside_proxy.store import files
from tests.api.live import following, until

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
