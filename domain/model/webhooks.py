"""What goes out as a webhook and how it is signed (Standard Webhooks 1.0). Pure.

Secrets are derived, never stored: whoever holds the platform's key can make the secret of an endpoint again, and a
dump of the database signs nothing.
"""

import base64
import enum
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the form of every secret, not one of them
# One that an account has for itself, which signs what goes to the `webhook_url` of a cast. It does not rotate.
ACCOUNT_SECRET_VERSION: Final = 1
# Of one key in many uses each message says which: nothing else that is ever signed begins like this.
_SECRET_LABEL: Final = b"spell webhook secret v1\x00"
_VERSION_BYTES: Final = 4
EVERYTHING: Final = "*"
_encode: Final = msgspec.json.Encoder().encode


class EventType(enum.StrEnum):
    """What an account can be told of. An endpoint names them, or `cast.*`, or `*`."""

    CAST_SUCCEEDED = "cast.succeeded"
    CAST_FAILED = "cast.failed"
    CAST_CANCELED = "cast.canceled"
    CAST_EXPIRED = "cast.expired"
    BUDGET_THRESHOLD_REACHED = "budget.threshold_reached"
    SPELL_SUSPENDED = "spell.suspended"
    BILLING_PLAN_CHANGED = "billing.plan_changed"
    BILLING_PAYMENT_FAILED = "billing.payment_failed"
    """Casts go on until `grace_until`."""
    BILLING_GRACE_ENDED = "billing.grace_ended"
    """From now on metered casts are refused."""
    BILLING_RESTORED = "billing.restored"
    """What was overdue is paid."""
    INVOICE_FINALIZED = "invoice.finalized"
    """What a month's metered casts cost is collected from now on."""
    PAYOUT_PAID = "payout.paid"
    """What a creator earned is on his account at Stripe."""
    PAYOUT_FAILED = "payout.failed"
    """Stripe does not take it for his account; it is owed as before."""
    PAYOUT_REVERSED = "payout.reversed"
    """It was taken back at Stripe, and is owed again."""
    WEBHOOK_DISABLED = "webhook.disabled"
    """Another endpoint of the account was given up; its mail says so too."""
    WEBHOOK_TEST = "webhook.test"
    """Somebody asked for it; it goes to the one endpoint it was asked for, whatever that subscribes to."""


# A pattern is a type or `<its first word>.*`; nothing longer than the alternatives can be meant.
PATTERNS: Final = frozenset({EVERYTHING, *EventType, *(f"{kind.partition('.')[0]}.*" for kind in EventType)})


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    timestamp: datetime
    data: msgspec.Raw


def derive_secret(key: bytes, owner_id: UUID, version: int) -> bytes:
    """Return the 32-byte secret of an endpoint, or of an account (`owner_id` is its id, version 1).

    `key` is WEBHOOK_SIGNING_KEY. A rotation raises `version`; the same arguments give the same secret for ever.
    """
    assert version > 0, "versions count from 1"
    message = _SECRET_LABEL + owner_id.bytes + version.to_bytes(_VERSION_BYTES, "big")
    return hmac.digest(key, message, "sha256")


def secret_text(secret: bytes) -> str:
    """Return the secret as its owner gives it to a library: `whsec_` and standard base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


def sign(secrets: Sequence[bytes], *, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header `webhook-signature`: one `v1,<base64>` for each secret, separated by spaces.

    `timestamp_s` is that of the attempt, equal to the header `webhook-timestamp`: a receiver refuses an old one, so
    that a recorded request cannot be sent again. `message_id` holds no dot and is the header `webhook-id`.
    """
    assert secrets, "what is not signed does not leave"
    assert "." not in message_id, "a dot would let one message pass for another"
    signed = b".".join((message_id.encode("ascii"), str(timestamp_s).encode("ascii"), body))
    return " ".join(_signature(secret, signed) for secret in secrets)


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode("ascii")


def message_id(event_id: UUID) -> str:
    """Return the header `webhook-id`: equal for every receiver of an event and every attempt, to drop repeats by."""
    return f"evt_{event_id.hex}"


def event_body(event_type: str, *, created_at: datetime, data: bytes) -> bytes:
    """Return the body of a delivery; `data` is its JSON, `created_at` the moment of the event, not of the attempt."""
    return _encode(_Body(type=event_type, timestamp=created_at, data=msgspec.Raw(data)))


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """Tell whether an endpoint that subscribes to `patterns` is told of events of this type."""
    return not {EVERYTHING, event_type, f"{event_type.partition('.')[0]}.*"}.isdisjoint(patterns)
