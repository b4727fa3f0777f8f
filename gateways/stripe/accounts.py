"""Connected accounts: who creators are at Stripe, and the pages where they say so."""

from datetime import datetime
from typing import Any, Final, cast

import stripe

from domain.model.stripe_money import ConnectedAccount, OnboardingLink
from gateways.stripe.finding import find
from gateways.stripe.link import Link, instant, texts

# In the metadata of an account: whose it is here.
ACCOUNT_MARK: Final = "account_id"


class Accounts:
    """The family of connected accounts."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def create(self, *, account_id: str, country: str | None, key: str) -> ConnectedAccount:
        """Make an account that can be paid once its owner went through Stripe's page. `country` never changes again.

        `account_id` goes into its metadata, by which it can be found again. None: the platform's country.
        """
        params: stripe.params.AccountCreateParams = {
            # The platform owes creators, and pays what Stripe asks for it; Stripe asks creators who they are.
            "controller": {
                "fees": {"payer": "application"},
                "losses": {"payments": "application"},
                "requirement_collection": "stripe",
                "stripe_dashboard": {"type": "express"},
            },
            "capabilities": {"transfers": {"requested": True}},
            "metadata": {ACCOUNT_MARK: account_id},
        }
        if country is not None:
            params["country"] = country
        accounts = self._link.v1.accounts
        return await self._link.ask(accounts.create_async(params, {"idempotency_key": key}), _account)

    async def retrieve(self, connected_id: str) -> ConnectedAccount:
        """Return the account as it is now. One that is gone is refused (404), or access to it (403)."""
        return await self._link.ask(self._link.v1.accounts.retrieve_async(connected_id), _account)

    async def find(self, account_id: str, *, since: datetime) -> ConnectedAccount | None:
        """Return the account that was made for `account_id` since then, if there is one. Reads all of that time."""

        def ask(page: dict[str, Any]) -> Any:  # the library's own type of it, which `find` knows
            params = {"created": {"gte": int(since.timestamp())}, **page}
            return self._link.v1.accounts.list_async(cast("stripe.params.AccountListParams", params))

        return await find(self._link, ask, _account, lambda found: found.metadata.get(ACCOUNT_MARK) == account_id)

    async def onboard(self, connected_id: str, *, return_url: str, refresh_url: str, key: str) -> OnboardingLink:
        """Open Stripe's page for one visit of the account's owner. It leads to `refresh_url` when it is too old."""
        params: stripe.params.AccountLinkCreateParams = {
            "account": connected_id,
            "type": "account_onboarding",
            "return_url": return_url,
            "refresh_url": refresh_url,
        }
        links = self._link.v1.account_links
        return await self._link.ask(links.create_async(params, {"idempotency_key": key}), _link)

    async def log_in(self, connected_id: str) -> str:
        """Return the address of the account's own dashboard, for one visit. Refused before its owner was onboarded."""
        return await self._link.ask(
            self._link.v1.accounts.login_links.create_async(connected_id), lambda made: made.url
        )


def _account(found: stripe.Account) -> ConnectedAccount:
    # A deleted account's answer has nothing but its id and `deleted`.
    if getattr(found, "deleted", False):
        return ConnectedAccount(
            id=found.id,
            details_submitted=False,
            transfers_active=False,
            payouts_enabled=False,
            disabled_reason="deleted",
            metadata={},
            is_deleted=True,
        )
    capabilities, requirements = found.capabilities, found.requirements
    return ConnectedAccount(
        id=found.id,
        details_submitted=bool(found.details_submitted),
        transfers_active=capabilities is not None and getattr(capabilities, "transfers", None) == "active",
        payouts_enabled=bool(found.payouts_enabled),
        disabled_reason=None if requirements is None else requirements.disabled_reason,
        metadata=texts(found.metadata),
    )


def _link(made: stripe.AccountLink) -> OnboardingLink:
    return OnboardingLink(url=made.url, expires_at=instant(made.expires_at))
