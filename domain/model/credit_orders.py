"""How an order goes on, from what Stripe says of it now: whatever came first, and however often, it ends the same.

An edge fetches the objects and makes `Facts` of them. Facts may be older than what is known already, because two may
fetch at once, so nothing that was learned is ever unlearned: paid stays paid, what was refunded stays so, a dispute
that was won stays won.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from domain.model.credits import Order, OrderStatus, Takeback
from domain.model.errors import Code, refuse

Payment = Literal["paid", "unpaid", "failed", "expired"]


class DisputeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute as Stripe has it. An inquiry, which moves no money yet, is not among them."""

    id: str
    money_micros: int
    won: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe says of an order's payment."""

    payment: Payment
    paid_micros: int = 0
    """For the package, without taxes."""
    session: str | None = None
    payment_id: str | None = None
    payment_method: str | None = None
    """The card, where it may be charged again."""
    customer: str | None = None
    refunded_micros: int = 0
    """Of the package's price, in all refunds so far."""
    disputes: tuple[DisputeFacts, ...] = ()


def is_to_grant(order: Order, facts: Facts) -> bool:
    """Tell whether the order's credits are to be given now. Raises RefusedError when less than its price was paid."""
    if order.granted_at is not None or facts.payment != "paid":
        return False
    if facts.paid_micros < order.price_micros:
        raise refuse(
            Code.CONFLICT,
            f"Order {order.id} costs {order.price_micros} micros and {facts.paid_micros} were paid. Look at the payment"
            " in Stripe: refund it, or give the credits with `spell credits grant`.",
        )
    return True


def unpaid_status(order: Order, facts: Facts) -> OrderStatus:
    """Return the status of an order whose credits were never given."""
    if order.status == "pending" and facts.payment in {"failed", "expired"}:
        return "failed" if facts.payment == "failed" else "expired"
    return order.status


def granted_status(order: Order, takebacks: Sequence[Takeback]) -> OrderStatus:
    """Return the status of an order whose credits were given, by what of its money went back since."""
    standing = [one for one in takebacks if one.reversed_at is None]
    if any(one.kind == "dispute" for one in standing):
        return "disputed"
    back = sum(one.money_micros for one in standing)
    if back >= order.price_micros:
        return "refunded"
    return "partly_refunded" if back else "completed"


def back_micros(takebacks: Sequence[Takeback], kind: str | None = None) -> int:
    """Return how much of the order's money is back with who paid, of one kind or of both."""
    return sum(one.money_micros for one in takebacks if one.reversed_at is None and kind in {None, one.kind})
