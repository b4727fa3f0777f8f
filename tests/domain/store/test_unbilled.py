"""Whose casts are on nobody's bill, as admission reads it."""

from domain.store import admission
from domain.store.connection import Pool, transaction
from tests.domain.world import make_world


async def test_who_is_subscribed_is_billed_also_while_a_process_has_no_keys(database_url: str, pool: Pool) -> None:
    worlds = {billing: await make_world(database_url, billing=billing) for billing in ("off", "auto", "on")}
    async with transaction(pool) as connection:
        ids = [world.account_id for world in worlds.values()]
        state = await admission.read(connection, account_ids=ids, key_ids=[], billing_enabled=False)
    assert all(account.metered for account in state.accounts)
    assert [account.id for account in state.accounts if account.unbilled] == [worlds["off"].account_id]
