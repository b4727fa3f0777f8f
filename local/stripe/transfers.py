"""Transfers: money from the platform's balance to a connected account, and back."""

from typing import Final

from local.stripe import balance
from local.stripe.answers import listing, page_of
from local.stripe.api import CURRENCY, PAGE_SIZE_DEFAULT
from local.stripe.catalog import currency_of
from local.stripe.errors import refuse, refuse_without
from local.stripe.shapes import INTEGER, METADATA, RANGE, TEXT, Params, Shape, listed, one_of, plain
from local.stripe.store import Body
from local.stripe.world import World, merged_metadata, reworded

CREATE: Final = Shape(
    "TransferCreateParams",
    {
        "amount": INTEGER,
        "currency": TEXT,
        "description": TEXT,
        "destination": TEXT,
        "metadata": METADATA,
        "source_transaction": TEXT,
        "source_type": one_of("card"),
        "transfer_group": TEXT,
    },
    ("currency", "destination"),
)
UPDATE: Final = Shape("TransferUpdateParams", {"description": TEXT, "metadata": METADATA})
RETRIEVE: Final = plain("TransferRetrieveParams")
LIST: Final = listed("TransferListParams", created=RANGE, destination=TEXT, transfer_group=TEXT)
CREATE_REVERSAL: Final = Shape(
    "TransferCreateReversalParams", {"amount": INTEGER, "description": TEXT, "metadata": METADATA}
)
RETRIEVE_REVERSAL: Final = plain("TransferRetrieveReversalParams")
LIST_REVERSALS: Final = listed("TransferListReversalsParams")


def create(world: World, params: Params) -> Body:
    """Pay a connected account out of what is available, or out of the charge that is named."""
    currency_of(params)
    source = params.get("source_transaction")
    charge = world.get("charge", source, "source_transaction") if source else None
    amount: int | None = params.get("amount")
    if amount is None:
        if charge is None:
            refuse_without("amount")
        amount = int(charge["amount"])
    if amount < 1:
        refuse("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    account = _payable(world, params["destination"])
    _check_funds(world, charge, amount)
    identifier = world.new_id("tr")
    description = params.get("description")
    body: Body = {
        "id": identifier,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": balance.book(world, "transfer", -amount, identifier, description=description),
        "created": world.now,
        "currency": CURRENCY,
        "description": description,
        "destination": account["id"],
        "destination_payment": world.new_id("py"),
        "livemode": False,
        "metadata": merged_metadata(None, params),
        "reversals": listing(f"/v1/transfers/{identifier}/reversals", []),
        "reversed": False,
        "source_transaction": source,
        "source_type": "card",
        "transfer_group": params.get("transfer_group"),
    }
    world.insert(body)
    world.tell("transfer.created", body)
    return body


def update(world: World, params: Params, identifier: str) -> Body:
    """Change what a transfer says."""
    return reworded(world, "transfer", identifier, params, fields={"description"})


def retrieve(world: World, _params: Params, identifier: str) -> Body:
    """Return a transfer."""
    return world.get("transfer", identifier)


def list_all(world: World, params: Params) -> Body:
    """Return transfers, newest first."""
    destination, group = params.get("destination"), params.get("transfer_group")
    found = (
        body
        for body in world.all("transfer", owner=destination, parent=None if destination else group)
        if group in (None, body["transfer_group"])
    )
    return page_of(found, params, "/v1/transfers")


def create_reversal(world: World, params: Params, identifier: str) -> Body:
    """Take a transfer back, whole or in part."""
    transfer = world.get("transfer", identifier)
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = left if params.get("amount") is None else params["amount"]
    if not 0 < amount <= left:
        refuse(
            f"Reversal amount (${amount // 100}.{amount % 100:02d}) is greater than unreversed amount on transfer "
            f"(${left // 100}.{left % 100:02d})",
            param="amount",
        )
    reversal = world.new_id("trr")
    body: Body = {
        "id": reversal,
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": balance.book(world, "transfer_refund", amount, reversal),
        "created": world.now,
        "currency": CURRENCY,
        "destination_payment_refund": world.new_id("pyr"),
        "metadata": merged_metadata(None, params),
        "source_refund": None,
        "transfer": identifier,
    }
    world.insert(body)
    reversed_cents = transfer["amount_reversed"] + amount
    made = list(world.all("transfer_reversal", owner=identifier))
    url = f"/v1/transfers/{identifier}/reversals"
    before = dict(transfer)
    world.update(
        transfer,
        amount_reversed=reversed_cents,
        reversed=reversed_cents == transfer["amount"],
        reversals=listing(url, made[:PAGE_SIZE_DEFAULT], has_more=len(made) > PAGE_SIZE_DEFAULT),
    )
    world.tell_changes("transfer.reversed", transfer, before)
    return body


def retrieve_reversal(world: World, _params: Params, transfer: str, identifier: str) -> Body:
    """Return a reversal."""
    world.get("transfer", transfer)
    return world.get("transfer_reversal", identifier)


def list_reversals(world: World, params: Params, transfer: str) -> Body:
    """Return the reversals of a transfer, newest first."""
    world.get("transfer", transfer)
    found = world.all("transfer_reversal", owner=transfer)
    return page_of(found, params, f"/v1/transfers/{transfer}/reversals")


def _payable(world: World, identifier: str) -> Body:
    account = world.find("account", identifier)
    if account is None:
        refuse(f"No such destination: '{identifier}'", code="resource_missing", param="destination")
    if account["capabilities"].get("transfers") != "active":
        refuse(
            "Your destination account needs to have at least one of the following capabilities enabled: transfers, "
            "crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
            param="destination",
        )
    return account


def _check_funds(world: World, charge: Body | None, amount_cents: int) -> None:
    if charge is not None:
        taken = sum(
            each["amount"] - each["amount_reversed"]
            for each in world.all("transfer")
            if each["source_transaction"] == charge["id"]
        )
        if not charge["paid"] or taken + amount_cents > charge["amount"] - charge["amount_refunded"]:
            refuse("Source transfers cannot exceed the amount of the source charge.", param="source_transaction")
    elif amount_cents > balance.available_cents(world):
        refuse(
            "You have insufficient available funds in your Stripe account. Try adding funds directly to your available "
            "balance by creating Charges using the 4000000000000077 test card.",
            code="balance_insufficient",
        )
