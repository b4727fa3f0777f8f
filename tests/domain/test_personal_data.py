"""Nothing an account has is missing from its export: tables and columns as the database itself lists them."""

import re

from domain.model.export_files import FILES
from domain.model.personal_data import OWNED, UNEXPORTED
from domain.store import privacy_pages
from domain.store.queries import load
from tests.domain.world import World

COLUMNS = """
    SELECT c.relname, a.attname
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
SAY = "say in domain/model/personal_data.py what an export takes of it"
# Words of a column that leads from a row to a person.
_LEADS = re.compile(r"^(account_id|user_id|email|address|user_agent)$")


async def columns_of(world: World) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column in await world.rows(COLUMNS):
        found.setdefault(table, set()).add(column)
    return found


async def test_every_table_is_declared(world: World) -> None:
    found = await columns_of(world)
    assert sorted(set(found) - set(OWNED) - set(UNEXPORTED)) == [], SAY
    assert sorted((set(OWNED) | set(UNEXPORTED)) - set(found)) == [], "these tables are gone"
    assert set(OWNED) & set(UNEXPORTED) == set()


async def test_every_column_of_a_table_with_an_owner_is_exported_or_withheld_with_a_reason(world: World) -> None:
    found = await columns_of(world)
    for table, rule in OWNED.items():
        declared = [*rule.exported, *rule.withheld]
        assert len(set(declared)) == len(declared), table
        assert sorted(found[table] - set(declared)) == [], f"{table}: {SAY}"
        assert sorted(set(declared) - found[table]) == [], f"{table} has no such column any more"
        assert all(rule.withheld.values()), table


async def test_a_table_that_leads_to_a_person_is_exported_or_explained(world: World) -> None:
    """An owner's column in a table of nobody's needs a second look, and a reason that stands here."""
    leading = {table for table, columns in (await columns_of(world)).items() if any(map(_LEADS.search, columns))}
    assert leading - set(OWNED) == {"magic_links", "privacy_export_pieces", "erasures"}


async def test_every_file_has_its_query_and_every_table_its_file() -> None:
    queries = load(privacy_pages.__file__)
    names = [file.name for file in FILES]
    assert len(set(names)) == len(names)
    assert sorted(queries) == sorted(f"{name}_page" for name in names)
    assert {rule.file for rule in OWNED.values()} <= set(names)
