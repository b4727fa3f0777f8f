"""What the asynchronous client can do: its parts and their methods. `spell.operations` says what each does."""

from typing import BinaryIO

from spell.awaiting import AsyncEvents, AsyncResource, iterator, method
from spell.models.casts import Cast
from spell.operations import (
    batches,
    billing,
    budgets,
    casts,
    earnings,
    identity,
    invoices,
    keys,
    payouts,
    privacy,
    receipts,
    spells,
    usage,
    webhooks,
)
from spell.operations import credits as credit_operations


class AsyncCasts(AsyncResource):
    """Make casts, wait for them, follow them, read them."""

    cast = method(casts.cast)
    cast_async = method(casts.cast_async)
    batch = method(batches.batch)
    wait = method(casts.wait)
    get = method(casts.get)
    list = iterator(casts.list_casts)
    cancel = method(casts.cancel)
    log = method(casts.log)
    receipt = method(receipts.receipt)
    verify_receipt = method(receipts.verify_receipt)
    public_keys = method(receipts.public_keys)
    deliveries = method(webhooks.deliveries_of_cast)

    def events(self, cast: Cast | str) -> AsyncEvents:
        """Follow a cast: yield it at each status it reaches, until the final one, over lost connections too."""
        return self.client.follow(cast)


class AsyncSpells(AsyncResource):
    """Find spells, publish them, change them."""

    list = iterator(spells.list_spells)
    get = method(spells.get)
    versions = method(spells.versions)
    version = method(spells.version)
    create = method(spells.create)
    publish = method(spells.publish)
    module = method(spells.module)
    edit = method(spells.edit)
    yank = method(spells.yank)
    retire = method(spells.retire)
    set_price = method(receipts.set_price)
    quote = method(receipts.quote)


class AsyncKeys(AsyncResource):
    """Make, change and revoke API keys."""

    create = method(keys.create)
    list = iterator(keys.list_keys)
    update = method(keys.update)
    rotate = method(keys.rotate)
    revoke = method(keys.revoke)


class AsyncBudgets(AsyncResource):
    """Set limits, and see how they stand."""

    create = method(budgets.create)
    list = method(budgets.list_budgets)
    get = method(budgets.get)
    update = method(budgets.update)
    set_own = method(budgets.set_own)
    delete = method(budgets.delete)
    usage = method(budgets.usage)


class AsyncBilling(AsyncResource):
    """See how the account pays, open the pages to subscribe and to change the card, pause all spending."""

    plans = method(billing.plans)
    now = method(billing.now)
    checkout = method(billing.checkout)
    portal = method(billing.portal)
    change = method(billing.change)
    cancel = method(billing.cancel)
    pause = method(billing.pause)
    resume = method(billing.resume)


class AsyncCredits(AsyncResource):
    """See credits, buy them, and take them for what a service did."""

    packages = method(credit_operations.packages)
    balance = method(credit_operations.balance)
    history = iterator(credit_operations.history)
    orders = iterator(credit_operations.orders)
    order = method(credit_operations.order)
    checkout = method(credit_operations.checkout)
    check = method(credit_operations.check)
    consume = method(credit_operations.consume)
    set_auto_top_up = method(credit_operations.set_auto_top_up)


class AsyncHolds(AsyncResource):
    """See what open casts hold."""

    list = iterator(budgets.list_holds)
    summary = method(budgets.holds_summary)


class AsyncEarningsReports(AsyncResource):
    """See what the account's spells earned it."""

    now = method(earnings.now)
    daily = method(earnings.daily)
    by_spell = method(earnings.by_spell)
    export = method(earnings.export)


class AsyncUsageReports(AsyncResource):
    """See what was used."""

    now = method(usage.now)
    trends = method(usage.trends)
    breakdown = method(usage.breakdown)
    export = method(usage.export)


class AsyncInvoices(AsyncResource):
    """See what was billed, and what will be."""

    list = iterator(invoices.list_invoices)
    get = method(invoices.get)
    upcoming = method(invoices.upcoming)
    casts = iterator(invoices.casts)


class AsyncPayouts(AsyncResource):
    """See what a creator is owed and was paid, and open Stripe's pages to be paid at all."""

    list = iterator(payouts.list_payouts)
    account = method(payouts.account)
    onboard = method(payouts.onboard)
    login_link = method(payouts.login_link)


class AsyncWebhooks(AsyncResource):
    """Say where events go, and see what became of each."""

    create = method(webhooks.create)
    list = iterator(webhooks.list_webhooks)
    get = method(webhooks.get)
    update = method(webhooks.update)
    delete = method(webhooks.delete)
    deliveries = iterator(webhooks.deliveries)
    redeliver = method(webhooks.redeliver)
    redeliver_missed = method(webhooks.redeliver_missed)
    secret = method(webhooks.secret)
    account_secret = method(webhooks.account_secret)
    rotate_secret = method(webhooks.rotate_secret)
    send_test = method(webhooks.send_test)
    follow = method(webhooks.follow)


class AsyncAccount(AsyncResource):
    """See whose key it is, and take its data along."""

    whoami = method(identity.whoami)
    export = method(privacy.export)
    get_export = method(privacy.get_export)
    delete = method(privacy.delete)

    async def download_export(self, export_id: str, file: BinaryIO) -> int:
        """Write a ready archive to `file` and return its bytes. Conflict before it is ready, NotFound after a week."""
        return await self.client.save(privacy.download_of(export_id), file)
