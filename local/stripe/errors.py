"""Refusals as Stripe words them: a status and the fields of the `error` object."""

from http import HTTPStatus
from typing import Any, Final, NoReturn

_DOCS: Final = "https://docs.stripe.com/error-codes"


class StripeError(Exception):
    """An answer that is not 2xx. What was changed before it is undone, unless `keeps_work`."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        keeps_work: bool = False,
        **more: Any,  # further fields of the error object, each with a type of its own
    ) -> None:
        super().__init__(message)
        self.status: Final = status
        self.kind: Final = kind
        self.code: Final = code
        self.keeps_work: Final = keeps_work
        named = {"code": code, "param": param, "doc_url": f"{_DOCS}#{code.replace('_', '-')}" if code else None}
        present = {name: value for name, value in named.items() if value is not None}
        self.fields: Final[dict[str, Any]] = {"message": message, "type": kind, **present, **more}


def invalid(message: str, *, code: str | None = None, param: str | None = None, **more: Any) -> StripeError:  # as above
    """Return a 400 about the request."""
    return StripeError(HTTPStatus.BAD_REQUEST, "invalid_request_error", message, code=code, param=param, **more)


def refuse(message: str, *, code: str | None = None, param: str | None = None, **more: Any) -> NoReturn:  # as above
    """Refuse a request with 400."""
    raise invalid(message, code=code, param=param, **more)


def refuse_without(name: str) -> NoReturn:
    """Refuse a request that lacks a parameter."""
    refuse(f"Missing required param: {name}.", code="parameter_missing", param=name)


def unknown(kind: str, identifier: str, param: str) -> StripeError:
    """Return the answer about an id that nobody knows: 404 where the path names it, 400 where a parameter does."""
    status = HTTPStatus.NOT_FOUND if param == "id" else HTTPStatus.BAD_REQUEST
    message = f"No such {kind.replace('.', ' ').replace('_', ' ')}: '{identifier}'"
    return StripeError(status, "invalid_request_error", message, code="resource_missing", param=param)


def refuse_unknown(kind: str, identifier: str, param: str) -> NoReturn:
    """Refuse an id that nobody knows."""
    raise unknown(kind, identifier, param)


def declined(fields: dict[str, Any], **more: Any) -> StripeError:  # fields of a payment's last error, and what it is of
    """Return a 402 about a card; the failed attempt stays on record."""
    plain = {name: value for name, value in fields.items() if name not in {"message", "type", "code", "doc_url"}}
    return StripeError(
        HTTPStatus.PAYMENT_REQUIRED,
        "card_error",
        str(fields["message"]),
        code=str(fields["code"]),
        keeps_work=True,
        **plain,
        **more,
    )
