"""What a schema is, as text: one line for each thing in schema public that a migration can make or change.

The order of columns is none: one that was dropped comes back as the last.
"""

from typing import Final

import psycopg

_SKIPPED: Final = "schema_migrations"

_QUERIES: Final = {
    "relation": b"""
        SELECT c.relname, c.relkind, c.relpersistence, pg_get_userbyid(c.relowner), c.relrowsecurity,
               c.relforcerowsecurity, c.relispartition, c.reloptions, pg_get_expr(c.relpartbound, c.oid),
               pg_get_partkeydef(c.oid), pg_get_viewdef(c.oid), obj_description(c.oid)
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I')""",
    "column": b"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, a.attstorage, a.attcompression, pg_get_expr(d.adbin, d.adrelid), a.attcollation
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraint": b"""
        SELECT conrelid::regclass, conname, contype, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "index": b"""
        SELECT indrelid::regclass, pg_get_indexdef(indexrelid), indisvalid
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace""",
    "function": b"""
        SELECT p.oid::regprocedure, pg_get_userbyid(p.proowner), pg_get_functiondef(p.oid)
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')""",
    "trigger": b"""
        SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal""",
    "policy": b"""
        SELECT schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies""",
    "type": b"""
        SELECT t.typname, t.typtype,
               array(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
               array(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = t.oid ORDER BY conname)
        FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'r')""",
    "grant": b"""
        SELECT object, pg_get_userbyid(grantee), privilege_type, is_grantable
        FROM (
          SELECT relname::text AS object, relacl AS acl FROM pg_class WHERE relnamespace = 'public'::regnamespace
          UNION ALL
          SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE pronamespace = 'public'::regnamespace
          UNION ALL
          SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute
          UNION ALL
          SELECT 'schema ' || nspname, nspacl FROM pg_namespace WHERE nspname = 'public'
        ) AS objects, aclexplode(acl)
        WHERE acl IS NOT NULL AND object NOT LIKE 'pg\\_%' ESCAPE '\\'""",
    "extension": b"SELECT extname, extversion FROM pg_extension",
    "schema": b"SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'",
}


async def dump(database_url: str) -> list[str]:
    """Return the schema as sorted lines, equal for equal schemas; the runner's own table left out."""
    lines: list[str] = []
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for kind, query in _QUERIES.items():
            rows = await (await connection.execute(query)).fetchall()
            lines += [f"{kind} {row}" for row in rows]
    return sorted(line for line in lines if _SKIPPED not in line)
