"""Replaces what a restart of Postgres broke: one broken connection is a sign that its neighbours are broken too."""

from collections.abc import Sequence
from typing import Final

from domain.store.connection import Pool

LOOK_EVERY_S: Final = 0.1


class ConnectionCheck:
    """Watches the pools of one server. Without it each broken connection would cost a request of its own."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = pools
        self._bad_seen = 0

    async def run_once(self) -> int:
        """Check every idle connection of all pools once one of them got a broken one back; return how many pools."""
        bad = sum(self._bad_of(pool) for pool in self._pools)
        if bad == self._bad_seen:
            return 0
        self._bad_seen = bad
        for pool in self._pools:
            await pool.check()
        return len(self._pools)

    def _bad_of(self, pool: Pool) -> int:
        stats = pool.get_stats()
        return stats.get("returns_bad", 0) + stats.get("connections_lost", 0)
