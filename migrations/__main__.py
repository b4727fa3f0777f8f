"""`python -m migrations`: apply what is missing to the database of the environment, and say what was done."""

import asyncio
import os
import sys

from migrations.files import MigrationError
from migrations.runner import migrate


def main() -> int:
    """Return the exit code: 0 done or nothing to do, 1 a migration failed, 2 no database was named."""
    database_url = os.environ.get("MIGRATIONS_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not database_url:
        sys.stderr.write("MIGRATIONS_DATABASE_URL: missing; set it (or DATABASE_URL) to the owner's connection URL\n")
        return 2
    try:
        applied = asyncio.run(migrate(database_url, report=_print_line))
    except MigrationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _print_line(f"{len(applied)} applied" if applied else "nothing to do: the schema is current")
    return 0


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
