"""What must be true of creators' shares: by plain SQL, and by a model that follows each cast alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec

from domain.model.funding import Funding, GrantPart, spend_parts
from tests.domain.world import World

WAITS = timedelta(days=14)

# Each query returns the rows that are wrong.
BROKEN = {
    "the ledger sums to zero": """
        SELECT sum(micros) FROM (
          SELECT amount_micros AS micros FROM ledger_transfers
          UNION ALL SELECT -amount_micros FROM ledger_transfers) s HAVING sum(micros) <> 0""",
    "pending, payable and lost are the shares that were not paid back": """
        SELECT a.id, places.micros, shares.micros FROM accounts a
        LEFT JOIN (
          SELECT split_part(name, ':', 2) AS id, sum(micros) AS micros FROM (
            SELECT credit AS name, amount_micros AS micros FROM ledger_transfers
            UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) s
          WHERE name LIKE 'creator:%%' OR name LIKE 'payable:%%' GROUP BY 1) places ON places.id = a.id::text
        LEFT JOIN (
          SELECT split_part(CASE kind WHEN 'creator_share' THEN credit ELSE debit END, ':', 2) AS id,
            sum(CASE kind WHEN 'creator_share' THEN amount_micros ELSE -amount_micros END) AS micros
          FROM ledger_transfers WHERE kind IN ('creator_share', 'refund_share') GROUP BY 1) shares
          ON shares.id = a.id::text
        LEFT JOIN (
          SELECT account_id, sum(CASE WHEN credit = 'uncollected:platform' THEN amount_micros ELSE -amount_micros END)
            AS micros
          FROM ledger_transfers WHERE 'uncollected:platform' IN (debit, credit) GROUP BY 1) lost
          ON lost.account_id = a.id
        WHERE coalesce(places.micros, 0) + coalesce(lost.micros, 0) <> coalesce(shares.micros, 0)""",
    "nothing is below zero": """
        SELECT name, sum(micros) FROM (
          SELECT credit AS name, amount_micros AS micros FROM ledger_transfers
          UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) s
        WHERE name LIKE 'creator:%%' OR name LIKE 'payable:%%' OR name = 'uncollected:platform'
        GROUP BY name HAVING sum(micros) < 0""",
    "invoices make no more payable than was collected": """
        SELECT payable.micros, cash.micros FROM (
          SELECT coalesce(sum(CASE WHEN t.credit LIKE 'payable:%%' THEN t.amount_micros
            WHEN t.debit LIKE 'payable:%%' THEN -t.amount_micros END), 0) AS micros
          FROM ledger_transfers t
          WHERE t.kind LIKE 'share_%%' AND t.source_id NOT IN (SELECT id FROM credit_grants)) payable,
        (SELECT coalesce(sum(amount_micros), 0) AS micros FROM ledger_transfers WHERE kind = 'invoice_paid') cash
        WHERE payable.micros > cash.micros""",
    "a purchase makes no more payable than the used credits that are paid for": """
        SELECT g.id, payable.micros FROM credit_grants g JOIN credit_orders o ON o.id = g.order_id
        JOIN (
          SELECT source_id, sum(CASE WHEN credit LIKE 'payable:%%' THEN amount_micros
            WHEN debit LIKE 'payable:%%' THEN -amount_micros END) AS micros
          FROM ledger_transfers WHERE kind LIKE 'share_%%' GROUP BY 1) payable ON payable.source_id = g.id
        LEFT JOIN (SELECT order_id, sum(owed_micros) AS micros FROM credit_takebacks
                   WHERE reversed_at IS NULL GROUP BY 1) owed ON owed.order_id = o.id
        WHERE payable.micros * o.price_micros > greatest(0, o.price_micros
            * (g.granted_micros - g.balance_micros - g.expired_micros - g.taken_back_micros)
          - coalesce(owed.micros, 0) * g.granted_micros)""",
}


class Followed(msgspec.Struct, kw_only=True):
    """A cast with a creator's share, and what became of it."""

    creator_id: UUID
    month: date
    funding: Funding
    share: int
    parts: Mapping[UUID, int]
    """Of the share, by grant."""
    settled_at: datetime
    refunded: bool = False
    invoice_id: UUID | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of a grant."""

    id: UUID
    granted: int
    used: int
    bought_at: datetime | None
    price: int | None
    owed: int


def parts_of(grants: Sequence[UUID], micros: Sequence[int], *, cost: int, share: int) -> dict[UUID, int]:
    """Return what of a cast's share each grant pays: the platform's part is paid first."""
    taken = spend_parts([GrantPart(grant_id=one, micros=held) for one, held in zip(grants, micros, strict=True)], cost)
    platform, parts = cost - share, {}
    for part in taken:
        of_platform = min(part.micros, platform)
        platform -= of_platform
        parts[part.grant_id] = part.micros - of_platform
    return {grant: micros for grant, micros in parts.items() if micros}


async def broken_shares(world: World) -> dict[str, list[tuple]]:
    """Return the invariants that do not hold, each with the rows that break it."""
    found = {name: await world.rows(query) for name, query in BROKEN.items()}
    return {name: rows for name, rows in found.items() if rows}


async def places(world: World) -> dict[tuple[UUID, str], int]:
    """Return what each creator has pending, payable and lost, by the ledger; nothing of what is nothing."""
    rows = await world.rows(
        """SELECT split_part(name, ':', 2)::uuid, CASE WHEN name LIKE 'creator:%%' THEN 'pending' ELSE 'payable' END,
             sum(micros)::bigint
           FROM (SELECT credit AS name, amount_micros AS micros FROM ledger_transfers
                 UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) s
           WHERE name LIKE 'creator:%%' OR name LIKE 'payable:%%' GROUP BY name
           UNION ALL
           SELECT account_id, 'lost',
             sum(CASE WHEN credit = 'uncollected:platform' THEN amount_micros ELSE -amount_micros END)::bigint
           FROM ledger_transfers WHERE 'uncollected:platform' IN (debit, credit) GROUP BY account_id"""
    )
    return {(creator, place): micros for creator, place, micros in rows if micros}


async def expected(world: World, casts: Sequence[Followed], *, now: datetime) -> dict[tuple[UUID, str], int]:
    """Return the same from the casts: what each invoice and grant should have done with the shares it pays."""
    where: Counter[tuple[UUID, str]] = Counter()
    invoices = await world.rows("SELECT id, total_cents, status FROM invoices ORDER BY frozen_at, id")
    for cast in casts:
        if cast.funding is Funding.METERED and not cast.refunded:
            where[cast.creator_id, _place(invoices, cast.invoice_id)] += cast.share
    due = {creator: micros for (creator, place), micros in where.items() if place == "payable"}
    collected = sum(cents * 10_000 for _, cents, status in invoices if status == "paid")
    for creator, micros in due.items():
        if sum(due.values()) > collected:
            where[creator, "payable"] = micros * collected // sum(due.values())
            where[creator, "pending"] += micros - where[creator, "payable"]
    rows = await world.rows(
        """SELECT g.id, g.granted_micros, g.granted_micros - g.balance_micros - g.expired_micros - g.taken_back_micros,
             o.granted_at, o.price_micros, coalesce((SELECT sum(owed_micros) FROM credit_takebacks t
               WHERE t.order_id = o.id AND t.reversed_at IS NULL), 0)::bigint
           FROM credit_grants g LEFT JOIN credit_orders o ON o.id = g.order_id"""
    )
    for row in rows:
        where.update(_of_grant(Grant(**dict(zip(Grant.__struct_fields__, row, strict=True))), casts, now=now))
    return {key: micros for key, micros in where.items() if micros}


def _place(invoices: Sequence[tuple], invoice_id: UUID | None) -> str:
    """Return where shares are that this invoice froze: that is decided by the next one that collects something."""
    ids = [row[0] for row in invoices]
    behind = invoices[ids.index(invoice_id) :] if invoice_id is not None else ()
    status = next((status for _, cents, status in behind if cents), "")
    return {"paid": "payable", "uncollectible": "lost", "void": "lost"}.get(status, "pending")


def _of_grant(grant: Grant, casts: Sequence[Followed], *, now: datetime) -> Counter[tuple[UUID, str]]:
    where: Counter[tuple[UUID, str]] = Counter()
    net: Counter[UUID] = Counter()
    ripe: Counter[UUID] = Counter()
    for cast in casts:
        micros = cast.parts.get(grant.id, 0)
        net[cast.creator_id] += 0 if cast.refunded else micros
        is_ripe = not cast.refunded and (grant.bought_at or cast.settled_at) + WAITS <= now
        ripe[cast.creator_id] += micros if is_ripe else 0
    for creator_id, micros in net.items():
        lost = 0
        if grant.price is not None and grant.owed and micros:
            used_price = grant.used * grant.price
            lost = min(micros, -(-micros * grant.owed * grant.granted // used_price))
        payable = min(ripe[creator_id], micros - lost)
        where.update({(creator_id, "lost"): lost, (creator_id, "payable"): payable})
        where[creator_id, "pending"] += micros - lost - payable
    return where
