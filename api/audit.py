"""The audit log over HTTP: what was changed in one's account, by whom and from where."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.params import Parameter

from api.access import SESSION_ONLY
from api.auth import Principal
from api.errors import invalid
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from domain.model.audit import SHOWN, Action, ActorKind
from domain.model.errors import Fault, RefusedError
from domain.store.audit import Entry, EntryFilter, entries_list
from domain.store.connection import account_transaction

TARGET_ID_CHARACTERS_MAX: Final = 100


class ActorView(msgspec.Struct, frozen=True, kw_only=True):
    """Who it was: `session`, `key`, `admin` (through /admin), `operator` (at a command line) or `platform`."""

    kind: ActorKind
    id: UUID | None
    """Of the session or the key."""
    user_id: UUID | None


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """What was changed."""

    kind: str
    id: str


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `before` null: it was made; `after` null: it is gone; both: the action says all."""

    id: UUID
    at: datetime
    action: str
    actor: ActorView
    target: TargetView
    before: msgspec.Raw
    after: msgspec.Raw
    address: str
    """Of the client; empty for the operator and the platform."""
    request_id: str


class EntryList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the log, newest first."""

    data: list[EntryView]
    next_cursor: str | None
    has_more: bool


@get("/v1/audit", access=SESSION_ONLY)
async def list_entries(
    *,
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    action: Action | None = None,
    target_kind: str | None = None,
    target_id: Annotated[str | None, Parameter(max_length=TARGET_ID_CHARACTERS_MAX)] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[EntryList]:
    """List what was changed in the account. Entries are never changed and never deleted."""
    wanted = EntryFilter(
        action=None if action is None else action.value,
        target_kind=target_kind,
        target_id=target_id,
        created_after=created_after,
        created_before=created_before,
    )
    _check(wanted)
    before = parse_cursor(cursor)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await entries_list(
            connection,
            account_id=principal.account_id,
            wanted=wanted,
            before=None if before is None else before[1],
            limit=limit + 1,
        )
    page, following = page_of(rows, limit, lambda entry: (entry.at, entry.id))
    query: dict[str, str | int | None] = {
        "action": wanted.action,
        "target_kind": target_kind,
        "target_id": target_id,
        "created_after": None if created_after is None else created_after.isoformat(),
        "created_before": None if created_before is None else created_before.isoformat(),
        "limit": limit,
    }
    view = EntryList(data=[_view(row) for row in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, query, following))


def _check(wanted: EntryFilter) -> None:
    faults: list[Fault] = []
    if wanted.target_kind is not None and wanted.target_kind not in SHOWN:
        message = f"{wanted.target_kind[:50]!r} is no kind of target"
        faults.append(Fault(location="target_kind", message=message, fix=f"Use one of {', '.join(SHOWN)}."))
    if wanted.target_id is not None and "\0" in wanted.target_id:
        faults.append(Fault(location="target_id", message="it has a NUL character", fix="Take it out."))
    for name in ("created_after", "created_before"):
        instant: datetime | None = getattr(wanted, name)
        if instant is not None and instant.tzinfo is None:
            faults.append(Fault(location=name, message="it has no time zone", fix="Send it like 2026-01-31T00:00:00Z."))
    if faults:
        raise RefusedError(invalid(faults))


def _view(row: Entry) -> EntryView:
    return EntryView(
        id=row.id,
        at=row.at,
        action=row.action,
        actor=ActorView(kind=row.actor_kind, id=row.actor_id, user_id=row.user_id),
        target=TargetView(kind=row.target_kind, id=row.target_id),
        before=msgspec.Raw((row.before or "null").encode()),
        after=msgspec.Raw((row.after or "null").encode()),
        address=row.address,
        request_id=row.request_id,
    )


ROUTES: Final = [list_entries]
