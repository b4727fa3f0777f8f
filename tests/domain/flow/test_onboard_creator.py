"""A creator gets one account at Stripe, whoever asks when, and what Stripe says of it is kept in order."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID

import pytest

from domain.flow.onboard_creator import begin_anew, begin_onboarding, follow_connected, keep_connected
from domain.model.audit import OPERATOR
from domain.model.errors import RefusedError
from domain.model.payouts import PayoutAccount
from domain.model.stripe_money import ConnectedAccount
from domain.store import payout_accounts
from domain.store.connection import Pool, Role, open_pool, transaction
from tests.domain.creators import DAY, make_creator
from tests.domain.world import World, make_world


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=4) as opened:
        yield opened


async def begin(pool: Pool, creator: UUID) -> PayoutAccount:
    async with transaction(pool) as connection:
        return await begin_onboarding(connection, account_id=creator, actor=OPERATOR)


async def keep(pool: Pool, creator: UUID, name: str) -> PayoutAccount:
    async with transaction(pool) as connection:
        return await keep_connected(connection, account_id=creator, stripe_account_id=name)


async def anew(pool: Pool, account: PayoutAccount) -> PayoutAccount:
    async with transaction(pool) as connection:
        return await begin_anew(connection, account)


def at_stripe(name: str, *, active: bool) -> ConnectedAccount:
    return ConnectedAccount(
        id=name, details_submitted=True, transfers_active=active, payouts_enabled=active, disabled_reason=None,
        metadata={},
    )  # fmt: skip


async def test_the_row_is_there_first_and_the_account_is_remembered_once(world: World, pool: Pool) -> None:
    creator = await make_creator(world)
    first, second = await begin(pool, creator), await begin(pool, creator)
    assert first == second
    assert first.status == "none"
    assert (await keep(pool, creator, "acct_1")).stripe_account_id == "acct_1"
    assert (await keep(pool, creator, "acct_2")).stripe_account_id == "acct_1", "an account never has two"
    assert (await begin(pool, creator)).stripe_account_id == "acct_1"
    assert await world.rows("SELECT action FROM audit_log") == [("payout_account.create",)]


async def test_of_two_who_begin_anew_one_does(world: World, pool: Pool) -> None:
    creator = await make_creator(world)
    before = await begin(pool, creator)
    raised = await anew(pool, before)
    assert (raised.epoch, raised.key != before.key) == (1, True)
    assert await anew(pool, before) == raised
    kept = await keep(pool, creator, "acct_1")
    assert await anew(pool, raised) == kept, "somebody found it meanwhile"
    gone = await anew(pool, kept)
    assert (gone.epoch, gone.stripe_account_id, gone.status) == (2, None, "none")


async def test_an_old_answer_changes_nothing(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    for minutes, active in ((2, False), (1, True), (2, True)):
        async with transaction(pool) as connection:
            found = at_stripe("acct_1", active=active)
            await follow_connected(connection, found, asked_at=DAY + timedelta(minutes=minutes))
    async with transaction(pool) as connection:
        account = await payout_accounts.account_get(connection, account_id=creator)
        assert await follow_connected(connection, at_stripe("acct_2", active=True), asked_at=DAY) is None
    assert account is not None
    assert account.status == "disabled"


async def test_a_suspended_creator_is_not_onboarded(world: World, pool: Pool) -> None:
    creator = await make_creator(world, status="suspended")
    with pytest.raises(RefusedError, match="suspended"):
        await begin(pool, creator)
