"""Make an API key. Its secret is made and hashed by the edge; only the hash comes here."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.create_budget import NewBudget, add_budget
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.api_key import mode_of
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import (
    ACCOUNT_SCOPES,
    KEYS_PER_ACCOUNT_MAX,
    KeyTerms,
    check_given,
    check_terms,
    inherited,
)
from domain.model.modes import check_test_scopes
from domain.store import budgets, identity
from domain.store.connection import Connection


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key somebody asks for. `made_by` is the key that asks, None for a session or the operator."""

    id: UUID
    account_id: UUID
    made_by: UUID | None
    prefix: str
    secret_hash: str
    name: str
    terms: KeyTerms
    budget: NewBudget | None = None
    """A limit of the key's own, made with it; its `scope_id` is the key's id."""
    made_with: str | None = None
    """The prefix of the secret that the key `made_by` asks with."""
    powers: frozenset[str] = ACCOUNT_SCOPES
    """The scopes that may be given, where no key asks; the operator gives all."""


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key as stored. `replayed`: an earlier call made it, and its secret is gone."""

    key: identity.ApiKey
    replayed: bool


async def create_key(
    conn: Connection, new: NewKey, *, actor: Actor, call: IdempotentCall | None = None, now: datetime
) -> CreatedKey:
    """Make the key under the account lock; the same call again returns the key of the first. Needs Role.ENGINE.

    Raises RefusedError: forbidden (account suspended, scope not had, maker bound by a budget), unauthorized (the
    maker was revoked meanwhile), validation, conflict (too many keys), idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=new.account_id)
    before = await made_before(conn, account_id=new.account_id, call=call)
    if before is None:
        before = await _key_id_if_there(conn, new)
    if before is not None:
        return CreatedKey(key=await _read(conn, new.account_id, before), replayed=True)
    terms = await _terms(conn, new, now=now)
    if await identity.keys_count(conn, account_id=new.account_id, now=now) >= KEYS_PER_ACCOUNT_MAX:
        raise refuse(Code.CONFLICT, f"This account has {KEYS_PER_ACCOUNT_MAX} keys. Revoke one to make another.")
    await identity.key_insert(conn, _row(new, terms), now=now)
    if new.budget is not None:
        await add_budget(conn, new.budget, actor=actor)
    await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=now)
    key = await _read(conn, new.account_id, new.id)
    await audit(conn, actor, Action.KEY_CREATE, account_id=new.account_id, target_id=new.id, after=key, now=now)
    return CreatedKey(key=key, replayed=False)


async def _key_id_if_there(conn: Connection, new: NewKey) -> UUID | None:
    key = await identity.key_get(conn, account_id=new.account_id, key_id=new.id)
    return None if key is None else key.id


async def _terms(conn: Connection, new: NewKey, *, now: datetime) -> KeyTerms:
    check_terms(new.terms, now)
    check_test_scopes(mode_of(new.prefix), new.terms.scopes)
    if new.made_by is None:
        check_given(new.terms.scopes, new.powers)
        return new.terms
    maker = await acting_key(conn, account_id=new.account_id, key_id=new.made_by, asked_with=new.made_with, now=now)
    has_budget = await has_own_budget(conn, account_id=new.account_id, key_id=maker.id, now=now)
    return inherited(new.terms, maker.terms, maker_has_budget=has_budget)


async def acting_key(
    conn: Connection, *, account_id: UUID, key_id: UUID, asked_with: str | None, now: datetime
) -> identity.ApiKey:
    """Return the key that asks for a change of keys, as it is under the lock.

    RefusedError: unauthorized when it died meanwhile, forbidden when it asks with the prefix of a secret that was
    rotated away: whoever found an old secret could otherwise use its grace to get what outlives it.
    """
    key = await identity.key_get(conn, account_id=account_id, key_id=key_id)
    if key is None or not key.is_alive(now):
        raise refuse(Code.UNAUTHORIZED, "This API key is revoked or has expired. Use another key or a session.")
    if asked_with not in {None, key.prefix}:
        raise refuse(Code.FORBIDDEN, "This secret was rotated and at most in its grace. Use the new one.")
    return key


async def has_own_budget(conn: Connection, *, account_id: UUID, key_id: UUID, now: datetime) -> bool:
    """Tell whether a limit binds this very key. Needs the account lock."""
    of_account = await budgets.budgets_list(conn, account_id=account_id, now=now)
    return any(budget.scope == "key" and budget.scope_id == key_id for budget in of_account)


async def _read(conn: Connection, account_id: UUID, key_id: UUID) -> identity.ApiKey:
    key = await identity.key_get(conn, account_id=account_id, key_id=key_id)
    if key is None:
        raise refuse(Code.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used to make something else.")
    return key


def _row(new: NewKey, terms: KeyTerms) -> identity.NewApiKey:
    return identity.NewApiKey(
        id=new.id,
        account_id=new.account_id,
        prefix=new.prefix,
        secret_hash=new.secret_hash,
        name=new.name,
        scopes=sorted(terms.scopes),
        made_by_key=new.made_by,
        rate_limit_rpm=terms.rate_limit_rpm,
        open_casts_max=terms.open_casts_max,
        expires_at=terms.expires_at,
        allowed_origins=list(terms.allowed_origins),
    )
