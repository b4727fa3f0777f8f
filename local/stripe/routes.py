"""Every route of the API: one line each."""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from local.stripe import (
    accounts,
    balance,
    catalog,
    charges,
    checkout,
    credit_notes,
    customers,
    disputes,
    events,
    intents,
    invoice_items,
    invoices,
    portal,
    refunds,
    subscription_items,
    subscriptions,
    transfers,
    webhooks,
)
from local.stripe.answers import Included
from local.stripe.shapes import Shape
from local.stripe.store import Body

Handler = Callable[..., Body]


class Route(NamedTuple):
    """A method and a path, whose `*` are ids; the handler gets the world, the parameters and these ids."""

    method: str
    path: str
    handler: Handler
    shape: Shape


ROUTES: Final = (
    Route("POST", "/v1/customers", customers.create, customers.CREATE),
    Route("GET", "/v1/customers", customers.list_all, customers.LIST),
    Route("GET", "/v1/customers/*", customers.retrieve, customers.RETRIEVE),
    Route("POST", "/v1/customers/*", customers.update, customers.UPDATE),
    Route("DELETE", "/v1/customers/*", customers.delete, customers.DELETE),
    Route("GET", "/v1/customers/*/payment_methods", customers.list_methods, customers.LIST_OWN_METHODS),
    Route("POST", "/v1/payment_methods", customers.create_method, customers.CREATE_METHOD),
    Route("GET", "/v1/payment_methods", customers.list_methods, customers.LIST_METHODS),
    Route("GET", "/v1/payment_methods/*", customers.retrieve_method, customers.RETRIEVE_METHOD),
    Route("POST", "/v1/payment_methods/*/attach", customers.attach, customers.ATTACH_METHOD),
    Route("POST", "/v1/payment_methods/*/detach", customers.detach, customers.DETACH_METHOD),
    Route("POST", "/v1/products", catalog.create_product, catalog.CREATE_PRODUCT),
    Route("GET", "/v1/products", catalog.list_products, catalog.LIST_PRODUCTS),
    Route("GET", "/v1/products/*", catalog.retrieve_product, catalog.RETRIEVE_PRODUCT),
    Route("POST", "/v1/products/*", catalog.update_product, catalog.UPDATE_PRODUCT),
    Route("POST", "/v1/prices", catalog.create_price, catalog.CREATE_PRICE),
    Route("GET", "/v1/prices", catalog.list_prices, catalog.LIST_PRICES),
    Route("GET", "/v1/prices/*", catalog.retrieve_price, catalog.RETRIEVE_PRICE),
    Route("POST", "/v1/prices/*", catalog.update_price, catalog.UPDATE_PRICE),
    Route("POST", "/v1/checkout/sessions", checkout.create, checkout.CREATE),
    Route("GET", "/v1/checkout/sessions", checkout.list_all, checkout.LIST),
    Route("GET", "/v1/checkout/sessions/*", checkout.retrieve, checkout.RETRIEVE),
    Route("POST", "/v1/checkout/sessions/*", checkout.update, checkout.UPDATE),
    Route("POST", "/v1/checkout/sessions/*/expire", checkout.expire, checkout.EXPIRE_NOW),
    Route("GET", "/v1/checkout/sessions/*/line_items", checkout.list_line_items, checkout.LINE_ITEMS),
    Route("POST", "/v1/subscriptions", subscriptions.create, subscriptions.CREATE),
    Route("GET", "/v1/subscriptions", subscriptions.list_all, subscriptions.LIST),
    Route("GET", "/v1/subscriptions/*", subscriptions.retrieve, subscriptions.RETRIEVE),
    Route("POST", "/v1/subscriptions/*", subscriptions.update, subscriptions.UPDATE),
    Route("DELETE", "/v1/subscriptions/*", subscriptions.cancel, subscriptions.CANCEL),
    Route("GET", "/v1/subscription_items", subscription_items.list_all, subscription_items.LIST),
    Route("GET", "/v1/subscription_items/*", subscription_items.retrieve, subscription_items.RETRIEVE),
    Route("POST", "/v1/payment_intents", intents.create, intents.CREATE),
    Route("GET", "/v1/payment_intents", intents.list_all, intents.LIST),
    Route("GET", "/v1/payment_intents/*", intents.retrieve, intents.RETRIEVE),
    Route("POST", "/v1/payment_intents/*", intents.update, intents.UPDATE),
    Route("POST", "/v1/payment_intents/*/confirm", intents.confirm, intents.CONFIRM),
    Route("POST", "/v1/payment_intents/*/cancel", intents.cancel, intents.CANCEL),
    Route("GET", "/v1/charges", charges.list_all, charges.LIST),
    Route("GET", "/v1/charges/*", charges.retrieve, charges.RETRIEVE),
    Route("POST", "/v1/charges/*", charges.update, charges.UPDATE),
    Route("POST", "/v1/refunds", refunds.create, refunds.CREATE),
    Route("GET", "/v1/refunds", refunds.list_all, refunds.LIST),
    Route("GET", "/v1/refunds/*", refunds.retrieve, refunds.RETRIEVE),
    Route("POST", "/v1/refunds/*", refunds.update, refunds.UPDATE),
    Route("GET", "/v1/disputes", disputes.list_all, disputes.LIST),
    Route("GET", "/v1/disputes/*", disputes.retrieve, disputes.RETRIEVE),
    Route("POST", "/v1/disputes/*", disputes.update, disputes.UPDATE),
    Route("POST", "/v1/disputes/*/close", disputes.close, disputes.CLOSE),
    Route("POST", "/v1/invoiceitems", invoice_items.create, invoice_items.CREATE),
    Route("GET", "/v1/invoiceitems", invoice_items.list_all, invoice_items.LIST),
    Route("GET", "/v1/invoiceitems/*", invoice_items.retrieve, invoice_items.RETRIEVE),
    Route("POST", "/v1/invoiceitems/*", invoice_items.update, invoice_items.UPDATE),
    Route("DELETE", "/v1/invoiceitems/*", invoice_items.delete, invoice_items.DELETE),
    Route("POST", "/v1/invoices", invoices.create, invoices.CREATE),
    Route("GET", "/v1/invoices", invoices.list_all, invoices.LIST),
    Route("GET", "/v1/invoices/*", invoices.retrieve, invoices.RETRIEVE),
    Route("POST", "/v1/invoices/*", invoices.update, invoices.UPDATE),
    Route("DELETE", "/v1/invoices/*", invoices.delete, invoices.DELETE),
    Route("GET", "/v1/invoices/*/lines", invoices.list_lines, invoices.LINES),
    Route("POST", "/v1/invoices/*/finalize", invoices.finalize, invoices.FINALIZE),
    Route("POST", "/v1/invoices/*/pay", invoices.pay, invoices.PAY),
    Route("POST", "/v1/invoices/*/void", invoices.void, invoices.VOID),
    Route("POST", "/v1/invoices/*/mark_uncollectible", invoices.mark_uncollectible, invoices.MARK_UNCOLLECTIBLE),
    Route("POST", "/v1/invoices/*/send", invoices.send, invoices.SEND),
    Route("GET", "/v1/invoice_payments", invoices.list_payments, invoices.LIST_PAYMENTS),
    Route("GET", "/v1/invoice_payments/*", invoices.retrieve_payment, invoices.RETRIEVE_PAYMENT),
    Route("GET", "/v1/balance", balance.retrieve, balance.RETRIEVE),
    Route("GET", "/v1/balance_transactions", balance.list_transactions, balance.LIST_TRANSACTIONS),
    Route("GET", "/v1/balance_transactions/*", balance.retrieve_transaction, balance.RETRIEVE_TRANSACTION),
    Route("POST", "/v1/credit_notes", credit_notes.create, credit_notes.CREATE),
    Route("GET", "/v1/credit_notes", credit_notes.list_all, credit_notes.LIST),
    Route("GET", "/v1/credit_notes/*", credit_notes.retrieve, credit_notes.RETRIEVE),
    Route("POST", "/v1/credit_notes/*", credit_notes.update, credit_notes.UPDATE),
    Route("POST", "/v1/credit_notes/*/void", credit_notes.void, credit_notes.VOID),
    Route("POST", "/v1/billing_portal/sessions", portal.create, portal.CREATE),
    Route("GET", "/v1/billing_portal/configurations", portal.list_configurations, portal.LIST_CONFIGURATIONS),
    Route("GET", "/v1/billing_portal/configurations/*", portal.retrieve_configuration, portal.RETRIEVE_CONFIGURATION),
    Route("POST", "/v1/accounts", accounts.create, accounts.CREATE),
    Route("GET", "/v1/accounts", accounts.list_all, accounts.LIST),
    Route("GET", "/v1/accounts/*", accounts.retrieve, accounts.RETRIEVE),
    Route("POST", "/v1/accounts/*", accounts.update, accounts.UPDATE),
    Route("DELETE", "/v1/accounts/*", accounts.delete, accounts.DELETE),
    Route("POST", "/v1/accounts/*/login_links", accounts.create_login_link, accounts.CREATE_LOGIN_LINK),
    Route("POST", "/v1/account_links", accounts.create_link, accounts.CREATE_LINK),
    Route("POST", "/v1/transfers", transfers.create, transfers.CREATE),
    Route("GET", "/v1/transfers", transfers.list_all, transfers.LIST),
    Route("GET", "/v1/transfers/*", transfers.retrieve, transfers.RETRIEVE),
    Route("POST", "/v1/transfers/*", transfers.update, transfers.UPDATE),
    Route("POST", "/v1/transfers/*/reversals", transfers.create_reversal, transfers.CREATE_REVERSAL),
    Route("GET", "/v1/transfers/*/reversals", transfers.list_reversals, transfers.LIST_REVERSALS),
    Route("GET", "/v1/transfers/*/reversals/*", transfers.retrieve_reversal, transfers.RETRIEVE_REVERSAL),
    Route("GET", "/v1/events", events.list_all, events.LIST),
    Route("GET", "/v1/events/*", events.retrieve, events.RETRIEVE),
    Route("GET", "/v1/webhook_endpoints", webhooks.list_all, webhooks.LIST),
    Route("GET", "/v1/webhook_endpoints/*", webhooks.retrieve, webhooks.RETRIEVE),
)
# Fields that an answer has only when `expand` asks for them.
INCLUDED: Final[dict[tuple[str, str], Included]] = {
    ("charge", "refunds"): charges.refunds_of,
    ("checkout.session", "line_items"): checkout.line_items_of,
    ("customer", "subscriptions"): customers.subscriptions_of,
    ("invoice", "confirmation_secret"): invoices.confirmation_of,
    ("invoice", "payments"): invoices.payments_of,
}


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes: Final = [
            (route.method, re.compile(re.escape(route.path).replace(r"\*", "([^/]+)")), route) for route in routes
        ]

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """Return the route and the ids in the path, or None."""
        for known, pattern, route in self._matching(method):
            found = pattern.fullmatch(path)
            if found is not None:
                assert known == method, "only routes of the method are looked at"
                return route, found.groups()
        return None

    def _matching(self, method: str) -> Iterator[tuple[str, re.Pattern[str], Route]]:
        return (each for each in self._routes if each[0] == method)
