"""How lists of Stripe's are read: page by page, kind by kind, and what in them is of interest."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.model.stripe_listing import (
    Comparison,
    Listed,
    ListedPage,
    ObjectKind,
    is_compared,
    mark_of,
    read_on,
)

NOW = datetime(2026, 11, 2, tzinfo=UTC)
ROW = UUID(int=7)


def test_reading_goes_through_each_list_to_its_end_and_then_to_the_next() -> None:
    at = Comparison(
        id=ROW, started_at=NOW, since=NOW, kind=ObjectKind.INVOICE, last_id=None, listed_at=None
    )  # fmt: skip
    seen = []
    for last_id in ("in_2", None, None, "re_1", None, None):
        at = read_on(at, ListedPage(objects=[], last_id=last_id), now=NOW)
        seen.append((at.kind.value, at.last_id, at.listed_at))
    assert seen == [
        ("invoice", "in_2", None),
        ("payment", None, None),
        ("refund", None, None),
        ("refund", "re_1", None),
        ("transfer", None, None),
        ("transfer", None, NOW),
    ]


@pytest.mark.parametrize(
    ("kind", "mark", "expected"),
    [
        (ObjectKind.INVOICE, ROW, True),
        (ObjectKind.INVOICE, None, False),
        (ObjectKind.PAYMENT, None, False),
        (ObjectKind.REFUND, None, True),
    ],
)
def test_what_nobody_here_made_is_left_out_but_for_refunds(
    kind: ObjectKind, mark: UUID | None, *, expected: bool
) -> None:
    listed = Listed(kind=kind, stripe_id="x", mark=mark, status="open", amount_cents=1)
    assert is_compared(listed) is expected


def test_a_mark_is_an_orders_or_a_row_of_the_outbox() -> None:
    assert mark_of({"spell_order": str(ROW)}) == mark_of({"spell_outbox": str(ROW)}) == ROW
    assert mark_of({"spell_outbox": "by hand"}) is mark_of({}) is None
