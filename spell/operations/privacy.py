"""All of an account's data, as an archive. A session may, a key may not."""

from typing import Final

from spell.core.exchange import Request, query_of
from spell.core.operation import Operation, decoded
from spell.models.exports import DataExport, ErasedAccount

_export: Final = decoded(DataExport)
_erased: Final = decoded(ErasedAccount)
_EXPORT: Final = "/v1/privacy/export"


def export(*, idempotency_key: str | None = None) -> Operation[DataExport]:
    """Have all data of your account put into one archive. Conflict while another is being made."""
    request = Request(method="POST", path=_EXPORT)
    return Operation(request=request, decode=_export, creates=True, idempotency_key=idempotency_key)


def get_export(export_id: str) -> Operation[DataExport]:
    """Return how far an export is. NotFound when there is none of yours."""
    return Operation(request=Request(method="GET", path=f"{_EXPORT}/{export_id}"), decode=_export)


def delete(*, confirm: str) -> Operation[ErasedAccount]:
    """Erase your account, for good; `confirm` is its handle. Forbidden unless you signed in within 15 minutes."""
    request = Request(method="DELETE", path="/v1/account", query=query_of(confirm=confirm))
    return Operation(request=request, decode=_erased)


def download_of(export_id: str) -> Request:
    """Return what asks for the archive itself."""
    return Request(method="GET", path=f"{_EXPORT}/{export_id}/download")
