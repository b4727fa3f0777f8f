"""What `spell doctor` asks the servers: versions, durability, schema, roles, clocks and memory."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from domain.store.connection import Connection, Role
from domain.store.health import RoleFacts, ServerFacts, roles, server_facts
from domain.store.ops import partition_ready
from migrations.files import MigrationError
from migrations.runner import pending_on
from operate.findings import Finding, problem, warning, well

# Partitioned tables with the planner's run-time pruning, and row locks as they are used here.
POSTGRES_VERSION_MIN: Final = 15
# XAUTOCLAIM and ACLs for streams.
REDIS_VERSION_MIN: Final = (6, 2)
# What the claim of a passed deadline forgives (workers.cast.DEADLINE_MARGIN_MS).
CLOCK_SKEW_S_MAX: Final = 2.0
# Workers stop reading here, so that finishing always has room.
REDIS_MEMORY_PERCENT_MAX: Final = 80
_ROLES: Final = ("spell_owner", Role.APP.value, Role.ENGINE.value)
_CONNECT_S_MAX: Final = 5
_MAJOR: Final = 10_000

Clock = Callable[[], datetime]


async def examine_postgres(url: str, *, clock: Clock) -> list[Finding]:
    """Look at the server, its schema and its roles. `url` may be the owner's or the engine's."""
    try:
        connection = await Connection.connect(url, autocommit=True, connect_timeout=_CONNECT_S_MAX)
    except psycopg.Error as error:
        fix = "start the server, or correct DATABASE_URL: host, port, database, user and password"
        return [problem("postgres", f"no connection: {_line(error)}", fix)]
    async with connection:
        before = clock()
        facts = await server_facts(connection)
        found = [judge_postgres(facts), judge_clock(facts.now, before=before, after=clock())]
        found.append(judge_roles(await roles(connection, names=_ROLES)))
        schema = await _migrations(connection)
        found.append(schema)
        if not schema.fix:
            found.append(_partitions(ready=await partition_ready(connection, now=facts.now)))
    return found


def judge_postgres(facts: ServerFacts) -> Finding:
    """Return what to think of the server's version and of what a commit means to it."""
    detail = f"{facts.version}, {facts.connections_max} connections at most"
    if facts.version_number < POSTGRES_VERSION_MIN * _MAJOR:
        return problem("postgres", detail, f"use Postgres {POSTGRES_VERSION_MIN} or newer")
    if not facts.fsync or facts.synchronous_commit == "off":
        off = "synchronous_commit" if facts.fsync else "fsync"
        return problem("postgres", f"{detail}; {off} is off: a crash loses accepted casts", f"set {off} = on")
    return well("postgres", detail)


def judge_clock(server_now: datetime, *, before: datetime, after: datetime) -> Finding:
    """Return how far this machine's clock is from Postgres', which was read between `before` and `after`."""
    ahead_s = (before - server_now).total_seconds()
    behind_s = (server_now - after).total_seconds()
    skew_s = max(ahead_s, behind_s, 0.0)
    detail = f"{skew_s:.3f} s from Postgres' clock"
    if skew_s > CLOCK_SKEW_S_MAX:
        return problem("clock", detail, "run a time service (chrony, systemd-timesyncd) here and on the server")
    return well("clock", detail)


def judge_roles(found: list[RoleFacts]) -> Finding:
    """Return whether the platform's roles are there, may be taken on, and stay under row-level security."""
    missing = sorted({*_ROLES} - {role.name for role in found})
    if missing:
        return problem("roles", f"missing: {', '.join(missing)}", "run `spell migrate` as a login that may make roles")
    loose = [role.name for role in found if role.passes_row_security]
    if loose:
        fix = "; ".join(f"ALTER ROLE {name} NOSUPERUSER NOBYPASSRLS" for name in loose)
        return problem("roles", f"{', '.join(loose)} pass row-level security", fix)
    taken = [role.name for role in found if role.may_be_taken]
    if not set(taken) & set(Role):
        fix = f"GRANT {Role.ENGINE} TO the login of ENGINE_DATABASE_URL, and {Role.APP} to that of DATABASE_URL"
        return problem("roles", "this login may take on none of them", fix)
    return well("roles", f"this login may be {', '.join(sorted(taken))}")


async def _migrations(connection: Connection) -> Finding:
    try:
        pending = await pending_on(connection)
    except MigrationError as error:
        return problem("migrations", str(error), "mend that, then run `spell migrate`")
    if pending:
        return problem("migrations", f"not applied: {', '.join(pending)}", "run `spell migrate`")
    return well("migrations", "the schema is current")


def _partitions(*, ready: bool) -> Finding:
    if ready:
        return well("partitions", "this month's and the next one's are there")
    fix = "run `spell release`, and let a scheduler run: it makes them three months ahead"
    return problem("partitions", "this month's or the next one's is missing", fix)


def examine_redis(url: str) -> Finding:
    """Look at the wire's server."""
    from_url: Callable[..., Redis] = Redis.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # redis-py leaves options untyped
    try:
        with from_url(url, socket_timeout=_CONNECT_S_MAX, socket_connect_timeout=_CONNECT_S_MAX) as client:
            return judge_redis(client.info())  # pyright: ignore[reportUnknownMemberType]  # its **kwargs are untyped
    except (RedisError, OSError) as error:
        fix = "start the server, or correct REDIS_URL: host, port, user and password; its user needs +info"
        return problem("redis", f"no answer: {_line(error)}", fix)


def judge_redis(facts: dict[str, object]) -> Finding:
    """Return what to think of a Redis by its INFO."""
    version = str(facts.get("redis_version", "0"))
    used, most = _bytes(facts, "used_memory"), _bytes(facts, "maxmemory")
    policy = str(facts.get("maxmemory_policy", "unknown"))
    detail = f"{version}, maxmemory {most:,} bytes, {used:,} used, {policy}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < REDIS_VERSION_MIN:
        return problem("redis", detail, "use Redis 6.2 or newer, or Valkey")
    if policy != "noeviction":
        return problem("redis", detail, "set maxmemory-policy noeviction, or casts are evicted; /readyz fails without")
    if most == 0:
        fix = "set maxmemory to what this machine can spare: without it a full wire takes all of the machine's memory"
        return warning("redis", detail, fix)
    if used * 100 > most * REDIS_MEMORY_PERCENT_MAX:
        fix = "start more workers and ledgers, or raise maxmemory: workers do not read while so much is used"
        return warning("redis", detail, fix)
    return well("redis", detail)


def _bytes(facts: dict[str, object], name: str) -> int:
    value = facts.get(name)
    return value if isinstance(value, int) else 0


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
