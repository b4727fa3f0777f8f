"""What an account is told about how it pays. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import uuid5

import msgspec

from domain.model.events import Event, Letter
from domain.model.plans import Billing, Change
from domain.model.webhooks import EventType

_encode: Final = msgspec.json.Encoder().encode
_TYPE_OF: Final = {
    Change.PLAN: EventType.BILLING_PLAN_CHANGED,
    Change.FAILED: EventType.BILLING_PAYMENT_FAILED,
    Change.ENDED: EventType.BILLING_GRACE_ENDED,
    Change.RESTORED: EventType.BILLING_RESTORED,
}
_PAGE: Final = "`spell billing portal` (POST /v1/billing/portal) opens the page where cards are changed."


def billing_events(billing: Billing, told: Iterable[Change], *, now: datetime) -> list[Event]:
    """Return the events of what changed at `now`; a plan that changed is told to webhooks alone."""
    data = _encode(
        {
            "plan": billing.plan,
            "status": billing.status,
            "current_period_end": billing.current_period_end,
            "ends_at": billing.ends_at,
            "grace_until": billing.grace_until,
            "unpaid_invoices": billing.unpaid_invoices,
        }
    ).decode()
    return [
        Event(
            event_id=uuid5(billing.account_id, f"billing {change} {now.isoformat()}"),
            account_id=billing.account_id,
            type=_TYPE_OF[change],
            payload=data,
            letter=_letter(billing, change),
        )
        for change in told
    ]


def _letter(billing: Billing, change: Change) -> str | None:
    letter = None
    if change is Change.FAILED and billing.grace_until is not None:
        until = f"{billing.grace_until:%Y-%m-%d %H:%M} UTC"
        letter = Letter(
            subject=f"A payment failed: casts go on until {billing.grace_until:%Y-%m-%d}",
            text=(
                "Your last payment could not be collected. It is tried again in the next days; until"
                f" {until} nothing changes. After that casts are paid from credits alone, and others are"
                f" refused with 402 payment_required.\n\n{_PAGE}"
            ),
        )
    elif change is Change.ENDED:
        letter = Letter(
            subject="Metered casts have stopped: a payment is overdue",
            text=(
                "A payment failed and was not made up for in time. Casts are paid from credits alone from now on;"
                f" others are refused with 402 payment_required until the payment has come.\n\n{_PAGE}"
            ),
        )
    elif change is Change.RESTORED:
        letter = Letter(
            subject="Payment received: casts go on",
            text="What was overdue is paid. Nothing is left to do, and metered casts are accepted as before.",
        )
    return None if letter is None else _encode(letter).decode()
