"""Say which price at Stripe a package is sold under; without one the checkout names the amount itself."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.credits import Package
from domain.model.errors import Code, refuse
from domain.store import credit_grants
from domain.store.connection import Connection


async def set_package_price(
    conn: Connection, *, package_id: str, stripe_price: str | None, account_id: UUID, actor: Actor, now: datetime
) -> Package:
    """Set it, and return the package; the same again changes nothing. Orders that were made keep their terms.

    `account_id` is the platform's own, in whose log the change stands. Needs Role.ENGINE. Raises RefusedError (not
    found).
    """
    before = await credit_grants.package_get(conn, package_id=package_id, for_sale=False)
    if before is None:
        raise refuse(Code.NOT_FOUND, f"There is no package {package_id!r}; `spell credits packages` lists them.")
    after = msgspec.structs.replace(before, stripe_price=stripe_price)
    await credit_grants.package_price_set(conn, package_id=package_id, stripe_price=stripe_price)
    await audit(
        conn,
        actor,
        Action.PACKAGE_UPDATE,
        account_id=account_id,
        target_id=package_id,
        before=before,
        after=after,
        now=now,
    )
    return after
