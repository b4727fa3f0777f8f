"""Ask for an export of all of an account's data, see how far it is, and download it."""

from collections.abc import AsyncGenerator
from typing import Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, get, post
from litestar.response import Stream

from api import weights
from api.access import SESSION_ONLY
from api.auth import Principal
from api.creation import REPLAYED, idempotent_call
from api.privacy.views import ExportView, export_view
from api.services import Services
from domain.flow.request_export import find_export, request_export
from domain.model.audit import Actor
from domain.model.errors import Code, refuse
from domain.store import privacy
from domain.store.connection import Pool, StoreError, account_transaction, transaction
from domain.store.privacy import Export

_TAGS: Final = ["privacy"]
_ONE: Final = "/v1/privacy/export/{export_id:uuid}"


@post("/v1/privacy/export", status_code=202, access=SESSION_ONLY, weight=weights.EXPORT, tags=_TAGS)
async def ask_for_export(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor
) -> Response[ExportView]:
    """Have all data of your account put into one archive; one at a time. Send an Idempotency-Key."""
    assert principal.user_id is not None, "the route is for sessions only"
    call = await idempotent_call(request)
    async with transaction(services.engine_pool) as connection:
        asked = await request_export(
            connection,
            export_id=uuid4(),
            account_id=principal.account_id,
            user_id=principal.user_id,
            actor=actor,
            call=call,
        )
    headers = {"location": f"/v1/privacy/export/{asked.export.id}"}
    return Response(_view(services, asked.export), headers={**headers, **REPLAYED} if asked.replayed else headers)


@get(_ONE, access=SESSION_ONLY, tags=_TAGS)
async def show_export(services: Services, principal: Principal, export_id: UUID) -> ExportView:
    """Show how far an export is, and where it can be downloaded."""
    return _view(services, await _read(services, principal, export_id))


@get(f"{_ONE}/download", access=SESSION_ONLY, weight=weights.EXPORT, tags=_TAGS)
async def download_export(services: Services, principal: Principal, export_id: UUID) -> Stream:
    """Download the archive: a zip of JSON files, one a kind, for seven days after it was ready."""
    export = await _read(services, principal, export_id)
    view = _view(services, export)
    if view.status == "expired":
        raise refuse(Code.NOT_FOUND, f"This export was kept until {export.expires_at}. Ask for another.")
    if view.status != "ready":
        raise refuse(Code.CONFLICT, f"This export is {view.status}, {view.progress_percent} % done. Try again later.")
    return Stream(
        _pieces(services.app_pool, export),
        media_type="application/zip",
        headers={
            "content-length": str(export.size_bytes),
            "content-disposition": f'attachment; filename="spell-export-{export.created_at:%Y-%m-%d}.zip"',
            "cache-control": "private, no-store",
        },
    )


async def _pieces(app_pool: Pool, export: Export) -> AsyncGenerator[bytes]:
    """Yield the archive piece by piece; no transaction waits for whoever downloads it.

    When its time ends meanwhile, so does the connection, and the reader sees by the length that a part is missing.
    """
    for number in range(export.pieces):
        async with account_transaction(app_pool, export.account_id) as connection:
            piece = await privacy.piece_read(
                connection, account_id=export.account_id, export_id=export.id, piece=number
            )
        if piece is None:
            message = f"export {export.id} ended while it was downloaded"
            raise StoreError(message)
        yield piece


async def _read(services: Services, principal: Principal, export_id: UUID) -> Export:
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        return await find_export(connection, account_id=principal.account_id, export_id=export_id)


def _view(services: Services, export: Export) -> ExportView:
    return export_view(export, public_url=services.settings.public_url, now=services.now())


ROUTES: Final = [ask_for_export, show_export, download_export]
