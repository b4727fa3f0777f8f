"""Make an API key. Its secret is made and hashed by the edge; only the hash comes here."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.create_budget import NewBudget, add_budget
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.errors import Code, refuse
from domain.model.key_rules import KEYS_PER_ACCOUNT_MAX, KeyTerms, check_terms, inherited
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


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key as stored. `replayed`: an earlier call made it, and its secret is gone."""

    key: identity.ApiKey
    replayed: bool


async def create_key(conn: Connection, new: NewKey, *, call: IdempotentCall | None = None, now: datetime) -> CreatedKey:
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
        await add_budget(conn, new.budget)
    await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=now)
    return CreatedKey(key=await _read(conn, new.account_id, new.id), replayed=False)


async def _key_id_if_there(conn: Connection, new: NewKey) -> UUID | None:
    key = await identity.key_get(conn, account_id=new.account_id, key_id=new.id)
    return None if key is None else key.id


async def _terms(conn: Connection, new: NewKey, *, now: datetime) -> KeyTerms:
    check_terms(new.terms, now)
    if new.made_by is None:
        return new.terms
    maker = await identity.key_get(conn, account_id=new.account_id, key_id=new.made_by)
    if maker is None or maker.revoked_at is not None:
        raise refuse(Code.UNAUTHORIZED, "This API key is revoked. Make a new one with another key or a session.")
    of_account = await budgets.budgets_list(conn, account_id=new.account_id, now=now)
    return inherited(
        new.terms,
        KeyTerms(
            scopes=frozenset(maker.scopes),
            rate_limit_rpm=maker.rate_limit_rpm,
            open_casts_max=maker.open_casts_max,
            expires_at=maker.expires_at,
        ),
        maker_has_budget=any(budget.scope == "key" and budget.scope_id == maker.id for budget in of_account),
    )


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
    )
