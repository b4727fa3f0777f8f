"""Make the receipt of an ended cast, from rows that are kept for ever."""

from uuid import UUID

from domain.model.errors import Code, refuse
from domain.model.receipt import Receipt, charge_of, receipt_of
from domain.model.refund import refund_transfers
from domain.store import receipts, settlement
from domain.store.connection import Connection


async def make_receipt(connection: Connection, *, account_id: UUID, cast_id: UUID, issuer: str) -> Receipt:
    """Return the receipt of a cast of the account; it reads only. `issuer` is the platform's address.

    Raises RefusedError: not found, conflict (it has not ended).
    """
    row = await receipts.receipt_read(connection, account_id=account_id, cast_id=cast_id)
    if row is None:
        raise refuse(Code.NOT_FOUND, "There is no such cast.")
    if row.cost_micros is None:
        raise refuse(Code.CONFLICT, "This cast has not ended: its receipt says what it cost. Wait for it, then ask.")
    (cast,), prices = await settlement.read(connection, [cast_id])
    price = prices[cast.price_version]
    back = [] if row.refund_micros is None else refund_transfers(cast, charge_of(row, cast, price))
    return receipt_of(row, cast, price, back, issuer=issuer)
