"""The statements of admission: lock, read, write. Many rows go in as columns, few and rare ones as JSON.

Everything here runs inside the caller's transaction, in a pipeline where statements do not depend on each other.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

import msgspec

from domain.model.admission_state import AdmissionState
from domain.model.session import SESSION_IDLE_DAYS_MAX
from domain.store import spell_prices
from domain.store.columns import bigints, numbered, written_in_columns
from domain.store.connection import Connection
from domain.store.exchange import Sent, exchange, json_of, later, uuids, value, written
from domain.store.queries import load, together

_QUERIES: Final = load(__file__)
_decode_state: Final = msgspec.json.Decoder(AdmissionState).decode


class WindowRow(msgspec.Struct, frozen=True, kw_only=True):
    """A budget window to make."""

    id: UUID
    account_id: UUID
    budget_id: UUID
    starts_on: date
    hard_limit_micros: int | None


class MicrosRow(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to the hold of a window or a grant."""

    id: UUID
    micros: int


class NewMonthRow(msgspec.Struct, frozen=True, kw_only=True):
    """A month of an account to begin."""

    account_id: UUID
    month: date


class MonthRow(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to the hold of an account's month."""

    account_id: UUID
    month: date
    micros: int
    free: int
    test: int
    """Casts of test keys, which are counted and not held."""


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """How many casts a key opened."""

    id: UUID
    casts: int


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """How many casts an account opened, and how many of them go on the wire."""

    id: UUID
    casts: int
    on_wire_default: int
    on_wire_large: int


class CastTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a cast to write has in common with others of its batch."""

    spell_id: UUID
    version_id: UUID
    pool: str
    accepted_ms: int
    deadline_ms: int
    fuel: int
    wall_ms: int
    memory_bytes: int
    output_bytes: int
    log_bytes: int
    price_version: int
    creator_price_micros: int
    creator_rates: tuple[int, int, int] | None
    quote_id: UUID | None
    creator_id: UUID
    held_micros: int
    funding: str
    webhook_url: str | None


class CastRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cast to write; its terms and its input travel beside it."""

    id: UUID
    account_id: UUID
    key_id: UUID | None
    on_wire: bool
    window_ids: tuple[UUID, ...]
    grant_ids: tuple[UUID, ...]
    grant_micros: tuple[int, ...]
    metadata: str
    traceparent: str | None


class IdempotencyRow(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted request to remember."""

    account_id: UUID
    mode: str
    key: str
    request_hash: bytes
    cast_ids: tuple[UUID, ...]
    accepted_ms: int


class Holds(msgspec.Struct, frozen=True, kw_only=True):
    """All that one batch writes. Each list names a row once."""

    new_windows: list[WindowRow]
    new_months: list[NewMonthRow]
    windows: list[MicrosRow]
    months: list[MonthRow]
    grants: list[MicrosRow]
    keys: list[KeyRow]
    accounts: list[AccountRow]
    casts: list[CastRow]
    terms: list[CastTerms]
    """Of each cast."""
    inputs: list[bytes]
    idempotency: list[IdempotencyRow]


async def lock_and_read(
    connection: Connection,
    *,
    account_ids: list[UUID],
    key_ids: list[UUID],
    idempotency: Sequence[tuple[UUID, str]],
    billing_enabled: bool,
    skip_locked: bool,
    session_ids: Sequence[UUID] = (),
    version_ids: Sequence[UUID] = (),
) -> tuple[set[UUID], AdmissionState]:
    """Lock the accounts, then read their state in a second statement; return the ids that were locked and the state.

    `version_ids` are of versions that ever had a price. With `skip_locked` accounts that somebody else holds are left
    out instead of waited for.
    Raises LockTimeoutError when a wait takes longer than the session allows.
    """
    lock = _QUERIES["accounts_lock_free" if skip_locked else "accounts_lock"]
    state = _state_query(account_ids, key_ids, idempotency, session_ids=session_ids, billing_enabled=billing_enabled)
    prices = [spell_prices.latest_query(version_ids)] if version_ids else []
    locked, read, *priced = await exchange(connection, (lock, {"account_ids": account_ids}), state, *prices)
    found = _decode_state(value(read))
    if priced:
        found.prices = spell_prices.latest_of(priced[0])
    return set(uuids(locked)) if skip_locked else set(account_ids), found


async def read(
    connection: Connection,
    *,
    account_ids: list[UUID],
    key_ids: list[UUID],
    billing_enabled: bool,
    session_ids: Sequence[UUID] = (),
) -> AdmissionState:
    """Read the same state without locks: good enough to choose between two refusals, never to accept."""
    state = _state_query(account_ids, key_ids, (), session_ids=session_ids, billing_enabled=billing_enabled)
    (read_state,) = await exchange(connection, state)
    return _decode_state(value(read_state))


def _state_query(
    account_ids: list[UUID],
    key_ids: list[UUID],
    idempotency: Sequence[tuple[UUID, str]],
    *,
    session_ids: Sequence[UUID],
    billing_enabled: bool,
) -> Sent:
    return _QUERIES["state_read"], {
        "account_ids": account_ids,
        "key_ids": key_ids,
        "session_ids": session_ids,
        "session_idle_days": SESSION_IDLE_DAYS_MAX,
        "billing_enabled": billing_enabled,
        "idempotency_accounts": [account_id for account_id, _ in idempotency],
        "idempotency_keys": [key for _, key in idempotency],
    }


async def write(connection: Connection, holds: Holds) -> None:
    """Write the holds of a batch, with the COMMIT of a brief transaction.

    The statement itself asserts that every month is there, and every window and grant still had room: under the account
    lock nothing else can have taken it, so a smaller row count is a fault of ours, and the batch rolls back.
    """
    if holds.new_windows:
        await later(connection, (_QUERIES["windows_insert"], {"rows": json_of(holds.new_windows)}))
    if holds.new_months:
        await later(connection, (_QUERIES["months_insert"], {"rows": json_of(holds.new_months)}))
    rows: dict[str, Sequence[msgspec.Struct]] = {
        "windows_hold": holds.windows,
        "grants_hold": holds.grants,
        "months_hold": holds.months,
        "keys_open": holds.keys,
        "accounts_open": holds.accounts,
        "casts_insert": holds.casts,
    }
    remembered = {"idempotency_insert": holds.idempotency}
    whole = together({name: _QUERIES[name] for name, some in (rows | remembered).items() if some})
    terms, terms_of = numbered(holds.terms)
    beside = {"inputs": holds.inputs, "terms": json_of(terms), "terms_of": bigints(terms_of)}
    await later(connection, (whole, {**written_in_columns(rows), **written(remembered), **beside}))
