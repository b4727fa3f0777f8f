"""Where a creator's share is, for every state of the money behind it; and that nobody keeps more than is paid for."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.model.earnings import (
    COLLECTED_AFTER,
    KINDS,
    BilledShare,
    Flow,
    GrantFunds,
    GrantShare,
    Place,
    bill_flows,
    flow_transfers,
    grant_flows,
    lost_of,
    ripe_until,
)
from domain.model.ledger import UNCOLLECTED, creator_of, payable_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PAYER, CREATOR, OTHER, CAUSE = (UUID(int=number) for number in range(1, 5))
MICROS = st.integers(min_value=0, max_value=10**12)


def funds(
    *, granted: int = 1_000, used: int = 600, price: int | None = 1_000, owed: int = 0, days: int = 20
) -> GrantFunds:
    return GrantFunds(
        account_id=PAYER,
        granted_micros=granted,
        used_micros=used,
        price_micros=price,
        owed_micros=owed,
        bought_at=None if price is None else NOW - timedelta(days=days),
    )


def share(net: int, *, ripe: int | None = None, payable: int = 0, lost: int = 0) -> GrantShare:
    ripe = net if ripe is None else ripe
    return GrantShare(creator_id=CREATOR, net_micros=net, ripe_micros=ripe, payable_micros=payable, lost_micros=lost)


def told(flows: list[Flow]) -> list[tuple[str, str, int]]:
    return [(flow.before, flow.after, flow.micros) for flow in flows]


def billed(paid: int, given_up: int = 0, *, payable: int = 0, lost: int = 0, creator: UUID = CREATOR) -> BilledShare:
    return BilledShare(
        creator_id=creator, paid_micros=paid, given_up_micros=given_up, payable_micros=payable, lost_micros=lost
    )


@pytest.mark.parametrize(
    ("found", "flows"),
    [
        (billed(0), []),
        (billed(400), [("pending", "payable", 400)]),
        (billed(400, payable=400), []),
        (billed(0, 400), [("pending", "lost", 400)]),
        (billed(400, lost=400), [("lost", "payable", 400)]),
        (billed(100, 70, payable=400), [("payable", "pending", 230), ("payable", "lost", 70)]),
    ],
)
def test_what_invoices_hold_is_where_their_money_is(found: BilledShare, flows: list[tuple[str, str, int]]) -> None:
    found_flows = bill_flows([found], collected_micros=10_000)
    assert told(found_flows) == flows
    assert {flow.creator_id for flow in found_flows} <= {CREATOR}


def test_where_less_was_collected_everybody_waits_for_the_same_part() -> None:
    found = [billed(300), billed(100, creator=OTHER)]
    flows = bill_flows(found, collected_micros=399)
    assert told(flows) == [("pending", "payable", 299), ("pending", "payable", 99)]
    assert [flow.creator_id for flow in flows] == [CREATOR, OTHER]
    assert told(bill_flows(found, collected_micros=400)) == [("pending", "payable", 300), ("pending", "payable", 100)]
    assert bill_flows([billed(0)], collected_micros=0) == []


def test_a_purchase_is_waited_for_and_what_is_given_counts_from_the_cast() -> None:
    assert ripe_until(funds(price=None), NOW) == NOW - COLLECTED_AFTER
    assert ripe_until(funds(days=14), NOW) is None
    early = ripe_until(funds(days=13), NOW)
    assert early is not None
    assert (early.year, early.tzinfo) == (1, UTC)


def test_of_a_used_part_that_went_back_a_creator_loses_his_part_rounded_up() -> None:
    assert lost_of(funds(), 100) == 0
    assert lost_of(funds(used=0), 100) == 0, "nothing went back"
    assert lost_of(funds(price=None, owed=5), 100) == 0
    assert lost_of(funds(owed=200), 100) == 34  # a third of what is used
    assert lost_of(funds(owed=600), 100) == 100
    assert lost_of(funds(owed=2_000), 100) == 100  # and never more
    assert lost_of(funds(used=0, owed=1), 0) == 0
    assert lost_of(funds(granted=2_000, used=1_000, price=1_000, owed=250), 100) == 50  # a credit costs half


@pytest.mark.parametrize(
    ("found", "decided", "flows"),
    [
        (share(100, ripe=0), funds(days=1), []),
        (share(100), funds(), [("pending", "payable", 100)]),
        (share(100, payable=100), funds(), []),
        (share(100, ripe=0), funds(days=1, owed=300), [("pending", "lost", 50)]),
        (share(100, payable=60), funds(owed=600), [("pending", "lost", 40), ("payable", "lost", 60)]),
        (share(100, lost=100), funds(), [("lost", "payable", 100)]),
        (share(100, ripe=0, lost=100), funds(days=1), [("lost", "pending", 100)]),
        # 30 of 100 were paid back: they are pending, below zero, until they are taken out of what is payable.
        (share(70, ripe=100, payable=100), funds(), [("payable", "pending", 30)]),
        # Of what was given the young ones are taken first.
        (share(70, ripe=60, payable=60), funds(price=None), []),
    ],
)
def test_shares_go_where_they_belong(found: GrantShare, decided: GrantFunds, flows: list[tuple[str, str, int]]) -> None:
    found_flows = grant_flows(found, decided)
    assert told(found_flows) == flows
    assert {flow.creator_id for flow in found_flows} <= {CREATOR}


@given(
    st.lists(MICROS, max_size=5), st.integers(1, 10**12), st.integers(1, 10**12), MICROS, MICROS, MICROS, MICROS,
    st.integers(0, 30),
)  # fmt: skip
@example([1, 1, 1], 3, 3, 0, 1, 0, 0, 0)  # rounded down, nobody would lose anything
def test_whatever_happened_one_look_is_enough_and_all_keep_no_more_than_is_paid_for(
    nets: list[int], granted: int, price: int, extra: int, owed: int, payable: int, lost: int, days: int
) -> None:
    decided = funds(granted=granted, used=sum(nets) + extra, price=price, owed=owed, days=days)
    kept = 0
    for net in nets:
        found = share(net, payable=payable, lost=lost)
        at = {Place.PENDING: net - payable - lost, Place.PAYABLE: payable, Place.LOST: lost}
        for flow in grant_flows(found, decided):
            at[flow.before] -= flow.micros
            at[flow.after] += flow.micros
        assert sum(at.values()) == net
        assert min(at.values()) >= 0
        settled = share(net, payable=at[Place.PAYABLE], lost=at[Place.LOST])
        assert grant_flows(settled, decided) == []
        kept += net - at[Place.LOST]
    # In money: what is kept is within what was paid for the used credits and did not go back.
    assert kept * price <= max(0, decided.used_micros * price - owed * granted)


def test_rows_of_one_cause_are_the_creators_and_have_their_ids_from_it() -> None:
    flows = [
        Flow(creator_id=CREATOR, before=before, after=after, micros=7)
        for before in Place
        for after in Place
        if before is not after
    ]
    rows = flow_transfers(flows, cause=CAUSE, source_id=OTHER, month=date(2026, 11, 1))
    pending, payable = creator_of(CREATOR), payable_of(CREATOR)
    assert [(row.kind, row.debit, row.credit) for row in rows] == [
        ("share_collected", pending, payable),
        ("share_lost", pending, UNCOLLECTED),
        ("share_returned", payable, pending),
        ("share_lost", payable, UNCOLLECTED),
        ("share_returned", UNCOLLECTED, pending),
        ("share_collected", UNCOLLECTED, payable),
    ]
    assert {row.kind for row in rows} == set(KINDS)
    assert {(row.account_id, row.source_id, row.batch_id) for row in rows} == {(CREATOR, OTHER, CAUSE)}
    assert {(row.amount_micros, row.month) for row in rows} == {(7, date(2026, 11, 1))}
    assert len({row.id for row in rows}) == len(rows)
    assert rows == flow_transfers(flows, cause=CAUSE, source_id=OTHER, month=date(2026, 11, 1))
