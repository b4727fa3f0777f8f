"""What endings move, as exact rows; and, for any batch, that the rows add up to the endings."""

from collections import Counter
from datetime import UTC, date, datetime
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model.booking import (
    ALLOWANCE,
    REVENUE,
    AccountRow,
    Bookings,
    CreditsRow,
    HeldRow,
    KeyRow,
    MonthRow,
    TransferRow,
    book,
)
from domain.model.funding import Funding
from domain.model.messages import Outcome, Pool
from domain.model.pricing import NOTHING, Charge
from domain.model.settlement import Ending, HeldCast
from tests.domain.model.states import ACCOUNT, CREATOR, KEY, NOW_MS, OTHER, SPELL, held_cast

BATCH = UUID(int=0xBA7C4)
MONTH = date(2026, 3, 1)
WINDOW_A, WINDOW_B = UUID(int=71), UUID(int=72)
CHARGE = Charge(cost_micros=1_500, platform_micros=1_100, creator_micros=400)
FEE = Charge(cost_micros=1_000, platform_micros=1_000, creator_micros=0)


def ms(*instant: int) -> int:
    return int(datetime(*instant, tzinfo=UTC).timestamp() * 1000)


def ending(cast: HeldCast, charge: Charge = CHARGE, outcome: Outcome = Outcome.SUCCEEDED, **fields: object) -> Ending:
    return Ending(cast=cast, outcome=outcome, charge=charge, **fields)


def booked(*endings: Ending) -> Bookings:
    return book(endings, batch_id=BATCH)


def transfer(kind: str, debit: str, credit: str, micros: int, casts: int, grant: UUID | None = None) -> TransferRow:
    name = "|".join(map(str, (kind, debit, credit, ACCOUNT, SPELL, MONTH, grant)))
    return TransferRow(
        kind=kind,
        debit=debit,
        credit=credit,
        account_id=ACCOUNT,
        spell_id=SPELL,
        month=MONTH,
        id=uuid5(BATCH, name),
        batch_id=BATCH,
        amount_micros=micros,
        casts=casts,
        source_id=grant if kind == "creator_share" else None,
    )


def by_id(*rows: TransferRow) -> list[TransferRow]:
    return sorted(rows, key=lambda row: row.id)


def test_one_cast_moves_exactly_these_rows() -> None:
    cast = held_cast(window_ids=(WINDOW_B, WINDOW_A), held_micros=3_000)
    assert booked(ending(cast)) == Bookings(
        windows=[HeldRow(id=WINDOW_A, held=3_000, spent=1_500), HeldRow(id=WINDOW_B, held=3_000, spent=1_500)],
        months=[MonthRow(account_id=ACCOUNT, month=MONTH, held=3_000, spent=1_500)],
        grants=[],
        credits=[],
        keys=[KeyRow(id=KEY, casts=1)],
        accounts=[AccountRow(id=ACCOUNT, casts=1, on_wire_default=1)],
        transfers=by_id(
            transfer("cast_fee", f"receivable:{ACCOUNT}", REVENUE, 1_100, 1),
            transfer("creator_share", f"receivable:{ACCOUNT}", f"creator:{CREATOR}", 400, 0),
        ),
    )


def test_casts_alike_make_one_row_each() -> None:
    result = booked(ending(held_cast(1)), ending(held_cast(2), FEE, Outcome.TRAP))
    assert result.months == [MonthRow(account_id=ACCOUNT, month=MONTH, held=5_000, spent=2_500)]
    assert result.keys == [KeyRow(id=KEY, casts=2)]
    assert result.accounts == [AccountRow(id=ACCOUNT, casts=2, on_wire_default=2)]
    assert result.transfers == by_id(
        transfer("cast_fee", f"receivable:{ACCOUNT}", REVENUE, 2_100, 2),
        transfer("creator_share", f"receivable:{ACCOUNT}", f"creator:{CREATOR}", 400, 0),
    )


def test_places_on_the_wire_are_given_back_by_pool_and_only_where_taken() -> None:
    casts = [
        held_cast(1),
        held_cast(2, pool=Pool.LARGE),
        held_cast(3, on_wire=False),
        held_cast(4, pool=Pool.LARGE, on_wire=False),
        held_cast(5, pool=Pool.LARGE),
    ]
    (row,) = booked(*map(ending, casts)).accounts
    assert row == AccountRow(id=ACCOUNT, casts=5, on_wire_default=1, on_wire_large=2)


def test_an_account_row_says_whether_somebody_hears_of_its_casts_and_how_long_it_keeps_data() -> None:
    rows = [booked(ending(cast)).accounts[0] for cast in (held_cast(has_webhooks=True), held_cast(data_days=7))]
    assert [(row.told, row.data_days) for row in rows] == [(True, 0), (False, 7)]


def test_a_cast_of_a_session_counts_for_no_key() -> None:
    result = booked(ending(held_cast(key_id=None)))
    assert result.keys == []


def test_a_cast_belongs_to_the_day_and_month_of_its_acceptance_whenever_it_ends() -> None:
    cast = held_cast(accepted_ms=ms(2026, 2, 28, 23, 59, 59))
    result = booked(ending(cast, started_ms=ms(2026, 3, 1), finished_ms=ms(2026, 3, 1, 0, 0, 1)))
    february = date(2026, 2, 1)
    assert [row.month for row in result.months] == [february]
    assert {row.month for row in result.transfers} == {february}


def test_what_costs_nothing_gives_back_its_hold_and_books_no_transfer() -> None:
    cast = held_cast(window_ids=(WINDOW_A,))
    result = booked(ending(cast, NOTHING, Outcome.PLATFORM_ERROR))
    assert result.windows == [HeldRow(id=WINDOW_A, held=2_500, spent=0)]
    assert result.months == [MonthRow(account_id=ACCOUNT, month=MONTH, held=2_500, spent=0)]
    assert result.transfers == []


def test_free_casts_are_paid_by_the_allowance_and_used_up_only_by_what_costs() -> None:
    free = {"funding": Funding.FREE}
    endings = [
        ending(held_cast(1, **free), FEE),
        ending(held_cast(2, **free), FEE, Outcome.TRAP),
        ending(held_cast(3, **free), NOTHING, Outcome.SANDBOX_CRASHED),
    ]
    result = booked(*endings)
    assert result.months == [
        MonthRow(account_id=ACCOUNT, month=MONTH, held=7_500, spent=2_000, free_held=3, free_used=2)
    ]
    assert result.transfers == [transfer("cast_fee", ALLOWANCE, REVENUE, 2_000, 2)]


def test_who_pays_follows_from_the_funding_and_unbilled_casts_are_nobodys_debt() -> None:
    rows = booked(ending(held_cast(funding=Funding.UNBILLED))).transfers
    assert {(row.kind, row.debit) for row in rows} == {
        ("cast_fee", f"unbilled:{ACCOUNT}"), ("creator_share", f"unbilled:{ACCOUNT}"),
    }  # fmt: skip


def test_metered_casts_use_no_free_allowance() -> None:
    (row,) = booked(ending(held_cast())).months
    assert (row.free_held, row.free_used) == (0, 0)


def test_credits_pay_from_the_grants_that_were_held_platform_first() -> None:
    first, second, third = (UUID(int=number) for number in (81, 82, 83))
    cast = held_cast(
        funding=Funding.CREDITS, grant_ids=(second, first, third), grant_micros=(1_000, 450, 1_050), held_micros=2_500
    )
    result = booked(ending(cast))
    assert result.grants == [
        HeldRow(id=first, held=450, spent=450),
        HeldRow(id=second, held=1_000, spent=1_000),
        HeldRow(id=third, held=1_050, spent=50),
    ]
    payer, creator = f"credits:{ACCOUNT}", f"creator:{CREATOR}"
    assert result.transfers == by_id(
        transfer("cast_fee", payer, REVENUE, 1_000, 1, second),
        transfer("cast_fee", payer, REVENUE, 100, 1, first),
        transfer("creator_share", payer, creator, 350, 0, first),
        transfer("creator_share", payer, creator, 50, 0, third),
    )


def test_the_history_of_credits_says_what_each_accounts_casts_took_and_of_how_many() -> None:
    taken = {"funding": Funding.CREDITS, "grant_ids": (OTHER,), "grant_micros": (2_500,)}
    one, two, free, others = (held_cast(number, **taken) for number in range(1, 5))
    others = msgspec.structs.replace(others, account_id=OTHER)
    result = booked(ending(one, FEE), ending(two), ending(free, NOTHING, Outcome.POISON), ending(others, FEE))
    assert result.credits == [
        CreditsRow(account_id=ACCOUNT, micros=2_500, casts=2),
        CreditsRow(account_id=OTHER, micros=1_000, casts=1),
    ]
    assert booked(ending(free, NOTHING, Outcome.POISON)).credits == []
    assert booked(ending(held_cast(), FEE)).credits == []
    micro = Charge(cost_micros=1, platform_micros=1, creator_micros=0)
    assert booked(ending(one, micro)).credits == [CreditsRow(account_id=ACCOUNT, micros=1, casts=1)]


def test_a_grant_of_two_casts_is_one_row() -> None:
    taken = {"funding": Funding.CREDITS, "grant_ids": (OTHER,), "grant_micros": (2_500,)}
    result = booked(ending(held_cast(1, **taken), FEE), ending(held_cast(2, **taken), NOTHING, Outcome.POISON))
    assert result.grants == [HeldRow(id=OTHER, held=5_000, spent=1_000)]
    assert result.transfers == [transfer("cast_fee", f"credits:{ACCOUNT}", REVENUE, 1_000, 1, OTHER)]


def test_fundings_in_one_batch_do_not_hide_each_other() -> None:
    taken = {"funding": Funding.CREDITS, "grant_ids": (OTHER,), "grant_micros": (2_500,)}
    fundings = [taken, {"funding": Funding.TEST}, {"funding": Funding.FREE}, {"funding": Funding.METERED}]
    endings = [ending(held_cast(number, **fields), FEE) for number, fields in enumerate(fundings)]
    payers = {ALLOWANCE, f"receivable:{ACCOUNT}", f"credits:{ACCOUNT}"}
    for order in (endings, endings[::-1]):
        assert {row.debit for row in booked(*order).transfers} == payers


def test_a_micro_is_a_charge() -> None:
    micro = Charge(cost_micros=1, platform_micros=1, creator_micros=0)
    result = booked(ending(held_cast(funding=Funding.FREE), micro))
    assert [row.free_used for row in result.months] == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_id", OTHER),
        ("key_id", OTHER),
        ("spell_id", OTHER),
        ("creator_id", OTHER),
        ("funding", Funding.FREE),
        ("window_ids", (WINDOW_B,)),
        ("accepted_ms", NOW_MS - 86_400_000),
    ],
)
def test_casts_that_differ_in_what_they_move_are_kept_apart(field: str, value: object) -> None:
    """Booked together they move what they move one by one; a spell has one creator, so both change together."""
    one, other = held_cast(1, window_ids=(WINDOW_A,)), held_cast(2, window_ids=(WINDOW_A,))
    other = msgspec.structs.replace(other, **{field: value})
    if field == "creator_id":
        other = msgspec.structs.replace(other, spell_id=OTHER)
    assert totals(booked(ending(one), ending(other))) == totals(booked(ending(one))) + totals(booked(ending(other)))


def totals(bookings: Bookings) -> Counter[tuple[object, ...]]:
    """Return every amount of a booking under the row and column it goes to."""
    amounts: Counter[tuple[object, ...]] = Counter()
    for name in ("windows", "months", "grants", "keys", "accounts", "transfers"):
        for row in getattr(bookings, name):
            fields = {key: value for key, value in msgspec.structs.asdict(row).items() if key != "batch_id"}
            names = tuple(sorted((key, str(value)) for key, value in fields.items() if not isinstance(value, int)))
            for column, value in fields.items():
                if isinstance(value, int):
                    amounts[name, names, column] += value
    return amounts


CASTS = st.builds(
    held_cast,
    st.integers(min_value=1, max_value=10**6),
    account_id=st.sampled_from([ACCOUNT, OTHER]),
    key_id=st.sampled_from([KEY, OTHER, None]),
    spell_id=st.sampled_from([SPELL, OTHER]),
    funding=st.sampled_from([Funding.FREE, Funding.METERED]),
    pool=st.sampled_from(list(Pool)),
    on_wire=st.booleans(),
    window_ids=st.sampled_from([(), (WINDOW_A,), (WINDOW_A, WINDOW_B)]),
    accepted_ms=st.sampled_from([NOW_MS, NOW_MS - 86_400_000, NOW_MS - 40 * 86_400_000]),
)
ENDINGS = st.builds(
    ending,
    CASTS,
    st.sampled_from([CHARGE, FEE, NOTHING]),
    st.sampled_from(list(Outcome)),
)


@given(st.lists(ENDINGS, max_size=12))
def test_a_batch_moves_what_its_casts_move_one_by_one(endings: list[Ending]) -> None:
    one_by_one: Counter[tuple[object, ...]] = Counter()
    for each in endings:
        one_by_one += totals(booked(each))
    together = booked(*endings)
    assert +totals(together) == +one_by_one
    for rows in (together.windows, together.keys, together.accounts, together.transfers):
        ids = [row.id for row in rows]
        assert ids == sorted(set(ids)), "each row once, in the order everybody locks"
    months = [(row.account_id, row.month) for row in together.months]
    assert months == sorted(set(months))
