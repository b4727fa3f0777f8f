"""Say how long an account's inputs, outputs and logs are kept, from the next cast that ends."""

from datetime import datetime

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.errors import Code, Fault, refuse
from domain.model.retention import DATA_DAYS_MAX
from domain.store import retention as store
from domain.store.connection import Connection


async def set_data_days(connection: Connection, *, handle: str, data_days: int, actor: Actor, now: datetime) -> None:
    """Set the days for the account. Casts that have ended keep the `data_expires_at` their answers named.

    Raises RefusedError: validation for a number out of range, not_found for a handle nobody has.
    """
    if not 0 <= data_days <= DATA_DAYS_MAX:
        fix = f"Use 0 (until first read) to {DATA_DAYS_MAX}."
        fault = Fault(location="data_days", message=f"{data_days} is out of range", fix=fix)
        raise refuse(Code.VALIDATION, f"The data cannot be kept so long: {fix}", faults=(fault,))
    changed = await store.set_data_days(connection, handle=handle, data_days=data_days)
    if changed is None:
        raise refuse(Code.NOT_FOUND, f"There is no account '{handle}'.")
    await audit(
        connection,
        actor,
        Action.ACCOUNT_UPDATE,
        account_id=changed.account_id,
        target_id=changed.account_id,
        before={"data_days": changed.data_days_before},
        after={"data_days": data_days},
        now=now,
    )
