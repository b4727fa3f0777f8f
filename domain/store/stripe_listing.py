"""What Stripe listed, and where it differs from our rows. Needs Role.ENGINE throughout."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.stripe_listing import Comparison, Listed, ObjectKind
from domain.store.books import ROWS_SHOWN_MAX
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_QUERY_OF: Final = {
    ObjectKind.INVOICE: "invoices_compared",
    ObjectKind.PAYMENT: "payments_compared",
    ObjectKind.REFUND: "refunds_compared",
    ObjectKind.TRANSFER: "transfers_compared",
}


class StripeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ours, or an object of Stripe's, that is not what the other says."""

    account_id: UUID | None
    subject: str
    """The id of the invoice, order, refund or payout, as far as it is known."""
    stripe_id: str
    fault: str
    """docs/reconciliation.md says what each means."""
    expected: str
    found: str


class StripeBook(msgspec.Struct, frozen=True, kw_only=True):
    """The differences of one kind of objects."""

    book: ObjectKind
    differing: int
    rows: list[StripeDifference]
    """The first ROWS_SHOWN_MAX of them."""


async def comparison_open(conn: Connection) -> Comparison | None:
    """Return the comparison that is under way."""
    async with conn.cursor(row_factory=class_row(Comparison)) as cursor:
        await cursor.execute(_QUERIES["comparison_open"])
        found = await cursor.fetchone()
    return None if found is None else msgspec.structs.replace(found, kind=ObjectKind(found.kind))


async def comparison_begun(conn: Connection, *, since: datetime) -> bool:
    """Tell whether a comparison was begun since then."""
    row = await (await conn.execute(_QUERIES["comparison_begun"], {"since": since})).fetchone()
    assert row is not None
    return row[0]


async def comparison_insert(conn: Connection, comparison: Comparison) -> None:
    """Begin a comparison, unless one is under way."""
    await conn.execute(_QUERIES["comparison_insert"], msgspec.structs.asdict(comparison))


async def comparison_advance(conn: Connection, before: Comparison, after: Comparison) -> bool:
    """Go on behind a page; False when somebody else did from the same place."""
    parameters = {
        "id": before.id, "kind": before.kind, "last_id": before.last_id,
        "next_kind": after.kind, "next_id": after.last_id, "listed_at": after.listed_at,
    }  # fmt: skip
    return (await conn.execute(_QUERIES["comparison_advance"], parameters)).rowcount == 1


async def comparison_trouble(conn: Connection, comparison_id: UUID, *, trouble: str) -> None:
    """Write down why Stripe did not answer."""
    await conn.execute(_QUERIES["comparison_trouble"], {"id": comparison_id, "trouble": trouble})


async def comparison_finish(conn: Connection, comparison_id: UUID, *, now: datetime, trouble: str | None) -> bool:
    """End it, and forget what was listed for others; False when somebody else did."""
    parameters = {"id": comparison_id, "now": now, "trouble": trouble}
    if (await conn.execute(_QUERIES["comparison_finish"], parameters)).rowcount == 0:
        return False
    await conn.execute(_QUERIES["comparisons_trim"], {"id": comparison_id})
    return True


async def listed_put(conn: Connection, comparison_id: UUID, listed: Sequence[Listed]) -> None:
    """Keep objects as they were seen last."""
    if listed:
        rows = msgspec.json.encode(listed).decode()
        await conn.execute(_QUERIES["listed_put"], {"id": comparison_id, "rows": rows})


async def listed_count(conn: Connection, comparison_id: UUID) -> dict[str, int]:
    """Return how many objects of each kind were kept."""
    return dict(await (await conn.execute(_QUERIES["listed_count"], {"id": comparison_id})).fetchall())


async def compared(conn: Connection, kind: ObjectKind, comparison: Comparison) -> StripeBook:
    """Compare what was listed of a kind with our rows."""
    parameters = {"id": comparison.id, "since": comparison.since, "limit": ROWS_SHOWN_MAX}
    rows = await (await conn.execute(_QUERIES[_QUERY_OF[kind]], parameters)).fetchall()
    return StripeBook(
        book=kind,
        differing=rows[0][6] if rows else 0,
        rows=[
            StripeDifference(
                account_id=row[0], subject=row[1] or "", stripe_id=row[2], fault=row[3], expected=row[4], found=row[5]
            )
            for row in rows
        ],
    )
