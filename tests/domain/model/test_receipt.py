"""What a receipt says of each ending, field by field; and the transfers that pay a cast back."""

from datetime import date, timedelta
from uuid import UUID, uuid5

import msgspec
import pytest

from domain.model.booking import TransferRow, transfers_of
from domain.model.funding import Funding
from domain.model.messages import Outcome
from domain.model.modes import Mode
from domain.model.pricing import Due, charge, due_for
from domain.model.receipt import (
    CreatorRates,
    GrantFacts,
    HoldFacts,
    LedgerFacts,
    Line,
    Rates,
    Receipt,
    ReceiptRow,
    RefundFacts,
    TransferFacts,
    Used,
    receipt_of,
)
from domain.model.refund import refund_transfers
from domain.model.settlement import Ending, HeldCast
from tests.domain.model.states import ACCOUNT, CREATOR, NOW, PRICE, SPELL, held_cast

BATCH = UUID(int=0xBA7C4)
QUOTE = UUID(int=0x9007E)
GRANTS = (UUID(int=81), UUID(int=82))
STARTED, FINISHED, SETTLED = (NOW + timedelta(seconds=seconds) for seconds in (1, 2, 3))
ROW = ReceiptRow(
    cast_id=UUID(int=1),
    account_id=ACCOUNT,
    account="ada",
    key="sk_live_abc",
    spell="grace/rows",
    version="1.2.0",
    digest=b"\x01\xab" * 16,
    unit="rows",
    status="succeeded",
    outcome="succeeded",
    accepted_at=NOW,
    started_at=STARTED,
    finished_at=FINISHED,
    settled_at=SETTLED,
    batch_id=BATCH,
    quote_id=QUOTE,
    fuel=400_000_001,
    output_bytes=1_025,
    units=6,
    cost_micros=1_000 + 601 + 100 + 2 * 7 + 5 * 3,
    refund_micros=None,
    refund_reason=None,
    refunded_at=None,
    engine_key="engine 50",
)
# 100 a cast, 7 a KiB, 3 a unit up to 5 units.
CAST = held_cast(creator_price_micros=100, creator_rates=(7, 3, 5), held_micros=2_650, output_bytes_limit=4_096)
CREATORS = 129 - 129 * 20 // 100
CHARGED = charge(
    PRICE,
    CAST.creator_price,
    held_micros=2_650,
    outcome=Outcome.SUCCEEDED,
    fuel=ROW.fuel,
    started=True,
    output_bytes=1_025,
    units=6,
)


def receipt(row: ReceiptRow = ROW, cast: HeldCast = CAST, refunds: tuple[TransferRow, ...] = ()) -> Receipt:
    return receipt_of(row, cast, PRICE, refunds, issuer="https://spell.example")


def changed(**fields: object) -> ReceiptRow:
    return msgspec.structs.replace(ROW, **fields)


def test_a_receipt_says_who_what_and_when() -> None:
    made = receipt()
    said = {name: getattr(made, name) for name in Receipt.__struct_fields__ if hasattr(ROW, name)}
    expected = {name: getattr(ROW, name) for name in said}
    assert said == expected | {"digest": "sha256:" + "01ab" * 16}
    assert set(said) >= {"account", "key", "spell", "engine_key", "accepted_at", "started_at", "settled_at"}
    assert (made.v, made.issuer, made.mode, made.currency, made.funding) == (
        1,
        "https://spell.example",
        Mode.LIVE,
        "usd",
        "metered",
    )


def test_a_receipt_says_under_which_terms() -> None:
    creator = CreatorRates(per_cast_micros=100, per_output_kib_micros=7, per_unit_micros=3, unit="rows", units_max=5)
    assert receipt().rates == Rates(
        price_version=7,
        per_cast_micros=1_000,
        per_gfuel_micros=1_500,
        platform_share_percent=20,
        creator=creator,
        quote_id=QUOTE,
    )


def test_each_part_of_the_price_has_a_line() -> None:
    made = receipt()
    assert made.used == Used(fuel=400_000_001, output_bytes=1_025, units=6)
    assert made.lines == (
        Line(what="fee", quantity=1, rate_micros=1_000, amount_micros=1_000, charged=True),
        Line(what="fuel", quantity=400_000_001, rate_micros=1_500, amount_micros=601, charged=True),
        Line(what="creator", quantity=1, rate_micros=100, amount_micros=100, charged=True),
        Line(what="output_kib", quantity=2, rate_micros=7, amount_micros=14, charged=True),
        Line(what="units", quantity=5, rate_micros=3, amount_micros=15, charged=True),
    )
    assert made.hold == HoldFacts(
        held_micros=2_650,
        captured_micros=1_730,
        released_micros=920,
        waived_micros=0,
        pays_for=Due.EVERYTHING,
        reason="The cast gave a result: fee, fuel and the creator's price are charged.",
    )
    assert (made.platform_micros, made.creator_micros) == (1_730 - CREATORS, CREATORS)


def test_what_has_no_price_has_no_line() -> None:
    made = receipt(changed(cost_micros=1_601), held_cast())
    assert [line.what for line in made.lines] == ["fee", "fuel"]
    assert made.rates.creator.per_cast_micros == made.creator_micros == 0


def test_what_nobody_knows_is_none_and_costs_nothing() -> None:
    row = changed(outcome="wall_time_exceeded", status="failed", fuel=None, output_bytes=None, units=None)
    made = receipt(msgspec.structs.replace(row, cost_micros=1_000))
    assert made.used == Used(fuel=None, output_bytes=0, units=0)
    assert [(line.what, line.quantity, line.amount_micros, line.charged) for line in made.lines] == [
        ("fee", 1, 1_000, True),
        ("fuel", None, 0, True),
        ("creator", 1, 100, False),
        ("output_kib", 0, 0, False),
        ("units", 0, 0, False),
    ]
    assert (made.hold.pays_for, made.hold.waived_micros, made.hold.released_micros) == (Due.PLATFORM, 100, 1_650)
    assert made.hold.reason == (
        "The spell broke, met a limit or was canceled: fee and fuel are charged, the creator gets nothing."
    )


def test_a_result_without_output_or_units_pays_for_none() -> None:
    made = receipt(changed(outcome="exit_nonzero", output_bytes=None, units=None, cost_micros=1_701))
    assert [line.amount_micros for line in made.lines if line.charged] == [1_000, 601, 100, 0, 0]


@pytest.mark.parametrize(
    ("outcome", "started", "pays_for", "cost"),
    [
        ("exit_nonzero", True, Due.EVERYTHING, ROW.cost_micros),
        ("trap", True, Due.PLATFORM, 1_601),
        ("canceled", True, Due.PLATFORM, 1_601),
        ("canceled", False, Due.NOTHING, 0),
        ("deadline_passed", False, Due.NOTHING, 0),
        ("platform_error", True, Due.NOTHING, 0),
    ],
)
def test_an_ending_pays_for_what_it_owes(outcome: str, pays_for: Due, cost: int, *, started: bool) -> None:
    made = receipt(changed(outcome=outcome, started_at=STARTED if started else None, cost_micros=cost))
    assert (made.outcome, made.hold.pays_for, made.hold.captured_micros) == (outcome, pays_for, cost)
    assert made.hold.waived_micros + made.hold.captured_micros == ROW.cost_micros
    assert made.hold.released_micros + made.hold.captured_micros == CAST.held_micros
    if pays_for is Due.NOTHING:
        reason = "Nothing ran to an end the caller answers for: all of the hold was released."
        assert made.hold.reason == reason
        assert (made.platform_micros, made.creator_micros, made.ledger.transfers) == (0, 0, ())


def test_a_test_cast_says_what_a_live_one_would_have_paid() -> None:
    made = receipt(changed(cost_micros=0), held_cast(funding=Funding.TEST, held_micros=0))
    assert (made.mode, made.funding) == (Mode.TEST, "test")
    assert made.hold == HoldFacts(
        held_micros=0,
        captured_micros=0,
        released_micros=0,
        waived_micros=1_601,
        pays_for=Due.NOTHING,
        reason="A test key made this cast: nothing was held, and nothing is charged.",
    )
    assert made.ledger == LedgerFacts(batch_id=BATCH, transfers=())


@pytest.mark.parametrize("cost", [1_729, 1_731])
def test_no_receipt_says_other_than_what_was_charged(cost: int) -> None:
    with pytest.raises(AssertionError, match=r"^a receipt says what was charged$"):
        receipt(changed(cost_micros=cost))


def test_an_open_cast_has_no_receipt() -> None:
    with pytest.raises(AssertionError, match=r"^it has ended$"):
        receipt(changed(cost_micros=None))


def transfer_id(kind: str, debit: str, credit: str, grant: UUID | None = None) -> UUID:
    return uuid5(BATCH, "|".join(map(str, (kind, debit, credit, ACCOUNT, SPELL, date(2026, 3, 1), grant))))


def test_the_ledger_part_names_the_rows_of_the_batch() -> None:
    payer, creator = f"receivable:{ACCOUNT}", f"creator:{CREATOR}"
    fee, share = ("cast_fee", payer, "revenue:platform"), ("creator_share", payer, creator)
    expected = [(*fee, 1_730 - CREATORS), (*share, CREATORS)]
    made = receipt().ledger
    assert made.batch_id == BATCH
    rows = {row.id: row for row in made.transfers}
    assert rows == {
        transfer_id(kind, debit, credit): TransferFacts(
            id=transfer_id(kind, debit, credit), kind=kind, debit=debit, credit=credit, amount_micros=micros
        )
        for kind, debit, credit, micros in expected
    }
    assert receipt(changed(batch_id=None)).ledger == LedgerFacts(batch_id=None, transfers=())


def credited_cast() -> HeldCast:
    return msgspec.structs.replace(CAST, funding=Funding.CREDITS, grant_ids=GRANTS, grant_micros=(1_700, 950))


def test_credits_are_named_grant_by_grant() -> None:
    made = receipt(cast=credited_cast())
    assert made.grants == tuple(
        GrantFacts(grant_id=grant, held_micros=micros) for grant, micros in zip(GRANTS, (1_700, 950), strict=True)
    )
    payer, creator = f"credits:{ACCOUNT}", f"creator:{CREATOR}"
    platform = 1_730 - CREATORS
    assert {row.id: row.amount_micros for row in made.ledger.transfers} == {
        transfer_id("cast_fee", payer, "revenue:platform", GRANTS[0]): platform,
        transfer_id("creator_share", payer, creator, GRANTS[0]): 1_700 - platform,
        transfer_id("creator_share", payer, creator, GRANTS[1]): 30,
    }


def test_a_refund_goes_the_same_way_back() -> None:
    cast = credited_cast()
    there = transfers_of(Ending(cast=cast, outcome=Outcome.SUCCEEDED, charge=CHARGED), batch_id=cast.id)
    back = refund_transfers(cast, CHARGED)
    assert [(row.debit, row.credit, row.amount_micros) for row in back] == [
        (row.credit, row.debit, row.amount_micros) for row in there
    ]
    assert [row.kind for row in back] == [
        {"cast_fee": "refund_fee", "creator_share": "refund_share"}[row.kind] for row in there
    ]
    assert [row.id for row in back] == [uuid5(cast.id, f"refund|{row.id}") for row in there]
    assert {(row.batch_id, row.account_id, row.spell_id, row.month, row.casts) for row in back} == {
        (cast.id, ACCOUNT, SPELL, date(2026, 3, 1), 0)
    }
    row = changed(refund_micros=1_730, refund_reason="it was wrong", refunded_at=SETTLED)
    assert receipt(row, cast, tuple(back)).refund == RefundFacts(
        amount_micros=1_730,
        reason="it was wrong",
        refunded_at=SETTLED,
        transfers=tuple(
            TransferFacts(id=one.id, kind=one.kind, debit=one.debit, credit=one.credit, amount_micros=one.amount_micros)
            for one in back
        ),
    )
    assert receipt(ROW, cast, tuple(back)).refund is None


def test_a_share_is_taken_out_of_where_it_came_from() -> None:
    """Of the grant that paid it; of a line of an invoice where it was billed; of nothing where it was not yet."""
    line = UUID(int=0x11E)

    def sources(cast: HeldCast, line_id: UUID | None) -> set[tuple[str, UUID | None]]:
        return {(row.kind, row.source_id) for row in refund_transfers(cast, CHARGED, line_id=line_id)}

    assert sources(CAST, None) == {("refund_fee", None), ("refund_share", None)}
    assert sources(CAST, line) == {("refund_fee", None), ("refund_share", line)}
    assert sources(credited_cast(), line) == {("refund_fee", None), *(("refund_share", grant) for grant in GRANTS)}


def test_every_outcome_says_what_it_pays_for() -> None:
    everything = {Outcome.SUCCEEDED, Outcome.EXIT_NONZERO}
    nothing = {Outcome.SANDBOX_CRASHED, Outcome.POISON, Outcome.PLATFORM_ERROR, Outcome.DEADLINE_PASSED}
    for outcome in Outcome:
        expected = Due.EVERYTHING if outcome in everything else Due.NOTHING if outcome in nothing else Due.PLATFORM
        assert due_for(outcome) is expected
