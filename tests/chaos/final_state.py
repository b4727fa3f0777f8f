"""The rows that a run leaves in Postgres, as the checker reads them."""

import hashlib
from collections.abc import Iterable
from datetime import date
from uuid import UUID

import msgspec
import psycopg

from tests.domain.invariants import BROKEN


class CastRow(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted_ms` and `settled_us` are instants of Postgres' clock since the epoch; None: not settled."""

    id: UUID
    account_id: UUID
    status: str
    accepted_ms: int
    held_micros: int
    fuel_limit: int
    funding: str
    started: bool = False
    error_code: str | None = None
    cost_micros: int | None = None
    fuel: int | None = None
    window_ids: tuple[UUID, ...] = ()
    output_sha256: str | None = None
    settled_us: int | None = None
    usage_micros: tuple[int, ...] = ()
    """The cost of each usage event of this cast: one when all is well."""


class WindowRow(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    budget_id: UUID
    account_id: UUID
    limit_micros: int | None
    spent_micros: int
    held_micros: int


class MonthRow(msgspec.Struct, frozen=True, kw_only=True):
    account_id: UUID
    month: date
    spent_micros: int
    held_micros: int


class RememberedRow(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted request, by its idempotency key."""

    account_id: UUID
    key: str
    cast_ids: tuple[UUID, ...]


class FinalState(msgspec.Struct, frozen=True, kw_only=True):
    casts: tuple[CastRow, ...] = ()
    windows: tuple[WindowRow, ...] = ()
    months: tuple[MonthRow, ...] = ()
    remembered: tuple[RememberedRow, ...] = ()
    booked_micros: dict[UUID, int] = {}
    """What the ledger moved for the casts of each account."""
    ledger_sum_micros: int = 0
    granted_micros: dict[UUID, int] = {}
    """The credits each account was given before the run."""
    free_casts_max: int = 100
    """The free casts an account has each month."""
    broken: tuple[str, ...] = ()
    """The invariants of `tests.domain.invariants` that do not hold."""


CASTS = """
SELECT c.id, c.account_id, c.status, (extract(epoch FROM c.accepted_at) * 1000)::bigint, c.held_micros, c.fuel_limit,
  c.funding, c.started_at IS NOT NULL, c.error_code, c.cost_micros, c.fuel, c.window_ids, c.output,
  (SELECT (extract(epoch FROM min(u.settled_at)) * 1000000)::bigint FROM usage_events u WHERE u.id = c.id),
  (SELECT coalesce(array_agg(u.cost_micros), '{}') FROM usage_events u WHERE u.id = c.id)
FROM casts c ORDER BY c.id"""
WINDOWS = "SELECT id, budget_id, account_id, hard_limit_micros, spent_micros, held_micros FROM budget_windows"
MONTHS = "SELECT account_id, month, spent_micros, held_micros FROM account_months"
REMEMBERED = "SELECT account_id, key, cast_ids FROM idempotency_keys"
BOOKED = """
SELECT account_id, sum(amount_micros)::bigint FROM ledger_transfers
WHERE kind IN ('cast_fee', 'creator_share') GROUP BY account_id"""
LEDGER_SUM = """
SELECT coalesce(sum(micros), 0)::bigint FROM (
  SELECT -sum(amount_micros) AS micros FROM ledger_transfers GROUP BY debit
  UNION ALL SELECT sum(amount_micros) FROM ledger_transfers GROUP BY credit) AS sums"""
GRANTED = "SELECT account_id, sum(granted_micros)::bigint FROM credit_grants GROUP BY account_id"


def read_final_state(database_url: str, remembered: Iterable[RememberedRow] = ()) -> FinalState:
    """Read everything at one instant; `remembered` are rows seen before that may have been trimmed since."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = {
            name: connection.execute(query.encode()).fetchall()
            for name, query in {
                "casts": CASTS,
                "windows": WINDOWS,
                "months": MONTHS,
                "remembered": REMEMBERED,
                "booked": BOOKED,
                "ledger": LEDGER_SUM,
                "granted": GRANTED,
                **BROKEN,
            }.items()
        }
    return FinalState(
        casts=tuple(_cast(row) for row in rows["casts"]),
        windows=tuple(_named(WindowRow, row) for row in rows["windows"]),
        months=tuple(_named(MonthRow, row) for row in rows["months"]),
        remembered=tuple({*remembered, *_remembered(rows["remembered"])}),
        booked_micros=dict(rows["booked"]),
        ledger_sum_micros=rows["ledger"][0][0],
        granted_micros=dict(rows["granted"]),
        broken=tuple(f"{name}: {rows[name][:3]}" for name in BROKEN if rows[name]),
    )


def read_remembered(database_url: str) -> list[RememberedRow]:
    with psycopg.connect(database_url) as connection:
        return _remembered(connection.execute(REMEMBERED.encode()).fetchall())


def _remembered(rows: list[tuple]) -> list[RememberedRow]:
    return [RememberedRow(account_id=account, key=key, cast_ids=tuple(ids)) for account, key, ids in rows]


def _named(kind: type[msgspec.Struct], row: tuple) -> msgspec.Struct:
    return kind(**dict(zip(kind.__struct_fields__, row, strict=True)))


def _cast(row: tuple) -> CastRow:
    (identifier, account, status, accepted_ms, held, fuel_limit, funding, started, code, cost, fuel) = row[:11]
    windows, output, settled_us, usage = row[11:]
    return CastRow(
        id=identifier,
        account_id=account,
        status=status,
        accepted_ms=accepted_ms,
        held_micros=held,
        fuel_limit=fuel_limit,
        funding=funding,
        started=started,
        error_code=code,
        cost_micros=cost,
        fuel=fuel,
        window_ids=tuple(windows),
        output_sha256=None if output is None else hashlib.sha256(output).hexdigest(),
        settled_us=settled_us,
        usage_micros=tuple(usage),
    )
