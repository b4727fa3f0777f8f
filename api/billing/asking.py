"""Asking Stripe for a caller: keys that repeat with the caller's own, and failures as the caller sees them."""

import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

from litestar import Request

from api.creation import idempotent_call
from domain.model.errors import Code, Refusal, RefusedError, refuse
from gateways.stripe.errors import StripeBusy, StripeRefused, StripeUnknown

log: Final = logging.getLogger("spell.billing")

RETRY_AFTER_S: Final = 5
_KEY_REUSED: Final = "idempotency_error"


class StripeKeys:
    """Idempotency-Keys for the requests to Stripe that one request here leads to."""

    def __init__(self, account_id: UUID, path: str, key: str) -> None:
        self._seed: Final = f"{account_id} {path} {key}"

    def of(self, step: str) -> str:
        """Return the key of one request; `step` says what it is for and with which ids it is made."""
        return hashlib.sha256(f"{self._seed} {step}".encode()).hexdigest()


async def stripe_keys(request: Request[Any, Any, Any], account_id: UUID) -> StripeKeys:
    """Return keys that are the same when the caller repeats the request under its Idempotency-Key.

    Stripe then gives the same answer for a day, and refuses the key for another request.
    """
    call = await idempotent_call(request)
    return StripeKeys(account_id, request.url.path, uuid4().hex if call is None else call.key)


@asynccontextmanager
async def asking_stripe() -> AsyncGenerator[None]:
    """Turn what goes wrong with Stripe in the block into a RefusedError. No transaction may be open in it."""
    try:
        yield
    except StripeRefused as refusal:
        if refusal.code == _KEY_REUSED:
            raise refuse(
                Code.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key was used with another request. Use a new key for a new request.",
            ) from None
        log.error(  # noqa: TRY400  # the text has all there is, and no traceback a secret
            "Stripe refused what a customer asked for", extra={"reason": str(refusal), "request_id": refusal.request_id}
        )
        raise refuse(Code.PROVIDER_REFUSED, f"{refusal}. Nothing was changed.") from None
    except StripeBusy as busy:
        detail = f"{busy}. Nothing was changed."
        raise _unavailable(detail, busy.retry_after_s) from None
    except StripeUnknown as unknown:
        detail = f"{unknown}. Look at GET /v1/billing, then repeat with the same Idempotency-Key."
        raise _unavailable(detail) from None


def _unavailable(detail: str, retry_after_s: int | None = None) -> RefusedError:
    return RefusedError(
        Refusal(code=Code.PROVIDER_UNAVAILABLE, detail=detail, retry_after_s=retry_after_s or RETRY_AFTER_S)
    )
