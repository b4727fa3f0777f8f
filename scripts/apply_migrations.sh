#!/bin/sh
# Bring the database to the schema of this version: scripts/apply_migrations.sh [--check | --down N | --target NUMBER]
#
# DATABASE_URL (or MIGRATIONS_DATABASE_URL) is the owner's. Safe to run twice, and from many machines at once.
set -eu

if [ -z "${MIGRATIONS_DATABASE_URL:-}${DATABASE_URL:-}" ]; then
    echo "error: set DATABASE_URL to postgresql://user:password@host:5432/name" >&2
    exit 2
fi
spell=$(dirname "$0")/../.venv/bin/spell
[ -x "$spell" ] || spell=spell
exec "$spell" migrate "$@"
