"""Who the creator is at Stripe: an account is made when he first wants to be paid, and once."""

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from api.billing.asking import asking_stripe
from api.billing.off import StripeAccess
from api.services import Services
from domain.flow.onboard_creator import begin_anew, begin_onboarding, follow_connected, keep_connected
from domain.model.audit import Actor
from domain.model.errors import Code, refuse
from domain.model.payouts import PayoutAccount
from domain.model.stripe_money import OnboardingLink
from domain.store import identity, payout_accounts
from domain.store.connection import transaction
from gateways.stripe.errors import StripeFailure, StripeRefused

log: Final = logging.getLogger("spell.payouts")

# Nothing of an attempt is under way any more: a request to Stripe ends within 20 seconds here, and soon after there.
UNDER_WAY: Final = timedelta(minutes=1)
# Stripe's clock and ours.
SINCE: Final = timedelta(days=1)
# Stripe tells of changes within seconds; who looks at his account meanwhile has it asked for at most so often.
ASK_AGAIN: Final = timedelta(seconds=10)
# Stripe's words for an account that is gone, or has taken the platform's access to it away.
_GONE: Final = frozenset({"account_invalid", "resource_missing"})
_KEY_REUSED: Final = "idempotency_error"


async def open_onboarding(
    services: Services,
    stripe: StripeAccess,
    *,
    account_id: UUID,
    actor: Actor,
    country: str | None,
    key: str,
    page: str,
) -> OnboardingLink:
    """Return a link to Stripe's page, for the creator's one account. `page` is where it leads back to.

    One that was deleted at Stripe is made anew, once. Raises RefusedError for all that goes wrong at Stripe.
    """
    async with transaction(services.engine_pool) as connection:
        account = await begin_onboarding(connection, account_id=account_id, actor=actor)
    async with asking_stripe():
        connected_id = account.stripe_account_id or await _make(services, stripe, account, country)
        try:
            return await _link(stripe, connected_id, key=key, page=page)
        except StripeRefused as refusal:
            if refusal.code not in _GONE or account.stripe_account_id is None:
                raise
            async with transaction(services.engine_pool) as connection:
                fresh = await begin_anew(connection, account)
            connected_id = fresh.stripe_account_id or await _make(services, stripe, fresh, country)
            return await _link(stripe, connected_id, key=key, page=page)


async def as_it_is(services: Services, stripe: StripeAccess | None, account_id: UUID) -> PayoutAccount | None:
    """Return who the creator is at Stripe; one that cannot be paid yet is asked for, so that nobody waits for news.

    While Stripe does not answer it is what was known before.
    """
    async with transaction(services.engine_pool) as connection:
        known = await payout_accounts.account_get(connection, account_id=account_id)
        now = await identity.instant_read(connection)
    if stripe is None or known is None or not _may_have_changed(known, now):
        return known
    assert known.stripe_account_id is not None, "there is something to ask for"
    try:
        found = await stripe.gateway.accounts.retrieve(known.stripe_account_id)
    except StripeFailure as failure:
        log.warning("a creator's account is not known", extra={"account_id": account_id, "reason": str(failure)})
        return known
    async with transaction(services.engine_pool) as connection:
        return await follow_connected(connection, found, asked_at=now) or known


async def _make(services: Services, stripe: StripeAccess, account: PayoutAccount, country: str | None) -> str:
    """Make the account at Stripe. What an earlier attempt may have made is looked for before the next key is taken."""
    async with transaction(services.engine_pool) as connection:
        now = await identity.instant_read(connection)
    name, accounts = str(account.account_id), stripe.gateway.accounts
    made = None
    if now - account.tried_at >= UNDER_WAY:
        made = await accounts.find(name, since=account.created_at - SINCE)
        if made is None:
            async with transaction(services.engine_pool) as connection:
                account = await begin_anew(connection, account)
            if account.stripe_account_id is not None:
                return account.stripe_account_id
    if made is None:
        try:
            made = await accounts.create(account_id=name, country=country, key=account.key)
        except StripeRefused as refusal:
            if refusal.code != _KEY_REUSED:
                raise
            raise refuse(Code.CONFLICT, "Just now another country was asked for. Repeat this in a minute.") from None
    async with transaction(services.engine_pool) as connection:
        kept = await keep_connected(connection, account_id=account.account_id, stripe_account_id=made.id)
    assert kept.stripe_account_id is not None, "one of them is remembered"
    return kept.stripe_account_id


async def _link(stripe: StripeAccess, connected_id: str, *, key: str, page: str) -> OnboardingLink:
    return await stripe.gateway.accounts.onboard(
        connected_id,
        return_url=f"{page}?onboarding=done",
        refresh_url=f"{page}?onboarding=again",
        key=f"{key}:{connected_id}",
    )


def _may_have_changed(account: PayoutAccount, now: datetime) -> bool:
    if account.status not in {"incomplete", "disabled"}:
        return False
    return account.asked_at is None or now - account.asked_at >= ASK_AGAIN
