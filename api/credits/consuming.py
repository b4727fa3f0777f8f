"""Whether credits are there, and taking them: what a service of the operator does for its users."""

from typing import Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, post

from api.access import needs
from api.auth import Principal
from api.creation import REPLAYED, idempotent_call
from api.credits.routes import TAGS, both
from api.credits.views import AmountBody, CheckView, ConsumeBody, TransactionView, transaction_view
from api.errors import invalid
from api.services import Services
from domain.flow.consume_credits import Consume, consume_credits
from domain.model.audit import Actor
from domain.model.credits import GRANT_MICROS_MAX, Reference
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.key_rules import KeyScope
from domain.store import credit_grants
from domain.store.connection import Connection, transaction

_CHECK: Final = needs(KeyScope.SERVICE, KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
_CONSUME: Final = needs(KeyScope.SERVICE)


@post(both("/check"), status_code=200, access=_CHECK, tags=TAGS)
async def check_credits(services: Services, principal: Principal, data: AmountBody) -> CheckView:
    """Tell whether that many credits are available. Nothing is held: `consume` takes them or answers 402."""
    credit_micros = services.settings.credit_micros
    async with transaction(services.engine_pool) as connection:
        account_id = await _account(connection, principal, data.user_id)
        balance = await credit_grants.balance_read(connection, account_id=account_id, now=services.now())
    available = balance.available_micros // credit_micros
    return CheckView(
        sufficient=data.amount <= available,
        required=data.amount,
        balance=balance.balance_micros // credit_micros,
        available=available,
        missing=max(0, data.amount - available),
    )


@post(both("/consume"), status_code=200, access=_CONSUME, tags=TAGS)
async def consume(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: ConsumeBody
) -> Response[TransactionView]:
    """Take credits for something a service did, all of them or none. Only a key with the scope `service` may.

    Send an Idempotency-Key: the same call takes nothing more, however much later it is repeated.
    """
    credit_micros = services.settings.credit_micros
    call = await idempotent_call(request)
    async with transaction(services.engine_pool) as connection:
        wanted = Consume(
            id=uuid4(),
            account_id=await _account(connection, principal, data.user_id),
            caller_id=principal.account_id,
            micros=_micros(data.amount, credit_micros),
            reason=data.reason,
            reference=_reference(data),
        )
        done = await consume_credits(connection, wanted, call=call, actor=actor, now=services.now())
    view = transaction_view(done.transaction, credit_micros)
    return Response(view, headers=REPLAYED if done.replayed else None)


async def _account(connection: Connection, principal: Principal, named: UUID | None) -> UUID:
    """Return whose credits are meant. Raises RefusedError: forbidden, not found."""
    if named is None:
        return principal.account_id
    account_id = await credit_grants.account_named(connection, identifier=named)
    if account_id is not None and account_id == principal.account_id:
        return account_id
    if principal.key_id is None or KeyScope.SERVICE not in principal.scopes:
        raise refuse(Code.FORBIDDEN, "Only a key with the scope 'service' may ask about the credits of others.")
    if account_id is None:
        raise refuse(Code.NOT_FOUND, "There is no user or account of this user_id.")
    return account_id


def _micros(amount: int, credit_micros: int) -> int:
    micros = amount * credit_micros
    if micros > GRANT_MICROS_MAX:
        fault = Fault(location="amount", message="it is more than anybody can have", fix="Send fewer credits.")
        raise RefusedError(invalid([fault]))
    return micros


def _reference(data: ConsumeBody) -> Reference | None:
    if data.reference_id is None and data.reference_type is None:
        return None
    if data.reference_id is None or data.reference_type is None:
        missing = "reference_id" if data.reference_id is None else "reference_type"
        fault = Fault(location=missing, message="it is missing", fix="Send both reference_id and reference_type.")
        raise RefusedError(invalid([fault]))
    return Reference(type=data.reference_type, id=data.reference_id)


ROUTES: Final = [check_credits, consume]
