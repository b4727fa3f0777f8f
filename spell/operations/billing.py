"""Plans and billing: what is for sale, how the account pays, and Stripe's pages."""

from typing import Any, Final

import msgspec

from spell.core.exchange import JSON, Reply, Request, json_body
from spell.core.operation import Operation, decoded
from spell.models.billing import Billing, BillingPage, Plan

_HEADERS: Final = {"content-type": JSON}


class _Plans(msgspec.Struct, frozen=True, kw_only=True):
    data: tuple[Plan, ...]


_plans: Final = decoded(_Plans)
_billing: Final = decoded(Billing)
_page: Final = decoded(BillingPage)


def plans() -> Operation[tuple[Plan, ...]]:
    """Return the plans, and what they cost."""
    return Operation(request=Request(method="GET", path="/v1/plans"), decode=_offered)


def now() -> Operation[Billing]:
    """Return how the account pays: its plan, whether a payment is overdue, and the month so far."""
    return Operation(request=Request(method="GET", path="/v1/billing"), decode=_billing)


def checkout(plan: str = "pro", *, idempotency_key: str | None = None) -> Operation[BillingPage]:
    """Open the page to subscribe to a plan, for somebody in a browser. Conflict with a subscription: change it."""
    return Operation(
        request=_post("checkout", {"plan": plan}), decode=_page, creates=True, idempotency_key=idempotency_key
    )


def portal(*, idempotency_key: str | None = None) -> Operation[BillingPage]:
    """Open the page where cards are changed and invoices are shown, for somebody in a browser."""
    return Operation(request=_post("portal"), decode=_page, creates=True, idempotency_key=idempotency_key)


def change(plan: str, *, idempotency_key: str | None = None) -> Operation[Billing]:
    """Go over to another plan now, or with the present one withdraw a cancellation."""
    return Operation(
        request=_post("change", {"plan": plan}), decode=_billing, creates=True, idempotency_key=idempotency_key
    )


def cancel(*, idempotency_key: str | None = None) -> Operation[Billing]:
    """End the subscription with the period that is paid."""
    return Operation(request=_post("cancel"), decode=_billing, creates=True, idempotency_key=idempotency_key)


def pause() -> Operation[Billing]:
    """Have all casts refused (SpendPaused) until `resume`, whatever would pay for them."""
    return Operation(request=_post("pause"), decode=_billing)


def resume() -> Operation[Billing]:
    """Have casts accepted again."""
    return Operation(request=_post("resume"), decode=_billing)


def _post(path: str, body: dict[str, Any] | None = None) -> Request:  # a JSON object
    if body is None:
        return Request(method="POST", path=f"/v1/billing/{path}")
    return Request(method="POST", path=f"/v1/billing/{path}", headers=_HEADERS, body=json_body(body))


def _offered(reply: Reply) -> tuple[Plan, ...]:
    return _plans(reply).data
