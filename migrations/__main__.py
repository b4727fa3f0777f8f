"""`python -m migrations`: apply what is missing to the database of the environment, and say what was done."""

import asyncio
import os
import sys

from domain.settings import MigrationSettings, SettingsError, load
from migrations.files import MigrationError
from migrations.runner import migrate


def main() -> int:
    """Return the exit code: 0 done or nothing to do, 1 a migration failed, 2 the settings do not name a database."""
    try:
        settings = load(MigrationSettings, os.environ)
        applied = asyncio.run(migrate(settings.migrations_database_url.reveal(), report=_print_line))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
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
