"""What a creator is owed and was paid, and Stripe's pages to be paid at all."""

from typing import Final

from spell.core.exchange import JSON, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.operation import Operation, decoded
from spell.models.billing import BillingPage
from spell.models.payouts import OnboardingPage, Payout, PayoutAccount

_ALL: Final = "/v1/payouts"
_HEADERS: Final = {"content-type": JSON}
_account: Final = decoded(PayoutAccount)
_onboarding: Final = decoded(OnboardingPage)
_page: Final = decoded(BillingPage)


def list_payouts(*, page_size: int = PAGE_SIZE_MAX) -> Listing[Payout]:
    """Return what the creator was paid, newest first."""
    return listing(_ALL, Payout, query_of(limit=page_size))


def account() -> Operation[PayoutAccount]:
    """Return whether the creator can be paid, and what is owed to him now."""
    return Operation(request=Request(method="GET", path=f"{_ALL}/account"), decode=_account)


def onboard(country: str | None = None, *, idempotency_key: str | None = None) -> Operation[OnboardingPage]:
    """Open Stripe's page where a creator says who he is and where his bank is. Needs a session, not a key.

    `country` (two letters, `DE`) says where he lives, before the account is made; it never changes afterwards.
    """
    request = Request(method="POST", path=f"{_ALL}/onboarding")
    if country is not None:
        body = json_body({"country": country})
        request = Request(method="POST", path=f"{_ALL}/onboarding", headers=_HEADERS, body=body)
    return Operation(request=request, decode=_onboarding, creates=True, idempotency_key=idempotency_key)


def login_link() -> Operation[BillingPage]:
    """Open the creator's dashboard at Stripe, for one visit. Needs a session; Conflict before he was onboarded."""
    return Operation(request=Request(method="POST", path=f"{_ALL}/login-link"), decode=_page)
