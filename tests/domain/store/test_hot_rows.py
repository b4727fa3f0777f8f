"""Rows that each batch of casts changes: what every change of one costs is paid with every cast."""

from uuid import uuid4

import psycopg
import pytest

from tests.domain.world import World

CHANGED_BY_EACH_BATCH = [
    "accounts",
    "account_months",
    "budget_windows",
    "casts",
    "ledger_transfers",
    "usage_counters",
    "usage_events",
    "usage_uncounted",
]
KEYS = """
    SELECT conrelid::regclass::text, conname FROM pg_constraint
    WHERE contype = 'f' AND (conrelid = ANY(%s::regclass[]) OR confrelid = ANY(%s::regclass[]))"""
SAY = "Postgres looks at each at every change of a row: refer to account_ids, let the writer's lock guarantee the rest"


async def test_they_have_no_foreign_keys_and_none_lead_to_them(world: World) -> None:
    assert await world.rows(KEYS, CHANGED_BY_EACH_BATCH, CHANGED_BY_EACH_BATCH) == [], SAY


async def test_what_refers_to_an_account_still_needs_it(world: World) -> None:
    insert = "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros) VALUES (%s, %s, 1, 1)"
    await world.rows(insert, uuid4(), world.account_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await world.rows(insert, uuid4(), uuid4())
