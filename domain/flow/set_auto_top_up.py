"""Set when credits are bought by themselves, or that they are not."""

from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.flow.order_credits import package_for_sale
from domain.model.audit import Action, Actor
from domain.model.pricing import MICROS_PER_CENT
from domain.model.top_up import AutoTopUp, check_auto_top_up
from domain.store import identity, top_ups
from domain.store.connection import Connection


class TopUpTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody sets."""

    enabled: bool
    package_id: str
    threshold_micros: int
    monthly_cap_cents: int


async def set_auto_top_up(
    conn: Connection, *, account_id: UUID, terms: TopUpTerms, credit_micros: int, actor: Actor
) -> AutoTopUp:
    """Set it under the account lock, and return it; the same again changes nothing but that a pause ends.

    Needs Role.ENGINE. Raises RefusedError: validation, not found, forbidden.
    """
    await lock_active_account(conn, account_id=account_id)
    package = await package_for_sale(conn, terms.package_id)
    check_auto_top_up(
        threshold_micros=terms.threshold_micros,
        monthly_cap_cents=terms.monthly_cap_cents,
        package=package,
        credit_micros=credit_micros,
    )
    now = await identity.instant_read(conn)
    before = await top_ups.top_up_get(conn, account_id=account_id)
    after = AutoTopUp(
        account_id=account_id,
        enabled=terms.enabled,
        package_id=package.id,
        threshold_micros=terms.threshold_micros,
        monthly_cap_micros=terms.monthly_cap_cents * MICROS_PER_CENT,
        paused_at=None,
        updated_at=now,
    )
    await top_ups.top_up_put(conn, after)
    await audit(
        conn,
        actor,
        Action.TOP_UP_UPDATE,
        account_id=account_id,
        target_id=account_id,
        before=before,
        after=after,
        now=now,
    )
    return after
