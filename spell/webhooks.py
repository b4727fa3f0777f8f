"""Verify webhooks that arrive (Standard Webhooks 1.0): that the platform sent them, just now, and what they say.

event = spell.webhooks.verify(request.body, request.headers, secret)
"""

import base64
import binascii
import hmac
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from spell.errors import SignatureInvalid, UnexpectedAnswer
from spell.models.casts import Cast
from spell.models.webhooks import WebhookEvent

# A recorded request is worth nothing after five minutes, and clocks may be that wrong.
TOLERANCE_S_DEFAULT: Final = 300
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the form of every secret, not one of them
_VERSION: Final = "v1"
# More digits are no time, and Python takes long to read a million of them.
_TIMESTAMP_CHARACTERS_MAX: Final = 12


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    timestamp: datetime
    data: msgspec.Raw


def verify(
    payload: bytes,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    *,
    tolerance_s: int = TOLERANCE_S_DEFAULT,
    now: datetime | None = None,
) -> WebhookEvent:
    """Return the event in `payload`, which is the body exactly as it arrived. SignatureInvalid: answer 400.

    `secret` is the endpoint's `whsec_...`, or several while one is being rotated: any of them will do. `headers` may
    be in any case. A delivery that was signed more than `tolerance_s` seconds from `now` is refused, because somebody
    may have recorded it. Drop events whose `id` you have seen: each may be delivered more than once. ValueError for a
    secret that is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = (_header(given, name) for name in ("id", "timestamp", "signature"))
    _check_time(timestamp, time.time() if now is None else now.timestamp(), tolerance_s)
    signed = b".".join((message_id.encode("utf-8", "replace"), timestamp.encode(), payload))
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not secrets:
        raise _no_secret()
    expected = [hmac.digest(_key_of(one), signed, "sha256") for one in secrets]
    if not _any_equal(expected, signatures):
        message = (
            "no signature of this webhook was made with this secret: is it this endpoint's, is the body unchanged?"
        )
        raise SignatureInvalid(message)
    return _event(message_id, payload)


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(f"webhook-{name}", "")
    if not value:
        message = f"the header webhook-{name} is missing: this is no webhook of the platform"
        raise SignatureInvalid(message)
    return value


def _check_time(timestamp: str, now_s: float, tolerance_s: int) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_CHARACTERS_MAX):
        message = "webhook-timestamp is no number of seconds"
        raise SignatureInvalid(message)
    if abs(now_s - int(timestamp)) > tolerance_s:
        message = (
            f"this webhook was signed more than {tolerance_s} s ago, or ahead: is the clock of this machine right?"
        )
        raise SignatureInvalid(message)


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_secret() from error
    if not key:  # a setting that is empty: whoever knows that could sign anything
        raise _no_secret()
    return key


def _no_secret() -> ValueError:
    return ValueError("the secret is not whsec_ and base64: copy it again from where the endpoint was made")


def _any_equal(expected: Iterable[bytes], signatures: str) -> bool:
    """Compare every signature with every expected one, in a time that tells nothing about them."""
    found = False
    for signature in signatures.split(" "):
        version, _, encoded = signature.partition(",")
        if version != _VERSION:
            continue
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        for one in expected:
            found |= hmac.compare_digest(one, given)
    return found


def _event(message_id: str, payload: bytes) -> WebhookEvent:
    try:
        body = msgspec.json.decode(payload, type=_Body)
        data: dict[str, Any] = msgspec.json.decode(body.data, type=dict[str, Any])
        cast = msgspec.json.decode(body.data, type=Cast) if body.type.startswith("cast.") else None
    except msgspec.MsgspecError as error:
        message = f"the webhook is signed, but this version cannot read it: {error}"
        raise UnexpectedAnswer(message) from error
    return WebhookEvent(id=message_id, type=body.type, timestamp=body.timestamp, data=data, cast=cast)
