"""Credits: see, buy and check them; take them for what a service did. Amounts are whole credits."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from spell.core.exchange import JSON, Reply, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import segment
from spell.core.operation import Operation, decoded
from spell.models.credits import (
    AutoTopUp,
    CreditBalance,
    CreditCheck,
    CreditCheckout,
    CreditOrder,
    CreditPackage,
    CreditTransaction,
)

T = TypeVar("T")
_HEADERS: Final = {"content-type": JSON}


class _Packages(msgspec.Struct, frozen=True, kw_only=True):
    packages: tuple[CreditPackage, ...]


_packages: Final = decoded(_Packages)
_balance: Final = decoded(CreditBalance)
_order: Final = decoded(CreditOrder)
_checkout: Final = decoded(CreditCheckout)
_check: Final = decoded(CreditCheck)
_transaction: Final = decoded(CreditTransaction)
_top_up: Final = decoded(AutoTopUp)


def packages() -> Operation[tuple[CreditPackage, ...]]:
    """Return what is for sale, the smallest first."""
    return Operation(request=Request(method="GET", path="/v1/credits/packages"), decode=_offered)


def balance() -> Operation[CreditBalance]:
    """Return what the account has of credits, and what open casts hold of it."""
    return Operation(request=Request(method="GET", path="/v1/credits/balance"), decode=_balance)


def history(
    *,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    page_size: int = PAGE_SIZE_MAX,
) -> Listing[CreditTransaction]:
    """Return every change of the balance, newest first. Casts settled together are one change."""
    query = query_of(
        created_after=None if created_after is None else created_after.isoformat(),
        created_before=None if created_before is None else created_before.isoformat(),
        limit=page_size,
    )
    return listing("/v1/credits/history", CreditTransaction, query)


def orders(*, page_size: int = PAGE_SIZE_MAX) -> Listing[CreditOrder]:
    """Return the account's orders, newest first."""
    return listing("/v1/credits/orders", CreditOrder, query_of(limit=page_size))


def order(order_id: str) -> Operation[CreditOrder]:
    """Return one order: `completed` when its credits are there."""
    path = f"/v1/credits/orders/{segment(order_id)}"
    return Operation(request=Request(method="GET", path=path), decode=_order)


def checkout(
    package: str,
    *,
    success_url: str | None = None,
    cancel_url: str | None = None,
    save_payment_method: bool = False,
    idempotency_key: str | None = None,
) -> Operation[CreditCheckout]:
    """Order a package; `checkout_url` of the answer is where to pay it.

    `save_payment_method` lets the card be kept for automatic top-ups.
    """
    body: dict[str, object] = {"package": package, "save_payment_method": save_payment_method}
    body |= {name: url for name, url in (("success_url", success_url), ("cancel_url", cancel_url)) if url is not None}
    return _post("checkout", body, _checkout, idempotency_key)


def check(amount: int, *, user_id: str | None = None) -> Operation[CreditCheck]:
    """Tell whether that many credits are available. Of others than oneself with the scope `service` alone."""
    body = {"amount": amount} | ({} if user_id is None else {"user_id": user_id})
    request = Request(method="POST", path="/v1/credits/check", headers=_HEADERS, body=json_body(body))
    return Operation(request=request, decode=_check)


def consume(
    amount: int,
    *,
    user_id: str | None = None,
    reason: str = "",
    reference_type: str | None = None,
    reference_id: str | None = None,
    idempotency_key: str | None = None,
) -> Operation[CreditTransaction]:
    """Take credits for what a service did, all of them or none (InsufficientCredits). Needs the scope `service`.

    Whatever happens on the way, one call takes them once; `idempotency_key` makes that so for a whole job of yours.
    """
    given = {"user_id": user_id, "reference_type": reference_type, "reference_id": reference_id}
    body: dict[str, object] = {"amount": amount, "reason": reason}
    body |= {name: value for name, value in given.items() if value is not None}
    return _post("consume", body, _transaction, idempotency_key)


def set_auto_top_up(
    *, package: str, threshold: int, monthly_cap_cents: int, enabled: bool = True
) -> Operation[AutoTopUp]:
    """Have `package` bought whenever fewer than `threshold` credits are available, up to the cap of a month.

    Needs a card that a checkout was let to keep.
    """
    body = {
        "enabled": enabled,
        "package": package,
        "threshold": threshold,
        "monthly_cap_cents": monthly_cap_cents,
    }
    request = Request(method="PUT", path="/v1/credits/auto-topup", headers=_HEADERS, body=json_body(body))
    return Operation(request=request, decode=_top_up)


def _post(what: str, body: dict[str, object], decode: Callable[[Reply], T], key: str | None) -> Operation[T]:
    return Operation(
        request=Request(method="POST", path=f"/v1/credits/{what}", headers=_HEADERS, body=json_body(body)),
        decode=decode,
        creates=True,
        idempotency_key=key,
    )


def _offered(reply: Reply) -> tuple[CreditPackage, ...]:
    return _packages(reply).packages
