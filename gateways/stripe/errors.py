"""What can go wrong with a request to Stripe, by what a caller may do next. No text here holds a secret.

`StripeRefused`: no, and nothing was done; the same request will be refused again.
`StripeBusy`: nothing was done; ask again later, with the same key.
`StripeUnknown`: it may have been done; look (list, match the metadata) before asking with another key.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from stripe import APIConnectionError
from stripe import StripeError as LibraryError

MESSAGE_CHARACTERS_MAX: Final = 500
RETRY_AFTER_S_MAX: Final = 3_600

_SECRET: Final = re.compile(r"\b(sk|rk|pk|whsec)_[A-Za-z0-9_*]+")
# Sent by Stripe with an answer it had stored under the key.
_REPLAYED: Final = "idempotent-replayed"
_RATE_LIMIT: Final = "rate_limit"


class StripeFailure(Exception):  # noqa: N818  # what all three have in common, like the names the callers read
    """A request that did not end well. `request_id` finds it in Stripe's own log."""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status: Final = status
        self.request_id: Final = request_id


class StripeRefused(StripeFailure):
    """A definite no (4xx): a wrong parameter, no such object, a declined card, a key used for something else."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        code: str = "",
        param: str | None = None,
    ) -> None:
        """`code` is Stripe's code, or the error's type where it has none; `param` the parameter it is about."""
        super().__init__(message, status=status, request_id=request_id)
        self.code: Final = code
        self.param: Final = param

    @property
    def is_missing(self) -> bool:
        """Whether Stripe does not have the object that was asked for."""
        return self.status == HTTPStatus.NOT_FOUND or self.code == "resource_missing"


class StripeBusy(StripeFailure):
    """Nothing was done: too many requests, or Stripe could not be connected to. Ask again later."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """`retry_after_s` is what Stripe asks for, if it does."""
        super().__init__(message, status=status, request_id=request_id)
        self.retry_after_s: Final = retry_after_s


class StripeUnknown(StripeFailure):
    """The outcome is in doubt: 5xx, 409, no whole answer in time, or one that nobody understands."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        is_replayed: bool = False,
    ) -> None:
        """`is_replayed`: Stripe stored this answer under the key and will give it again; only another key helps."""
        super().__init__(message, status=status, request_id=request_id)
        self.is_replayed: Final = is_replayed


def failure_of(error: LibraryError) -> StripeFailure:
    """Return what an error of the library means for whoever asked."""
    headers = error.headers or {}
    status, request_id = error.http_status, headers.get("request-id")
    details = _details(error)
    code, kind = details.get("code") or "", details.get("type") or ""
    message = safe(details.get("message") or "")
    if isinstance(error, APIConnectionError) or status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StripeUnknown(
            f"Stripe's outcome is in doubt: {status or 'no answer'} {message}".rstrip(),
            status=status,
            request_id=request_id,
            is_replayed=headers.get(_REPLAYED) == "true",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == _RATE_LIMIT:
        return StripeBusy(
            f"Stripe wants fewer requests: {message}",
            status=status,
            request_id=request_id,
            retry_after_s=_retry_after_s(headers),
        )
    # 409: another request with the same key is under way, so this one says nothing about what becomes of it. An answer
    # without Stripe's error in it is somebody's in between.
    if status == HTTPStatus.CONFLICT or status < HTTPStatus.BAD_REQUEST or not details:
        return StripeUnknown(
            f"Stripe's outcome is in doubt: {status} {message}".rstrip(), status=status, request_id=request_id
        )
    return StripeRefused(
        f"Stripe refused: {code or kind or status}: {message}",
        status=status,
        request_id=request_id,
        code=code or kind,
        param=details.get("param"),
    )


def safe(text: str) -> str:
    """Return `text` bounded, and without anything that looks like a key of Stripe's."""
    return _SECRET.sub(r"\1_...", text)[:MESSAGE_CHARACTERS_MAX]


def _details(error: LibraryError) -> dict[str, str]:
    """Return the texts of the answer's `error`, as far as it has one."""
    body = error.json_body
    details: object = body.get("error") if isinstance(body, Mapping) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # JSON of somebody else
    if not isinstance(details, Mapping):
        return {}
    return {str(name): value for name, value in details.items() if isinstance(value, str)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _retry_after_s(headers: Mapping[str, str]) -> int | None:
    told = headers.get("retry-after", "")
    return min(int(told), RETRY_AFTER_S_MAX) if told.isascii() and told.isdigit() else None
