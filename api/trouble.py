"""From an exception to the refusal the caller sees. Nothing of an unexpected error's text leaves the process."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from redis.exceptions import RedisError

from api.call import call_of
from api.errors import invalid, overloaded, problem
from domain.model.errors import Code, Fault, Refusal, RefusedError
from domain.store.connection import StoreError

_logger: Final = logging.getLogger(__name__)

_INTERNAL: Final = Refusal(code=Code.INTERNAL, detail="Something went wrong on our side. It has been logged.")
_OF_STATUS: Final[Mapping[int, Code]] = {
    400: Code.MALFORMED,
    401: Code.UNAUTHORIZED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    409: Code.CONFLICT,
    413: Code.PAYLOAD_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.VALIDATION,
    429: Code.RATE_LIMITED,
}


def refusal_of(error: Exception) -> Refusal:
    """Return what the caller is told about `error`; what nobody expected is logged with its traceback."""
    if isinstance(error, RefusedError):
        return error.refusal
    if isinstance(error, StoreError):
        _logger.warning("Postgres: %s", error)
        return overloaded("The database does not answer. Nothing was done; try again.")
    if isinstance(error, RedisError):
        _logger.warning("Redis: %s", error)
        return overloaded("The queue does not answer. Nothing was done; try again.")
    if isinstance(error, ValidationException):
        return invalid(_faults(error))
    if isinstance(error, HTTPException) and error.status_code in _OF_STATUS:
        return Refusal(code=_OF_STATUS[error.status_code], detail=error.detail)
    _logger.error("unexpected error", exc_info=error)
    return _INTERNAL


def _faults(error: ValidationException) -> list[Fault]:
    extra = cast("object", error.extra)
    entries = cast("list[Any]", extra) if isinstance(extra, list) else []
    faults = [
        Fault(
            location=str(entry.get("key") or entry.get("source") or "body"),
            message=str(entry.get("message", "does not fit")),
            fix="Look the field up in /docs and send what it asks for.",
        )
        for entry in (cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict))
    ]
    return faults or [Fault(location="body", message=error.detail, fix="Look the request up in /docs.")]


ProblemHandler = Callable[[Request[Any, Any, Any], Any], Response[bytes]]


def exception_handlers(public_url: str) -> dict[type[Exception] | int, ProblemHandler]:
    """Return Litestar's handlers: every error becomes a problem."""

    def handle(request: Request[Any, Any, Any], error: Any) -> Response[bytes]:
        call = call_of(request.scope)
        refusal = refusal_of(error)
        call.error = refusal.code
        answer = problem(refusal, request_id=call.request_id, instance=request.scope["path"], public_url=public_url)
        headers = {name.decode(): value.decode() for name, value in answer.headers if name != b"content-length"}
        if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
            headers["allow"] = error.headers["allow"]
        return Response(content=answer.body, status_code=answer.status, headers=headers)

    return {Exception: handle, HTTPException: handle, 500: handle}
