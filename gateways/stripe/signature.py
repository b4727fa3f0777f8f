"""The signature of a webhook (`Stripe-Signature: t=...,v1=...,v1=...`), over the body as it came.

Stripe's library has this too, but with a clock of its own, and it shows the body in its errors.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

# As Stripe's own libraries: long enough for a queue at Stripe or a slow clock here, too short to replay at leisure.
TOLERANCE: Final = timedelta(seconds=300)
HEADER_CHARACTERS_MAX: Final = 1_000
# While a secret is being rolled Stripe signs with both; more is nobody's roll.
SIGNATURES_MAX: Final = 8
_SECONDS_DIGITS_MAX: Final = 12


class BadSignature(Exception):  # noqa: N818  # a verdict, named like Stripe's own
    """Not Stripe's, or not of now. `reason` is one of a few words, for a metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the signature does not hold: {reason}")
        self.reason: Final = reason


def verify(body: bytes, header: str | None, *, secrets: Sequence[str], now: datetime) -> None:
    """Raise BadSignature unless Stripe signed exactly these bytes, with a secret of ours, within TOLERANCE of `now`.

    Any of several `v1` signatures suffices; other schemes count for nothing. The signature is looked at first, so that
    only who knows the secret learns what the clock here says.
    """
    seconds, signatures = _parts(header)
    signed = b"%s.%s" % (seconds.encode(), body)
    expected = [hmac.new(secret.encode(), signed, sha256).hexdigest().encode() for secret in secrets]
    if not any(hmac.compare_digest(one, each.encode()) for one in expected for each in signatures):
        reason = "mismatch"
        raise BadSignature(reason)
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        reason = "old"
        raise BadSignature(reason)


def _parts(header: str | None) -> tuple[str, list[str]]:
    if not header:
        reason = "missing"
        raise BadSignature(reason)
    pairs = [part.strip().partition("=") for part in header[:HEADER_CHARACTERS_MAX].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"][:SIGNATURES_MAX]
    whole = len(times) == 1 and times[0].isascii() and times[0].isdigit() and len(times[0]) <= _SECONDS_DIGITS_MAX
    if not whole or not signatures:
        reason = "malformed"
        raise BadSignature(reason)
    return times[0], signatures
