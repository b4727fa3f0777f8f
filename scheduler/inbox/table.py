"""Which flow each type of event goes to. A type that is not here is kept for a while and ignored.

One line a type. A type has one flow; where two things follow from one object, its flow's `Write` does both. The name of
a flow is its own and never changes: it is a label of metrics.
"""

from collections.abc import Mapping
from typing import Final

from scheduler.inbox.connected import CONNECTED_ACCOUNTS
from scheduler.inbox.credit_orders import CREDIT_ORDERS
from scheduler.inbox.credit_orders import TYPES as CREDIT_ORDER_TYPES
from scheduler.inbox.flows import Flow
from scheduler.inbox.invoices import FAILED, INVOICES
from scheduler.inbox.subscriptions import SUBSCRIPTIONS
from scheduler.inbox.transfers import TRANSFERS

FLOWS: Final[Mapping[str, Flow]] = {
    "customer.subscription.created": SUBSCRIPTIONS,
    "customer.subscription.updated": SUBSCRIPTIONS,
    "customer.subscription.deleted": SUBSCRIPTIONS,
    "customer.subscription.paused": SUBSCRIPTIONS,
    "customer.subscription.resumed": SUBSCRIPTIONS,
    "invoice.paid": INVOICES,
    FAILED: INVOICES,
    "invoice.voided": INVOICES,
    "invoice.marked_uncollectible": INVOICES,
    "account.updated": CONNECTED_ACCOUNTS,
    "transfer.reversed": TRANSFERS,
    **dict.fromkeys(CREDIT_ORDER_TYPES, CREDIT_ORDERS),
}
