"""What creators earn: where a share of theirs stands, and what moves it on. Pure.

A share is pending when its cast settles. It is payable once the money behind it is collected, and lost when that money
never comes or goes back. The ledger has it in one of three accounts, and every change is a transfer between two.
"""

import enum
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec

from domain.model.ledger import UNCOLLECTED, Transfer, creator_of, payable_of

# A purchase is most often disputed or refunded in its first two weeks. Credits that were given away have no payment to
# wait for: their shares wait as long after the cast.
COLLECTED_AFTER: Final = timedelta(days=14)


class Place(enum.StrEnum):
    """Where a share is."""

    PENDING = "pending"
    PAYABLE = "payable"
    LOST = "lost"


_KIND_TO: Final = {
    Place.PENDING: "share_returned",
    Place.PAYABLE: "share_collected",
    Place.LOST: "share_lost",
}
KINDS: Final = tuple(_KIND_TO.values())


class BilledShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one creator has of an account's invoices, less what was paid back since; and where the ledger has it."""

    creator_id: UUID
    paid_micros: int
    """Of invoices that are paid, with the carried ones they collect."""
    given_up_micros: int
    """Of those nobody pays: given up, or voided."""
    payable_micros: int
    lost_micros: int


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of a creator's from one place to another."""

    creator_id: UUID
    before: Place
    after: Place
    micros: int


class GrantFunds(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the shares a grant of credits paid."""

    account_id: UUID
    granted_micros: int
    used_micros: int
    """What is gone of it for casts and services."""
    price_micros: int | None
    """What the credits were bought for; None when they were given."""
    owed_micros: int
    """What of the price went back for credits that were gone."""
    bought_at: datetime | None


class GrantShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one creator has of a grant, and where it stands."""

    creator_id: UUID
    net_micros: int
    """All shares the grant paid, less what was paid back."""
    ripe_micros: int
    """Those among them that have waited long enough."""
    payable_micros: int
    lost_micros: int


def bill_flows(shares: Sequence[BilledShare], *, collected_micros: int) -> list[Flow]:
    """Return what brings creators' shares of an account's invoices to where they belong; nothing when they are there.

    Together no more is payable than was collected from the account. Less than the paid invoices hold it can only be
    where a cast was paid back that its own invoice never collected: then everybody waits for the same part of his.
    """
    due_micros = sum(share.paid_micros for share in shares)
    flows: list[Flow] = []
    for share in shares:
        payable = share.paid_micros
        if due_micros > collected_micros:
            payable = payable * collected_micros // due_micros
        flows += _levelled(
            share.creator_id,
            {
                Place.PENDING: payable + share.given_up_micros - share.payable_micros - share.lost_micros,
                Place.PAYABLE: share.payable_micros - payable,
                Place.LOST: share.lost_micros - share.given_up_micros,
            },
        )
    return flows


def ripe_until(funds: GrantFunds, now: datetime) -> datetime | None:
    """Return until when the shares of a grant were booked that have waited long enough; None when all have."""
    if funds.bought_at is None:
        return now - COLLECTED_AFTER
    return None if funds.bought_at + COLLECTED_AFTER <= now else datetime.min.replace(tzinfo=now.tzinfo)


def lost_of(funds: GrantFunds, net_micros: int) -> int:
    """Return what of a creator's shares of a grant is lost, because money for credits that are gone went back.

    His part of it is that of the used credits whose money is gone, rounded up: what all creators keep together is
    never more than what of the used credits is still paid for. Never more than he has.
    """
    if funds.owed_micros <= 0 or funds.price_micros is None:
        return 0
    used_price = funds.price_micros * funds.used_micros  # both sides times what was granted: nothing is rounded twice
    back = funds.owed_micros * funds.granted_micros
    if back >= used_price:
        return net_micros
    return -(-net_micros * back // used_price)


def grant_flows(share: GrantShare, funds: GrantFunds) -> list[Flow]:
    """Return what brings a creator's shares of a grant to where they belong; nothing when they are there."""
    lost = lost_of(funds, share.net_micros)
    payable = max(0, min(share.ripe_micros, share.net_micros - lost))
    surplus = {
        Place.PENDING: payable + lost - share.payable_micros - share.lost_micros,
        Place.PAYABLE: share.payable_micros - payable,
        Place.LOST: share.lost_micros - lost,
    }
    return _levelled(share.creator_id, surplus)


def _levelled(creator_id: UUID, surplus: Mapping[Place, int]) -> list[Flow]:
    """Return flows from where there is too much to where there is too little; the surpluses sum to zero.

    Of three places one alone has too much, or too little: what two exchange leaves nothing for others to be asked for.
    """
    assert sum(surplus.values()) == 0, "what leaves one place comes to another"
    return [
        Flow(creator_id=creator_id, before=before, after=after, micros=micros)
        for before in Place
        for after in Place
        if (micros := min(surplus[before], -surplus[after])) > 0
    ]


def flow_transfers(flows: Sequence[Flow], *, cause: UUID, source_id: UUID, month: date) -> list[Transfer]:
    """Return the rows of the ledger for what one cause moves; written a second time they are refused."""
    return [
        Transfer(
            id=uuid5(cause, f"{flow.creator_id}|{flow.before}|{flow.after}"),
            batch_id=cause,
            kind=_KIND_TO[flow.after],
            debit=_account(flow.before, flow.creator_id),
            credit=_account(flow.after, flow.creator_id),
            amount_micros=flow.micros,
            account_id=flow.creator_id,
            month=month,
            source_id=source_id,
        )
        for flow in flows
    ]


def _account(place: Place, creator_id: UUID) -> str:
    if place is Place.LOST:
        return UNCOLLECTED
    return creator_of(creator_id) if place is Place.PENDING else payable_of(creator_id)
