"""Nothing that can name somebody is missing from an erasure: tables and columns as the database itself lists them."""

from domain.model.erasure import DELETED, EMPTIED, KEPT
from domain.model.personal_data import OWNED
from tests.domain.world import World

# Whatever can hold words; numbers, ids, instants and truths cannot.
COLUMNS = """
    SELECT c.relname, a.attname
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND a.attnum > 0 AND NOT a.attisdropped
      AND coalesce(nullif(t.typbasetype, 0), t.oid) IN ('text'::regtype, 'text[]'::regtype, 'varchar'::regtype,
        'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
"""
SAY = "say in domain/model/erasure.py what an erasure does to it, or why it may stay"


async def test_every_column_that_can_hold_words_is_emptied_or_kept_for_a_reason(world: World) -> None:
    found: dict[str, set[str]] = {}
    for table, column in await world.rows(COLUMNS):
        found.setdefault(table, set()).add(column)
    for table in OWNED:
        if table in DELETED:
            continue
        emptied, kept = set(EMPTIED.get(table, ())), set(KEPT.get(table, {}))
        assert emptied & kept == set(), table
        assert sorted(found.get(table, set()) - emptied - kept) == [], f"{table}: {SAY}"
        assert sorted((emptied | kept) - found.get(table, set())) == [], f"{table} has no such column any more"
        assert all(KEPT.get(table, {}).values()), table


def test_every_table_that_is_named_is_there_and_named_once() -> None:
    assert (set(EMPTIED) | set(KEPT)) - set(OWNED) == set()
    assert set(DELETED) - set(OWNED) == {"magic_links", "privacy_export_pieces"}
    assert set(DELETED) & (set(EMPTIED) | set(KEPT)) == set()
