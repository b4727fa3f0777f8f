"""What admission says when it refuses, in words and fields. Pure; `domain.model.admission` decides."""

from uuid import UUID

from domain.model.admission_state import AccountState, KeyState
from domain.model.errors import Code, Refusal, Standing


def refuse_identity(
    key_id: UUID | None, key_prefix: str | None, account: AccountState | None, key: KeyState | None
) -> Refusal | None:
    """Return why this caller may cast nothing at all."""
    if key_id is not None and (key is None or not key.opened_by(key_prefix)):
        return Refusal(code=Code.UNAUTHORIZED, detail="This API key is revoked or has expired. Make a new one.")
    if account is None or account.status != "active":
        return Refusal(code=Code.FORBIDDEN, detail="This account is suspended. Contact the operator.")
    return None


def budget_exceeded(limit: Standing) -> Refusal:
    """Return the 402 of a hard budget without room."""
    return Refusal(
        code=Code.BUDGET_EXCEEDED,
        detail=(
            f"The {limit.period} {limit.scope} budget of {limit.limit_micros} micros has no room for"
            f" {limit.needed_micros}: {limit.spent_micros} spent, {limit.held_micros} held."
        ),
        limit=limit,
    )


def price_above(needed: int, limit: int) -> Refusal:
    """Return the 409 of a cast that could cost more than its caller said it may."""
    return Refusal(
        code=Code.PRICE_CHANGED,
        detail=f"This cast may cost {needed} micros, more than max_price_micros {limit}.",
        price_micros=needed,
    )


def quote_expired() -> Refusal:
    """Return the 409 of a quote whose time is over: without its terms there is no price to hold."""
    return Refusal(code=Code.QUOTE_EXPIRED, detail="The quote has expired. Ask for a new one, or leave it out.")


def refuse_funding(account: AccountState) -> Refusal:
    """Return the 402 of an account with nothing to pay from, by what it could do about it."""
    if account.credits_ever:
        return Refusal(code=Code.INSUFFICIENT_CREDITS, detail="The credits left do not cover this cast. Buy credits.")
    if account.plan == "free":
        return Refusal(
            code=Code.FREE_TIER_EXHAUSTED,
            detail="The free casts of this month are used up, or do not cover this cast. Upgrade to go on.",
        )
    return Refusal(code=Code.PAYMENT_REQUIRED, detail="The subscription is not active. Check the payment method.")


def too_many_open(scope: str, limit: int) -> Refusal:
    """Return the 429 of an account or a key with as many open casts as it may have."""
    return Refusal(
        code=Code.TOO_MANY_OPEN_CASTS,
        detail=f"This {scope} has {limit} open casts, its limit. Wait for some to end.",
        retry_after_s=1,
    )
