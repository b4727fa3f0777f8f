"""Where the money of a cast comes from."""

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec


class Funding(enum.StrEnum):
    """One cast has one funding, chosen when it is accepted."""

    FREE = "free"
    CREDITS = "credits"
    METERED = "metered"
    """On the bill of the month."""
    UNBILLED = "unbilled"
    """Metered where nobody is billed: no keys of Stripe, or an account the operator never bills. It stays so."""
    TEST = "test"
    """Of a test key: nothing is held, and nothing is charged."""


_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Grant(msgspec.Struct, kw_only=True, array_like=True):
    """Credits bought or given. Open casts hold part of the balance; the rest may be taken, expire or be refunded."""

    id: UUID
    account_id: UUID
    priority: int
    balance_micros: int
    held_micros: int
    expires_at: datetime | None

    def order(self) -> tuple[int, datetime, UUID]:
        """Sort key: lowest priority number first, then the earliest expiry."""
        return (self.priority, self.expires_at or _NEVER, self.id)


class GrantPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a hold took from one grant."""

    grant_id: UUID
    micros: int


def take_from_grants(grants: Sequence[Grant], needed: int, now: datetime) -> tuple[GrantPart, ...] | None:
    """Return how `grants`, in their order, cover `needed` micros, or None when they do not."""
    parts: list[GrantPart] = []
    for grant in grants:
        free = grant.balance_micros - grant.held_micros
        if free <= 0 or (grant.expires_at is not None and grant.expires_at <= now):
            continue
        part = min(free, needed)
        parts.append(GrantPart(grant_id=grant.id, micros=part))
        needed -= part
        if needed == 0:
            return tuple(parts)
    return None


def spend_parts(parts: Sequence[GrantPart], cost_micros: int) -> tuple[GrantPart, ...]:
    """Return what each part of a hold pays of `cost_micros`, in the order it was taken; zeros for the untouched."""
    spent: list[GrantPart] = []
    for part in parts:
        paid = min(part.micros, cost_micros)
        cost_micros -= paid
        spent.append(GrantPart(grant_id=part.grant_id, micros=paid))
    assert cost_micros == 0, "a charge is never more than its hold"
    return tuple(spent)
