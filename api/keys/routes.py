"""API keys over HTTP: make and rotate (the secret is shown once), list, change, revoke."""

import asyncio
import os
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, delete, get, patch, post
from litestar.params import Parameter

from api import weights
from api.access import ANY_KEY_OF_ANY_MODE, needs
from api.auth import Principal, hash_key
from api.creation import REPLAYED, idempotent_call
from api.errors import invalid
from api.keys.views import (
    KeyBody,
    KeyBudget,
    KeyChangeBody,
    KeyList,
    KeyView,
    NewKeyView,
    RotationBody,
    key_view,
    new_key_view,
)
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from domain.flow.create_budget import NewBudget
from domain.flow.create_key import NewKey, create_key
from domain.flow.revoke_key import revoke_key
from domain.flow.rotate_key import Rotation, rotate_key
from domain.flow.update_key import update_key
from domain.model.api_key import ENTROPY_BYTES, MintedKey, is_prefix, mint, mode_of
from domain.model.audit import Actor
from domain.model.budgets import micros_of_cents
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.key_rules import SCOPES_DEFAULT, KeyScope, KeyTerms
from domain.model.modes import Mode
from domain.store import identity
from domain.store.connection import account_transaction, transaction

_ALL: Final = ["/v1/keys", "/api/keys"]
_ONE: Final = [f"{path}/{{prefix:str}}" for path in _ALL]
_ROTATE: Final = [f"{path}/rotate" for path in _ONE]
_KEYS_WRITE: Final = needs(KeyScope.KEYS_WRITE)


@post(_ALL, status_code=201, access=_KEYS_WRITE, weight=weights.NEW_SECRET)
async def make_key(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: KeyBody
) -> Response[NewKeyView]:
    """Make an API key. Needs a session or the scope `keys:write`; send an Idempotency-Key."""
    call = await idempotent_call(request)
    _check_budget(data)
    minted = mint(os.urandom(ENTROPY_BYTES), data.mode)
    new = _new_key(principal, data, minted, await asyncio.to_thread(hash_key, minted.text))
    async with transaction(services.engine_pool) as connection:
        created = await create_key(connection, new, actor=actor, call=call, now=services.now())
    headers = {"location": f"/v1/keys/{created.key.prefix}"}
    view = new_key_view(created.key, text=None if created.replayed else minted.text)
    return Response(view, headers={**headers, **REPLAYED} if created.replayed else headers)


@get(_ALL, access=_KEYS_WRITE)
async def list_keys(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[KeyList]:
    """List the account's keys that are not revoked. Needs a session or the scope `keys:write`."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await identity.keys_list(
            connection, account_id=principal.account_id, before=parse_cursor(cursor), limit=limit + 1
        )
    page, following = page_of(rows, limit, lambda key: (key.created_at, key.id))
    view = KeyList(data=[key_view(key) for key in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, {"limit": limit}, following))


@patch(_ONE, access=_KEYS_WRITE)
async def change_key(
    services: Services, principal: Principal, actor: Actor, prefix: str, data: KeyChangeBody
) -> KeyView:
    """Change a key, named by its prefix or its id. A key makes others at most what it is, and never more of itself."""
    change = data.change()
    if principal.key_id is not None and isinstance(change.rate_limit_rpm, int):
        _check_rate(principal, change.rate_limit_rpm)
    async with transaction(services.engine_pool) as connection:
        changed = await update_key(
            connection,
            account_id=principal.account_id,
            prefix=await _prefix_of(connection, principal.account_id, prefix),
            change=change,
            changed_by=principal.key_id,
            changed_with=principal.key_prefix,
            actor=actor,
            now=services.now(),
        )
    return key_view(changed)


@post(_ROTATE, status_code=200, access=ANY_KEY_OF_ANY_MODE, weight=weights.NEW_SECRET)
async def renew_key(
    *,
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    actor: Actor,
    prefix: str,
    data: RotationBody | None = None,
) -> Response[NewKeyView]:
    """Give a key another secret, shown this once; the one it has stays good for `grace_seconds`, a day by default.

    A session may, the key itself, and a key with `keys:write` that may do as much. Id, budgets and counters stay.
    """
    call = await idempotent_call(request)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        named = await _prefix_of(connection, principal.account_id, prefix)
    minted = mint(os.urandom(ENTROPY_BYTES), mode_of(named))
    secret_hash = await asyncio.to_thread(hash_key, minted.text)
    async with transaction(services.engine_pool) as connection:
        rotation = Rotation(
            account_id=principal.account_id,
            prefix=named,
            asked_by=principal.key_id,
            asked_with=principal.key_prefix,
            new_prefix=minted.prefix,
            new_secret_hash=secret_hash,
            grace_s=(data or RotationBody()).grace_seconds,
        )
        rotated = await rotate_key(connection, rotation, actor=actor, call=call)
    view = new_key_view(rotated.key, text=None if rotated.replayed else minted.text)
    return Response(view, headers=REPLAYED if rotated.replayed else {})


@delete(_ONE, status_code=204, access=_KEYS_WRITE)
async def end_key(services: Services, principal: Principal, actor: Actor, prefix: str) -> None:
    """Revoke a key, named by its prefix or its id. From this answer on it casts nothing."""
    async with transaction(services.engine_pool) as connection:
        named = await _prefix_of(connection, principal.account_id, prefix)
        await revoke_key(connection, account_id=principal.account_id, prefix=named, actor=actor)


async def _prefix_of(connection: identity.Connection, account_id: UUID, text: str) -> str:
    """Return the prefix of the key that `text`, a prefix or an id, names. RefusedError (not found) for neither."""
    if is_prefix(text):
        return text
    try:
        key = await identity.key_get(connection, account_id=account_id, key_id=UUID(text))
    except ValueError:
        key = None
    if key is None:
        raise refuse(Code.NOT_FOUND, "This account has no key of that prefix.")
    return key.prefix


def _check_budget(body: KeyBody) -> None:
    """Refuse a budget that could never bind."""
    if body.mode is Mode.TEST and body.budget is not None:
        fix = "Leave it out: the casts of a test key cost nothing."
        raise RefusedError(invalid([Fault(location="budget", message="a test key spends nothing", fix=fix)]))


def _check_rate(principal: Principal, rate_limit_rpm: int | None) -> None:
    """Refuse a key that would give more than its own rate, which the platform sets where its row does not."""
    if rate_limit_rpm is not None and rate_limit_rpm > principal.rate_limit_rpm:
        raise refuse(
            Code.FORBIDDEN, f"This key itself has {principal.rate_limit_rpm} requests a minute. Use a session."
        )


def _new_key(principal: Principal, body: KeyBody, minted: MintedKey, secret_hash: str) -> NewKey:
    key_id = uuid4()
    if body.scopes is None:
        scopes = SCOPES_DEFAULT if principal.key_id is None else SCOPES_DEFAULT & principal.scopes
    else:
        scopes = frozenset(body.scopes)
    return NewKey(
        id=key_id,
        account_id=principal.account_id,
        made_by=principal.key_id,
        made_with=principal.key_prefix,
        prefix=minted.prefix,
        secret_hash=secret_hash,
        name=body.name,
        terms=KeyTerms(
            scopes=scopes,
            rate_limit_rpm=_rate_given(principal, body.rate_limit_rpm),
            open_casts_max=body.open_casts_max,
            expires_at=body.expires_at,
            allowed_origins=body.allowed_origins,
        ),
        budget=None if body.budget is None else _new_budget(principal.account_id, key_id, body.budget),
    )


def _rate_given(principal: Principal, asked_rpm: int | None) -> int | None:
    """Return the rate of a new key: at most its maker's, which the platform sets where the maker's row does not."""
    if asked_rpm is None or principal.key_id is None:
        return asked_rpm
    return min(asked_rpm, principal.rate_limit_rpm)


def _new_budget(account_id: UUID, key_id: UUID, budget: KeyBudget) -> NewBudget:
    return NewBudget(
        id=uuid4(),
        account_id=account_id,
        scope="key",
        scope_id=key_id,
        period=budget.period,
        soft_limit_micros=micros_of_cents(budget.soft_limit_cents),
        hard_limit_micros=micros_of_cents(budget.hard_limit_cents),
        notify=budget.notify,
    )


ROUTES: Final = [make_key, list_keys, change_key, renew_key, end_key]
