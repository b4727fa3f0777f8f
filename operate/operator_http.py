"""The operator's way to a running platform: over HTTP, with the api's own ADMIN_SECRET."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec

from spell.commands.platform import chosen_url
from spell.config import config_path, read_config
from spell.exits import EXIT_FAILED, EXIT_MONEY, EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_USAGE, CommandError

SECRET_VARIABLE: Final = "ADMIN_SECRET"  # noqa: S105  # the name of a setting
TIMEOUT_S: Final = 30.0
_ENDINGS: Final = {
    HTTPStatus.UNAUTHORIZED: EXIT_NOT_AUTHORISED,
    HTTPStatus.FORBIDDEN: EXIT_NOT_AUTHORISED,
    HTTPStatus.NOT_FOUND: EXIT_NOT_FOUND,
    HTTPStatus.PAYMENT_REQUIRED: EXIT_MONEY,
}


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    detail: str


@contextmanager
def operator(url: str | None) -> Generator[httpx.Client]:
    """Open the operator's way to a platform. Raises CommandError when the secret is missing."""
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret or not secret.isascii() or not secret.isprintable():
        message = f"{SECRET_VARIABLE} is not set, or cannot be sent; it is the api's own setting of that name"
        raise CommandError(message, exit_code=EXIT_USAGE)
    address = chosen_url(url, read_config(config_path()), os.environ)
    with httpx.Client(base_url=address, headers={"X-Admin-Secret": secret}, timeout=TIMEOUT_S) as http:
        yield http


def asked(http: httpx.Client, method: str, path: str, *, body: Mapping[str, Any] | None = None, **query: int) -> bytes:
    """Return the body of an answer. CommandError says why there is none, in the platform's own words."""
    try:
        answer = http.request(method, f"/admin{path}", params=query, json=body)
    except httpx.HTTPError as error:
        message = f"{http.base_url} does not answer ({error}); is the api up?"
        raise CommandError(message) from error
    if answer.is_success:
        return answer.content
    try:
        said = msgspec.json.decode(answer.content, type=_Problem).detail
    except msgspec.MsgspecError:
        said = f"the answer was {answer.status_code}; is this the address of a platform with ADMIN_SECRET set?"
    raise CommandError(said, exit_code=_ENDINGS.get(HTTPStatus(answer.status_code), EXIT_FAILED))
