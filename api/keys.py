"""API keys over HTTP: make (the secret is shown once), list, revoke."""

import asyncio
import os
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import Parameter

from api.auth import Principal, hash_key
from api.creation import REPLAYED, idempotent_call
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from domain.flow.create_budget import NewBudget
from domain.flow.create_key import CreatedKey, NewKey, create_key
from domain.flow.revoke_key import revoke_key
from domain.model.api_key import ENTROPY_BYTES, MintedKey, mint
from domain.model.budgets import LIMIT_CENTS_MAX, micros_of_cents
from domain.model.errors import Code, Fault, Refusal, RefusedError
from domain.model.key_rules import NAME_CHARACTERS_MAX, RATE_LIMIT_RPM_MAX, KeyScope, KeyTerms
from domain.model.periods import Period
from domain.store import identity
from domain.store.connection import account_transaction, transaction

Cents = Annotated[int, msgspec.Meta(ge=0, le=LIMIT_CENTS_MAX)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Scopes = Annotated[tuple[str, ...], msgspec.Meta(max_length=len(KeyScope))]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Rate = Annotated[int, msgspec.Meta(ge=1, le=RATE_LIMIT_RPM_MAX)]
# As large as an account's own bound can be set.
_OpenCasts = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class KeyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of the new key's own."""

    period: Period = Period.MONTHLY
    soft_limit_cents: Cents | None = None
    hard_limit_cents: Cents | None = None
    notify: bool = True


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. A key made by a key gets at most what its maker has."""

    name: _Name
    scopes: _Scopes = ()
    """Powers beyond casting and reading: `keys:write`, `budgets:write`, `spells:write`."""
    expires_at: _Instant | None = None
    rate_limit_rpm: _Rate | None = None
    open_casts_max: _OpenCasts | None = None
    budget: KeyBudget | None = None
    allowed_origins: tuple[str, ...] = ()


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown at any time."""

    id: UUID
    prefix: str
    name: str
    scopes: list[str]
    rate_limit_rpm: int | None
    open_casts_max: int | None
    made_by_key: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key just made. `key` is the whole secret, shown this once; null in the replay of an idempotent call."""

    key: str | None
    secret_available: bool


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of keys, newest first."""

    data: list[KeyView]
    next_cursor: str | None
    has_more: bool


@post(["/v1/keys", "/api/keys"], status_code=201)
async def make_key(
    request: Request[Any, Any, Any], services: Services, principal: Principal, data: KeyBody
) -> Response[NewKeyView]:
    """Make an API key. Needs a session or the scope `keys:write`; send an Idempotency-Key."""
    principal.require(KeyScope.KEYS_WRITE)
    if data.allowed_origins:
        fault = Fault(location="allowed_origins", message="origins cannot be bound yet", fix="Take the field out.")
        detail = "allowed_origins cannot be used yet."
        raise RefusedError(Refusal(code=Code.NOT_AVAILABLE, detail=detail, faults=(fault,)))
    call = await idempotent_call(request)
    minted = mint(os.urandom(ENTROPY_BYTES))
    new = _new_key(principal, data, minted, await asyncio.to_thread(hash_key, minted.text))
    async with transaction(services.engine_pool) as connection:
        created = await create_key(connection, new, call=call, now=services.now())
    headers = {"location": f"/v1/keys/{created.key.prefix}"}
    return Response(_shown_once(created, minted), headers={**headers, **REPLAYED} if created.replayed else headers)


@get(["/v1/keys", "/api/keys"])
async def list_keys(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[KeyList]:
    """List the account's keys that are not revoked. Needs a session or the scope `keys:write`."""
    principal.require(KeyScope.KEYS_WRITE)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await identity.keys_list(
            connection, account_id=principal.account_id, before=parse_cursor(cursor), limit=limit + 1
        )
    page, following = page_of(rows, limit, lambda key: (key.created_at, key.id))
    view = KeyList(data=[_view(key) for key in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, {"limit": limit}, following))


@delete(["/v1/keys/{prefix:str}", "/api/keys/{prefix:str}"], status_code=204)
async def end_key(services: Services, principal: Principal, prefix: str) -> None:
    """Revoke a key, named by its prefix or its id. From this answer on it casts nothing."""
    principal.require(KeyScope.KEYS_WRITE)
    async with transaction(services.engine_pool) as connection:
        named = await _prefix_of(connection, principal.account_id, prefix)
        await revoke_key(connection, account_id=principal.account_id, prefix=named)


async def _prefix_of(connection: identity.Connection, account_id: UUID, text: str) -> str:
    try:
        key_id = UUID(text)
    except ValueError:
        return text
    key = await identity.key_get(connection, account_id=account_id, key_id=key_id)
    return text if key is None else key.prefix


def _new_key(principal: Principal, body: KeyBody, minted: MintedKey, secret_hash: str) -> NewKey:
    key_id = uuid4()
    return NewKey(
        id=key_id,
        account_id=principal.account_id,
        made_by=principal.key_id,
        prefix=minted.prefix,
        secret_hash=secret_hash,
        name=body.name,
        terms=KeyTerms(
            scopes=frozenset(body.scopes),
            rate_limit_rpm=body.rate_limit_rpm,
            open_casts_max=body.open_casts_max,
            expires_at=body.expires_at,
        ),
        budget=None if body.budget is None else _new_budget(principal.account_id, key_id, body.budget),
    )


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


def _view(key: identity.ApiKey) -> KeyView:
    return msgspec.convert(key, KeyView, from_attributes=True)


def _shown_once(created: CreatedKey, minted: MintedKey) -> NewKeyView:
    shown = msgspec.structs.asdict(_view(created.key))
    return NewKeyView(**shown, key=None if created.replayed else minted.text, secret_available=not created.replayed)


ROUTES: Final = [make_key, list_keys, end_key]
