"""What a person at Stripe, a bank or a customer does, for tests and for the pages."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from local.stripe import (
    accounts,
    balance,
    checkout_pay,
    collection,
    customers,
    disputes,
    jobs,
    refunds,
    subscriptions,
    transfers,
)
from local.stripe.answers import visible
from local.stripe.errors import refuse
from local.stripe.faults import SILENCE_S, Fault, Faults
from local.stripe.store import Body, Delivery, Job
from local.stripe.webhooks import Webhook
from local.stripe.world import World

_SETTLE_SECONDS_MAX: Final = 30.0
_POLL_SECONDS: Final = 0.005
_ROUNDS_MAX: Final = 1_000


class Knobs(NamedTuple):
    """How the webhook is set, and how many sendings wait to be accepted."""

    url: str | None
    paused: bool
    duplicate_rate: float
    delay_s: tuple[float, float]
    waiting: int


class Control:
    """Everything that is not done through the API. Bodies are in Stripe's shape, sums in cents, times in seconds.

    Raises StripeError for what is not possible now, as paying twice.
    """

    def __init__(self, world: World, webhook: Webhook, faults: Faults) -> None:
        self._world: Final = world
        self._webhook: Final = webhook
        self._faults: Final = faults

    # The clock.

    @property
    def now(self) -> int:
        """The stand-in's time, in seconds since 1970."""
        with self._world.acting():
            return self._world.now

    def advance(self, seconds: int) -> int:
        """Move the clock forward, and do at its time all that becomes due; return the new time."""
        assert seconds >= 0, "time goes forward"
        with self._world.acting():
            self._world.advance(seconds)
        self.run_due()
        return self.now

    def run_due(self) -> None:
        """Do everything that is due now: collect, renew, retry, settle, expire."""
        for _ in range(_ROUNDS_MAX):
            if jobs.run_due(self._world) == 0:
                return

    def settle(self) -> None:
        """Do what is due and return when the webhook has accepted every event. Raises TimeoutError."""
        deadline = time.monotonic() + _SETTLE_SECONDS_MAX
        while True:
            self.run_due()
            with self._world.acting():
                waiting = self._world.store.deliveries_waiting()
            if waiting == 0:
                return
            if time.monotonic() > deadline:
                message = f"{waiting} deliveries were not accepted: {self._last_answer()}"
                raise TimeoutError(message)
            time.sleep(_POLL_SECONDS)

    # What customers do.

    def pay(self, session_id: str, trial: str = checkout_pay.CARD, *, email: str | None = None) -> Body:
        """Pay on a checkout page with one of Stripe's payment methods for tests, as `pm_card_visa`; return the session.

        A refused card (`pm_card_chargeCustomerFail`) leaves it open. A bank debit (`pm_usBankAccount_success`,
        `pm_usBankAccount_insufficientFunds`) completes it unpaid; four days later on the clock it is paid, or not.
        """
        with self._world.acting():
            return visible(checkout_pay.pay(self._world, session_id, trial, email=email))

    def pay_by_debit(self, session_id: str, *, fails: bool = False) -> Body:
        """Pay on a checkout page by a bank debit; return the session, complete and unpaid."""
        return self.pay(session_id, checkout_pay.REFUSED_DEBIT if fails else checkout_pay.DEBIT)

    def settle_debit(self, intent_id: str, *, succeeds: bool = True) -> None:
        """Have the bank decide about a debit now instead of days later; `intent_id` is the session's, or the intent."""
        with self._world.acting():
            session = self._world.find("checkout.session", intent_id)
            jobs.settle(self._world, session["payment_intent"] if session else intent_id, succeeded=succeeds)

    def give_card(self, customer_id: str, trial: str = checkout_pay.CARD) -> str:
        """Make a payment method the customer's default, as the portal does; return its id."""
        with self._world.acting():
            customer = customers.living(self._world, customer_id)
            method = customers.new_method(self._world, trial)
            self._world.update(method, customer=customer_id)
            self._world.tell("payment_method.attached", method)
            settings = {"default_payment_method": method["id"]}
            customers.update(self._world, {"invoice_settings": settings}, customer["id"])
            return method["id"]

    def replace_card(self, customer_id: str, trial: str = checkout_pay.CARD) -> str:
        """Do what the portal does: a new default for the customer and each subscription; return its id."""
        with self._world.acting():
            method = self.give_card(customer_id, trial)
            for each in list(self._world.all("subscription", owner=customer_id)):
                if each["status"] not in {"canceled", "incomplete_expired"}:
                    subscriptions.update(self._world, {"default_payment_method": method}, each["id"])
            return method

    def cancel_at_period_end(self, subscription_id: str, *, wanted: bool = True) -> Body:
        """Do what the portal does: end a subscription with its period, or keep it after all; return it."""
        with self._world.acting():
            return visible(subscriptions.update(self._world, {"cancel_at_period_end": wanted}, subscription_id))

    def pay_invoice(self, invoice_id: str, trial: str = checkout_pay.CARD) -> Body:
        """Pay an open invoice on its page, or try to; return it."""
        with self._world.acting():
            invoice = self._world.get("invoice", invoice_id)
            if invoice["status"] not in {"open", "uncollectible"}:
                refuse(f"This invoice is {invoice['status']}.")
            method = customers.new_method(self._world, trial)
            collection.attempt(self._world, invoice, method, automatic=False)
            return visible(invoice)

    def use_link(self, link_id: str) -> Body | None:
        """Follow a link to the onboarding page; None when it was followed before, or is too old."""
        with self._world.acting():
            return accounts.use_link(self._world, link_id)

    def onboard(self, account_id: str) -> Body:
        """Complete a connected account, as its owner does on the onboarding page; return it."""
        with self._world.acting():
            return visible(accounts.onboard(self._world, account_id))

    def restrict(self, account_id: str) -> Body:
        """Have Stripe find something wrong with a connected account, which nobody can pay then; return it."""
        with self._world.acting():
            return visible(accounts.restrict(self._world, account_id))

    def reverse(self, transfer_id: str, *, cents: int | None = None) -> Body:
        """Take a transfer back, as somebody does in Stripe's dashboard; None: all that is left of it. Return it."""
        with self._world.acting():
            params = {} if cents is None else {"amount": cents}
            transfers.create_reversal(self._world, params, transfer_id)
            return visible(self._world.get("transfer", transfer_id))

    def dispute(self, charge_id: str, *, reason: str = "fraudulent", amount: int | None = None) -> Body:
        """Have the customer's bank take a charge back (`charge_id` may name its intent); return the dispute."""
        with self._world.acting():
            intent = self._world.find("payment_intent", charge_id)
            charge = self._world.get("charge", intent["latest_charge"] if intent else charge_id)
            return visible(disputes.open_dispute(self._world, charge, reason=reason, amount_cents=amount))

    def decide(self, dispute_id: str, *, won: bool) -> Body:
        """Have a dispute decided; return it."""
        with self._world.acting():
            return visible(disputes.decide(self._world, self._world.get("dispute", dispute_id), won=won))

    def fail_refund(self, refund_id: str, *, reason: str = "expired_or_canceled_card") -> Body:
        """Have the bank send a refund back days later: the money is the platform's again; return the refund."""
        with self._world.acting():
            return visible(refunds.fail(self._world, self._world.get("refund", refund_id), reason=reason))

    def add_funds(self, cents: int) -> None:
        """Put money onto the platform's balance, available at once."""
        with self._world.acting():
            balance.book(self._world, "topup", cents, None, description="Funds added by hand")

    # What there is.

    def object(self, identifier: str) -> Body:
        """Return an object as the API would."""
        with self._world.acting():
            body = self._world.store.find(identifier)
            if body is None:
                refuse(f"There is no {identifier}.")
            return visible(body)

    def find_object(self, identifier: str) -> Body | None:
        """Return an object as the API would, or None."""
        with self._world.acting():
            return visible(self._world.store.find(identifier))

    def objects(self, kind: str, **fields: Any) -> list[Body]:  # values of whatever fields are compared
        """Return all objects of a kind, oldest first, whose fields have these values."""
        with self._world.acting():
            found = [visible(body) for body in self._world.all(kind)]
        return [body for body in reversed(found) if all(body.get(name) == value for name, value in fields.items())]

    def line_items(self, session_id: str) -> list[Body]:
        """Return what a checkout session sells."""
        with self._world.acting():
            return visible(self._world.get("checkout.session", session_id)["_lines"])

    def customers(self, **fields: Any) -> list[Body]:  # as above
        """Return the customers, those deleted among them."""
        return self.objects("customer", **fields)

    def sessions(self, **fields: Any) -> list[Body]:  # as above
        """Return the checkout sessions."""
        return self.objects("checkout.session", **fields)

    def subscriptions(self, **fields: Any) -> list[Body]:  # as above
        """Return the subscriptions."""
        return self.objects("subscription", **fields)

    def invoices(self, **fields: Any) -> list[Body]:  # as above
        """Return the invoices; of many lines each shows the first ten, `objects("line_item")` has all."""
        return self.objects("invoice", **fields)

    def events(self, *types: str) -> list[Body]:
        """Return the events, or those of some types."""
        return [event for event in self.objects("event") if not types or event["type"] in types]

    # What goes wrong.

    def fail(
        self,
        kind: str,
        *,
        method: str | None = None,
        path: str | None = None,
        calls: int | None = 1,
        rate: float = 1.0,
        seconds: float = SILENCE_S,
    ) -> None:
        """Have the next calls fail: of a method, of paths that begin so, a share of them; `calls=None` until `heal`.

        Kinds are in `faults.KINDS`. Calls without a valid key are refused before any fault is looked at.
        """
        self._faults.add(Fault(kind, method, path, calls, rate, seconds))

    def heal(self, *, seed: int | None = None) -> None:
        """Lift all faults; with a seed, rates below 1 hit the same calls as with that seed before."""
        self._faults.clear(seed)

    def faults(self) -> list[Fault]:
        """Return the faults that are set."""
        return self._faults.all()

    # Webhooks.

    def webhooks(
        self,
        *,
        url: str | None = None,
        paused: bool | None = None,
        duplicate_rate: float | None = None,
        delay_s: tuple[float, float] | None = None,
        old_secret: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Turn the knobs of the sending that are named: a range of delays also brings events out of their order.

        With `old_secret` each sending carries a second signature, as for a day after a secret was rolled.
        """
        if url is not None:
            self._world.webhook_url = url
        if paused is not None:
            self._webhook.paused = paused
        if duplicate_rate is not None:
            self._webhook.duplicate_rate = duplicate_rate
        if delay_s is not None:
            self._webhook.delay_s = delay_s
        if old_secret is not None:
            self._webhook.old_secret = old_secret
        if seed is not None:
            self._webhook.seed(seed)
        self._webhook.wake()

    def send(self, event_id: str) -> int:
        """Send an event now, once more; return the status it was answered with, 0 where nobody answered."""
        return self._webhook.send(event_id)

    def payload(self, event_id: str) -> bytes:
        """Return the bytes of an event as they are sent."""
        return self._webhook.payload(event_id)

    def signed(self, payload: bytes, *, at: int | None = None, secret: str | None = None) -> dict[str, str]:
        """Return the headers of a delivery: signed now with our secret, unless told otherwise."""
        return self._webhook.signed(payload, at=at, secret=secret)

    def deliveries(self, event_id: str) -> Sequence[Delivery]:
        """Return the sendings of an event, with what became of each."""
        with self._world.acting():
            return self._world.store.deliveries_of(event_id)

    def knobs(self) -> Knobs:
        """Return how the webhook is set."""
        with self._world.acting():
            waiting = self._world.store.deliveries_waiting()
        webhook = self._webhook
        return Knobs(self._world.webhook_url, webhook.paused, webhook.duplicate_rate, webhook.delay_s, waiting)

    def jobs(self) -> list[Job]:
        """Return what the clock will do, in order."""
        with self._world.acting():
            return self._world.store.jobs()

    def _last_answer(self) -> str:
        with self._world.acting():
            waiting = self._world.store.due_deliveries(float("inf"), 1)
        return f"{waiting[0].event}: {waiting[0].answer or 'never tried'}" if waiting else "all were, just now"
