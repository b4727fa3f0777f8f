"""Order a package of credits: the row first, the checkout at Stripe second."""

from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.audit import Action, Actor
from domain.model.credits import Order, Package
from domain.model.errors import Code, Fault, refuse
from domain.store import credit_grants, credit_orders, identity
from domain.store.connection import Connection


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A package somebody wants."""

    id: UUID
    account_id: UUID
    package_id: str


class CreatedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The order as it stands. `replayed`: an earlier call made it."""

    order: Order
    package: Package
    replayed: bool


async def order_credits(
    conn: Connection, new: NewOrder, *, credit_micros: int, actor: Actor, call: IdempotentCall | None
) -> CreatedOrder:
    """Write the order under the account lock; the same call again returns the first's. Needs Role.ENGINE.

    Nothing is given before it is paid. Raises RefusedError: validation (no such package), not found, forbidden,
    idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=new.account_id)
    before = await made_before(conn, account_id=new.account_id, call=call)
    if before is not None:
        return await _again(conn, account_id=new.account_id, order_id=before)
    package = await package_for_sale(conn, new.package_id)
    now = await identity.instant_read(conn)
    await credit_orders.order_insert(
        conn,
        order_id=new.id,
        account_id=new.account_id,
        origin="checkout",
        package=package,
        credit_micros=credit_micros,
        now=now,
    )
    await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=now)
    order = await credit_orders.order_get(conn, account_id=new.account_id, order_id=new.id)
    assert order is not None, "it was just inserted"
    await audit(
        conn, actor, Action.CREDIT_ORDER_CREATE, account_id=new.account_id, target_id=new.id, after=order, now=now
    )
    return CreatedOrder(order=order, package=package, replayed=False)


async def package_for_sale(conn: Connection, package_id: str) -> Package:
    """Return the package. Raises RefusedError (validation) when there is none for sale."""
    package = await credit_grants.package_get(conn, package_id=package_id)
    if package is None:
        known = ", ".join(one.id for one in await credit_grants.packages_list(conn))
        fault = Fault(location="package", message=f"there is no package {package_id[:50]!r}", fix=f"Use {known}.")
        raise refuse(Code.VALIDATION, "There is no such package for sale.", faults=(fault,))
    return package


async def record_checkout(
    conn: Connection, *, account_id: UUID, order_id: UUID, session: str, checkout_url: str | None
) -> Order:
    """Write which checkout is the order's, and return it. Twice changes nothing."""
    await identity.account_lock(conn, account_id=account_id)
    order = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
    assert order is not None, "the checkout was made for it"
    await credit_orders.order_update(
        conn, msgspec.structs.replace(order, stripe_session=session, checkout_url=checkout_url)
    )
    known = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
    assert known is not None, "it was there a moment ago"
    return known


async def _again(conn: Connection, *, account_id: UUID, order_id: UUID) -> CreatedOrder:
    order = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
    if order is None:
        raise refuse(
            Code.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    package = await credit_grants.package_get(conn, package_id=order.package_id, for_sale=False)
    assert package is not None, "packages are retired, never deleted"
    return CreatedOrder(order=order, package=package, replayed=True)
