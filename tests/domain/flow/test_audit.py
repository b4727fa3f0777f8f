"""An entry is there with its change and never without: what flows write that no route reaches, and what cannot be."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from domain.flow.audit import audit
from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.create_user import create_user, ensure_platform_account
from domain.flow.price_book import set_prices
from domain.flow.revoke_leaked import revoke_leaked
from domain.flow.set_data_days import set_data_days
from domain.flow.suspend_spells import suspend_spells
from domain.model.api_key import mint
from domain.model.audit import OPERATOR, PLATFORM, SHOWN, Action, Actor, shown
from domain.model.errors import RefusedError
from domain.model.periods import Period
from domain.store import identity, sessions, spells, webhooks
from domain.store.audit import Entry, EntryFilter, entries_list
from domain.store.connection import Pool, transaction
from tests.domain.world import World

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# What leads to a secret, or is the name or the address of a person; of a webhook's `url` the origin alone is shown.
NEVER = ("secret_hash", "previous_secret_hash", "token_hash", "email", "user_agent", "address", "token", "handle_hint")


async def entries(pool: Pool, account_id: object) -> list[Entry]:
    """Return the log of an account, oldest first."""
    async with transaction(pool) as connection:
        found = await entries_list(connection, account_id=account_id, wanted=EntryFilter(), before=None, limit=100)
    return found[::-1]


def budget(world: World) -> NewBudget:
    return NewBudget(
        id=uuid4(), account_id=world.account_id, scope="account", scope_id=world.account_id, period=Period.DAILY,
        soft_limit_micros=None, hard_limit_micros=7,
    )  # fmt: skip


async def test_a_change_that_is_rolled_back_leaves_no_entry(world: World, pool: Pool) -> None:
    async with transaction(pool) as connection:
        await create_budget(connection, budget(world), actor=OPERATOR)
        await connection.rollback()
    assert await entries(pool, world.account_id) == []
    async with transaction(pool) as connection:
        await create_budget(connection, budget(world), actor=OPERATOR)
    [entry] = await entries(pool, world.account_id)
    assert (entry.action, entry.actor_kind, entry.actor_id, entry.before) == ("budget.create", "operator", None, None)


async def test_an_entry_that_cannot_be_written_undoes_the_change(world: World, pool: Pool) -> None:
    nobody = msgspec.structs.replace(OPERATOR, kind="nobody")
    with pytest.raises(Exception, match="actor_kind"):
        async with transaction(pool) as connection:
            await create_budget(connection, budget(world), actor=nobody)
    assert await world.rows("SELECT count(*) FROM budgets") == [(0,)]


async def test_what_did_not_change_is_not_written(world: World, pool: Pool) -> None:
    same = {"data_days": 7}
    async with transaction(pool) as connection:
        for after in (same, {"data_days": 8}):
            await audit(
                connection, PLATFORM, Action.ACCOUNT_UPDATE, account_id=world.account_id, target_id="x", before=same,
                after=after, now=NOW,
            )  # fmt: skip
    [entry] = await entries(pool, world.account_id)
    assert (entry.before, entry.after) == ('{"data_days":7}', '{"data_days":8}')


async def test_entries_of_one_instant_are_all_kept_and_come_page_by_page(world: World, pool: Pool) -> None:
    who = Actor(kind="key", id=uuid4(), address="203.0.113.9", request_id="r")
    async with transaction(pool) as connection:
        for number in range(5):
            await audit(connection, who, Action.SESSION_END, account_id=world.account_id, target_id=number, now=NOW)
        seen: list[str] = []
        last = None
        for _ in range(3):
            page = await entries_list(
                connection, account_id=world.account_id, wanted=EntryFilter(), before=last, limit=2
            )
            seen += [entry.target_id for entry in page]
            last = page[-1].id
    assert sorted(seen) == list("01234")


async def test_the_platform_suspends_and_the_creator_reads_why(world: World, pool: Pool) -> None:
    for _ in range(2):
        async with transaction(pool) as connection:
            await suspend_spells(connection, [world.spell_id], reason="it bites", actor=PLATFORM)
    [entry] = await entries(pool, world.creator_id)
    assert (entry.action, entry.actor_kind, entry.target_id) == ("spell.suspend", "platform", str(world.spell_id))
    assert "it bites" in (entry.after or "")


async def test_a_leaked_key_is_in_the_log_of_its_owner_once(world: World, pool: Pool) -> None:
    minted = mint(bytes(46))
    await world.rows("UPDATE api_keys SET prefix = %s, secret_hash = %s", minted.prefix, minted.text)
    for _ in range(2):
        async with transaction(pool) as connection:
            await revoke_leaked(connection, [minted.text], actor=OPERATOR, matches=lambda stored, text: stored == text)
    [entry] = await entries(pool, world.account_id)
    assert (entry.action, entry.target_id) == ("key.revoke_leaked", str(world.key_id))
    assert minted.text not in repr(entry)


async def test_what_the_operator_sets_is_in_the_log_of_whom_it_concerns(pool: Pool) -> None:
    async with transaction(pool) as connection:
        made = await create_user(
            connection, user_id=uuid4(), account_id=uuid4(), handle="grace", email="g@example.org", plan="free",
            billing="auto", actor=OPERATOR, now=NOW,
        )  # fmt: skip
        for days in (30, 3, 3):
            await set_data_days(connection, handle="grace", data_days=days, actor=OPERATOR, now=NOW)
        with pytest.raises(RefusedError):
            await set_data_days(connection, handle="nobody", data_days=3, actor=OPERATOR, now=NOW)
    found = await entries(pool, made.account.id)
    assert sorted(entry.action for entry in found) == ["account.update", "user.create"]
    assert "g@example.org" not in repr(found)


async def test_prices_are_in_the_platforms_own_log(world: World, pool: Pool) -> None:
    for per_cast in (1_000, 2_000, 2_000):
        async with transaction(pool) as connection:
            platform = await ensure_platform_account(connection, account_id=uuid4(), now=NOW)
            await set_prices(
                connection, account_id=platform.id, per_cast_micros=per_cast, per_gfuel_micros=1_500,
                platform_share_percent=20, actor=OPERATOR, now=NOW,
            )  # fmt: skip
    [entry] = await entries(pool, platform.id)  # the first were in force: the world has them
    assert '"per_cast_micros":1000' in (entry.before or "")
    assert '"per_cast_micros":2000' in (entry.after or "")
    assert await entries(pool, world.account_id) == []


@pytest.mark.parametrize("kind", SHOWN)
def test_no_kind_of_target_shows_a_secret_or_a_person(kind: str) -> None:
    assert not set(SHOWN[kind]) & set(NEVER)


def test_every_action_has_a_kind_whose_fields_are_told() -> None:
    assert {action.target_kind for action in Action} == set(SHOWN)


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        ("key", identity.ApiKey),
        ("spell", spells.Spell),
        ("version", spells.SpellVersion),
        ("webhook", webhooks.Endpoint),
        ("session", sessions.NewSession),
    ],
)
def test_what_is_shown_is_a_field_of_what_is_written(kind: str, struct: type[msgspec.Struct]) -> None:
    """A field renamed would leave the log in silence."""
    elsewhere = {"reason", "ended_at"}  # of a suspension, and of the row that the end of a session says without
    assert set(SHOWN[kind]) - elsewhere <= set(struct.__struct_fields__)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://example.com/T0/B0/secret?token=x#y", "https://example.com"),
        ("https://user:password@example.com:8443/", "https://example.com:8443"),
        ("http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080"),
    ],
)
def test_of_an_address_only_the_origin_is_shown(url: str, said: str) -> None:
    assert shown("webhook", {"url": url, "secret": "x"}) == {"url": said}
