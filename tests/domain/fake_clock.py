"""A clock that tests may move: `clock_timestamp()` of one database, found before Postgres' own by the search path."""

from datetime import timedelta

import psycopg

INSTALL = b"""
CREATE SCHEMA fake;
CREATE TABLE fake.clock_offset (by interval NOT NULL);
INSERT INTO fake.clock_offset VALUES ('0');
CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT pg_catalog.clock_timestamp() + by FROM fake.clock_offset';
GRANT USAGE ON SCHEMA fake TO PUBLIC;
GRANT SELECT ON fake.clock_offset TO PUBLIC;
"""


async def install(database_url: str) -> None:
    """Give the database a movable clock; sessions opened from now on see it."""
    name = database_url.rsplit("/", 1)[1]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(INSTALL)
        identifier = psycopg.sql.Identifier(name)
        statement = psycopg.sql.SQL("ALTER DATABASE {} SET search_path = fake, pg_catalog, public")
        await connection.execute(statement.format(identifier))


async def move_to(database_url: str, offset: timedelta) -> None:
    """Set the clock to `offset` from the real time."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(b"UPDATE fake.clock_offset SET by = %s", (offset,))
