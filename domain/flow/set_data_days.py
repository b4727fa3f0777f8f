"""Say how long an account's inputs, outputs and logs are kept, from the next cast that ends."""

from domain.model.errors import Code, Fault, refuse
from domain.model.retention import DATA_DAYS_MAX
from domain.store import retention as store
from domain.store.connection import Connection


async def set_data_days(connection: Connection, *, handle: str, data_days: int) -> None:
    """Set the days for the account. Casts that have ended keep the `data_expires_at` their answers named.

    Raises RefusedError: validation for a number out of range, not_found for a handle nobody has.
    """
    if not 0 <= data_days <= DATA_DAYS_MAX:
        fix = f"Use 0 (until first read) to {DATA_DAYS_MAX}."
        fault = Fault(location="data_days", message=f"{data_days} is out of range", fix=fix)
        raise refuse(Code.VALIDATION, f"The data cannot be kept so long: {fix}", faults=(fault,))
    if not await store.set_data_days(connection, handle=handle, data_days=data_days):
        raise refuse(Code.NOT_FOUND, f"There is no account '{handle}'.")
