"""Credits: what a package is worth, what changes an account's balance, and what a refund takes of an order.

A credit is CREDIT_MICROS micros of usage. Inside there are micros alone; credits are what people see.
"""

import enum
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from domain.model.errors import Code, Fault, refuse
from domain.model.ledger import CASH, PROMOTION, Move, credits_of, receivable_of

# What is used up first: gifts, which often expire, before what was paid for.
PRIORITY_GIVEN: Final = 50
PRIORITY_BOUGHT: Final = 100
PRIORITY_MAX: Final = 1_000
# 100 million dollars of usage: above it a number is a typing mistake, and sums stay far below 64 bits.
GRANT_MICROS_MAX: Final = 10**14
REASON_CHARACTERS_MAX: Final = 500
REFERENCE_CHARACTERS_MAX: Final = 255

OrderStatus = Literal["pending", "completed", "failed", "expired", "partly_refunded", "refunded", "disputed"]
Origin = Literal["checkout", "top_up"]
TakebackKind = Literal["refund", "dispute"]


class Kind(enum.StrEnum):
    """What changed a balance."""

    PURCHASE = "purchase"
    TOP_UP = "top_up"
    GRANT = "grant"
    CASTS = "casts"
    CONSUME = "consume"
    EXPIRY = "expiry"
    REFUND = "refund"
    DISPUTE = "dispute"
    REFUND_FAILED = "refund_failed"
    DISPUTE_WON = "dispute_won"
    CAST_REFUND = "cast_refund"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Credits for sale."""

    id: str
    name: str
    credits: int
    price_cents: int
    stripe_price: str | None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A package somebody wants to buy, or has bought, under the terms of that moment."""

    id: UUID
    account_id: UUID
    origin: Origin
    package_id: str
    package_name: str
    credits: int
    price_micros: int
    granted_micros: int
    status: OrderStatus
    stripe_session: str | None
    stripe_payment: str | None
    stripe_payment_method: str | None
    stripe_customer: str | None
    stripe_refunded_micros: int
    """The most that Stripe ever said was refunded."""
    checkout_url: str | None
    created_at: datetime
    granted_at: datetime | None


class Takeback(msgspec.Struct, frozen=True, kw_only=True):
    """Money of an order that went back, the credits taken for it, and what of it nobody could take."""

    id: UUID
    order_id: UUID
    kind: TakebackKind
    reference: str
    money_micros: int
    credits_micros: int
    owed_micros: int
    reversed_at: datetime | None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has of credits, and had in all."""

    balance_micros: int
    held_micros: int
    """Of the balance; open casts may still use it up."""
    available_micros: int
    """What a cast or a service may take now: neither held nor past its time."""
    purchased_micros: int
    granted_micros: int
    """Given by the operator."""
    consumed_micros: int
    expired_micros: int


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of a balance was for, in words of whoever made it."""

    type: str
    id: str


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """What going back with `money_micros` of an order means."""

    money_micros: int
    credits_micros: int
    """To take from the grant."""
    covered_micros: int
    """The part of the money these credits were sold for."""

    @property
    def owed_micros(self) -> int:
        """The money for credits that are gone: what the account owes now."""
        return self.money_micros - self.covered_micros


def credits_for(order: Order, money_micros: int) -> int:
    """Return in micros which part of the order's credits was sold for this much of its price, rounded down.

    For the whole price that is all of them, and there are no more for more.
    """
    return order.granted_micros * min(money_micros, order.price_micros) // order.price_micros


def unused_money(order: Order, unused_micros: int) -> int:
    """Return what of the price was paid for `unused_micros` of the order's credits, in whole cents, rounded down.

    Stripe refunds cents; `credits_for` of the result is never more than what is unused.
    """
    return order.price_micros * unused_micros // order.granted_micros // 10_000 * 10_000


def take(order: Order, *, back_micros: int, money_micros: int, free_micros: int) -> Taking:
    """Return what to take when `money_micros` of the order's price go back and `back_micros` went back before.

    Of the credits sold for it only what is free is taken: what open casts hold is theirs, and what is spent is gone.
    """
    wanted = credits_for(order, back_micros + money_micros) - credits_for(order, back_micros)
    taken = min(wanted, free_micros)
    # Beyond the price, fees of a bank for one, no credits were sold.
    within = min(money_micros, max(0, order.price_micros - back_micros))
    covered = within if taken == wanted else within * taken // wanted
    return Taking(money_micros=money_micros, credits_micros=taken, covered_micros=covered)


def purchase_moves(order: Order) -> tuple[Move, ...]:
    """Return what granting a paid order books: the money, and what the usage is worth beyond it, or below."""
    credited = credits_of(order.account_id)
    gift = order.granted_micros - order.price_micros
    return (
        Move(CASH, credited, min(order.price_micros, order.granted_micros)),
        Move(PROMOTION, credited, gift),
        Move(CASH, PROMOTION, -gift),
    )


def takeback_moves(account_id: UUID, takeback: Takeback) -> tuple[Move, ...]:
    """Return what going back books: the money leaves, against credits that are there and else against a debt."""
    credited = credits_of(account_id)
    covered = takeback.money_micros - takeback.owed_micros
    gift = takeback.credits_micros - covered
    return (
        Move(credited, CASH, min(takeback.credits_micros, covered)),
        Move(credited, PROMOTION, gift),
        Move(PROMOTION, CASH, -gift),
        Move(receivable_of(account_id), CASH, takeback.owed_micros),
    )


def whole_credits(micros: int, credit_micros: int) -> int:
    """Return whole credits, rounded towards zero: nobody is shown more than there is, or a debt that is none."""
    return micros // credit_micros if micros >= 0 else -(-micros // credit_micros)


def check_grant(micros: int, *, priority: int, expires_at: datetime | None, now: datetime) -> None:
    """Raise RefusedError (validation) for a grant that makes no sense."""
    faults: list[Fault] = []
    if not 0 < micros <= GRANT_MICROS_MAX:
        fix = f"Give between 1 and {GRANT_MICROS_MAX} micros of usage."
        faults.append(Fault(location="credits", message=f"it is worth {micros} micros", fix=fix))
    if not 0 <= priority <= PRIORITY_MAX:
        fix = f"Give 0 to {PRIORITY_MAX}; the lowest number is used up first."
        faults.append(Fault(location="priority", message=f"there is no priority {priority}", fix=fix))
    if expires_at is not None and expires_at <= now:
        faults.append(Fault(location="expires_at", message="it is in the past", fix="Choose a later time."))
    if faults:
        raise refuse(Code.VALIDATION, f"The grant cannot be so: {faults[0].message}.", faults=tuple(faults))
