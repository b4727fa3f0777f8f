"""The platform's balance at Stripe, and the transactions it is the sum of."""

from typing import Final

from local.stripe.answers import page_of
from local.stripe.api import CURRENCY, DAY_S
from local.stripe.errors import refuse
from local.stripe.shapes import RANGE, TEXT, Params, listed, plain
from local.stripe.store import Body
from local.stripe.world import World

RETRIEVE: Final = plain("BalanceRetrieveParams")
RETRIEVE_TRANSACTION: Final = plain("BalanceTransactionRetrieveParams")
LIST_TRANSACTIONS: Final = listed("BalanceTransactionListParams", created=RANGE, currency=TEXT, source=TEXT, type=TEXT)
# What a card payment is pending for before it can be transferred.
PENDING_S: Final = 2 * DAY_S
# Of a card payment Stripe takes 2.9 % and 30 cents, of a bank debit 0.8 % and at most 5 dollars.
CARD_FEE_PER_MILLE: Final = 29
CARD_FEE_FIXED_CENTS: Final = 30
DEBIT_FEE_PER_MILLE: Final = 8
DEBIT_FEE_CENTS_MAX: Final = 500
_CATEGORY: Final = {
    "payment": "charge",
    "payment_refund": "refund",
    "payment_failure_refund": "refund_failure",
    "adjustment": "dispute",
    "transfer_refund": "transfer_reversal",
}


def fee_of(amount_cents: int, kind: str) -> int:
    """Return what Stripe keeps of a payment, rounded half up."""
    if kind == "card":
        return (amount_cents * CARD_FEE_PER_MILLE + 500) // 1000 + CARD_FEE_FIXED_CENTS
    return min((amount_cents * DEBIT_FEE_PER_MILLE + 500) // 1000, DEBIT_FEE_CENTS_MAX)


def book(
    world: World,
    kind: str,
    amount_cents: int,
    source: str | None,
    *,
    fee_cents: int = 0,
    available_on: int | None = None,
    description: str | None = None,
) -> str:
    """Add a transaction to the balance; return its id."""
    details = [
        {
            "amount": fee_cents,
            "application": None,
            "currency": CURRENCY,
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    body: Body = {
        "id": world.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount_cents,
        "available_on": world.now if available_on is None else available_on,
        "balance_type": "payments",
        "created": world.now,
        "currency": CURRENCY,
        "description": description,
        "exchange_rate": None,
        "fee": fee_cents,
        "fee_details": details if fee_cents else [],
        "net": amount_cents - fee_cents,
        "reporting_category": _CATEGORY.get(kind, kind),
        "source": source,
        "status": "available",
        "type": kind,
    }
    return world.insert(_as_of(world, body))["id"]


def available_cents(world: World) -> int:
    """Return what can be transferred now."""
    return sum(each["net"] for each in world.all("balance_transaction") if each["available_on"] <= world.now)


def retrieve(world: World, _params: Params) -> Body:
    """Return the balance: what is available, and what will be."""
    total = sum(each["net"] for each in world.all("balance_transaction"))
    available = available_cents(world)
    return {
        "object": "balance",
        "available": [_money(available)],
        "livemode": False,
        "pending": [_money(total - available)],
        "refund_and_dispute_prefunding": {"available": [_money(0)], "pending": [_money(0)]},
    }


def retrieve_transaction(world: World, _params: Params, identifier: str) -> Body:
    """Return a transaction."""
    return _as_of(world, world.get("balance_transaction", identifier))


def list_transactions(world: World, params: Params) -> Body:
    """Return transactions, newest first."""
    if params.get("currency") not in (None, CURRENCY):
        refuse(f"Invalid currency: {params['currency']}", param="currency")
    kind = params.get("type")
    found = (
        _as_of(world, each)
        for each in world.all("balance_transaction", parent=params.get("source"))
        if kind in (None, each["type"])
    )
    return page_of(found, params, "/v1/balance_transactions")


def _as_of(world: World, body: Body) -> Body:
    return {**body, "status": "available" if body["available_on"] <= world.now else "pending"}


def _money(amount_cents: int) -> Body:
    return {"amount": amount_cents, "currency": CURRENCY, "source_types": {"card": amount_cents}}
