"""Creators at Stripe: accounts, onboarding, transfers, the balance; and credit notes and the portal."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import stripe

from local.stripe.fake import PRICE_PRO, FakeStripe
from tests.local.conftest import Receiver

DAY = 86_400


@pytest.fixture
def creator(fake: FakeStripe, api: stripe.StripeClient) -> str:
    account = api.v1.accounts.create(
        {"type": "express", "email": "grace@example.com", "capabilities": {"transfers": {"requested": True}}}
    )
    assert (account.capabilities.transfers, account.payouts_enabled) == ("inactive", False)
    fake.onboard(account.id)
    return account.id


def paid_invoice(fake: FakeStripe, api: stripe.StripeClient, cents: int, *, pay: bool = True) -> Any:
    customer = api.v1.customers.create({"email": "ada@example.com"}).id
    fake.give_card(customer)
    draft = api.v1.invoices.create({"customer": customer}).id
    api.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": cents, "currency": "usd"})
    api.v1.invoices.finalize_invoice(draft)
    return api.v1.invoices.pay(draft) if pay else api.v1.invoices.retrieve(draft)


def test_an_account_is_paid_only_after_onboarding(fake: FakeStripe, api: stripe.StripeClient) -> None:
    fake.add_funds(10_000)
    account = api.v1.accounts.create({"type": "express", "capabilities": {"transfers": {"requested": True}}}).id
    order: Any = {"amount": 700, "currency": "usd", "destination": account, "metadata": {"payout": "1"}}
    with pytest.raises(stripe.InvalidRequestError) as early:
        api.v1.transfers.create(order)
    assert early.value.code == "insufficient_capabilities_for_transfer"
    link = api.v1.account_links.create(
        {
            "account": account,
            "type": "account_onboarding",
            "return_url": "https://platform.example/back",
            "refresh_url": "https://platform.example/again",
        }
    )
    shown = httpx.get(link.url)
    assert (shown.status_code, "Get paid" in shown.text) == (200, True)
    again = httpx.get(link.url)
    assert (again.status_code, again.headers["location"]) == (303, "https://platform.example/again")
    done = httpx.post(link.url, data={"do": "submit"})
    assert (done.status_code, done.headers["location"]) == (303, "https://platform.example/back")
    assert api.v1.accounts.retrieve(account).payouts_enabled is True
    (event,) = fake.events("account.updated")
    assert (event["account"], event["data"]["object"]["details_submitted"]) == (account, True)
    assert api.v1.transfers.create(order).destination == account
    assert urlsplit(api.v1.accounts.login_links.create(account).url).netloc == urlsplit(fake.url).netloc


def test_nothing_is_transferred_that_is_not_there_yet(fake: FakeStripe, api: stripe.StripeClient, creator: str) -> None:
    paid_invoice(fake, api, 10_000)
    balance = api.v1.balance.retrieve()
    assert (balance.available[0].amount, balance.pending[0].amount) == (0, 10_000 - 320)
    order: Any = {"amount": 5_000, "currency": "usd", "destination": creator, "transfer_group": "payout-1"}
    with pytest.raises(stripe.InvalidRequestError) as early:
        api.v1.transfers.create(order)
    assert early.value.code == "balance_insufficient"
    fake.advance(2 * DAY)
    transfer = api.v1.transfers.create(order)
    assert api.v1.balance.retrieve().available[0].amount == 10_000 - 320 - 5_000
    assert [each.id for each in api.v1.transfers.list({"destination": creator}).data] == [transfer.id]


def test_a_charge_is_a_source_at_once(fake: FakeStripe, api: stripe.StripeClient, creator: str) -> None:
    paid_invoice(fake, api, 1_000)
    charge = fake.objects("charge")[0]["id"]
    order: Any = {"amount": 800, "currency": "usd", "destination": creator, "source_transaction": charge}
    api.v1.transfers.create(order)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.transfers.create(order)


def test_a_transfer_is_taken_back_in_parts(fake: FakeStripe, api: stripe.StripeClient, creator: str) -> None:
    fake.add_funds(1_000)
    transfer = api.v1.transfers.create({"amount": 600, "currency": "usd", "destination": creator}).id
    api.v1.transfers.reversals.create(transfer, {"amount": 100})
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.transfers.reversals.create(transfer, {"amount": 501})
    api.v1.transfers.reversals.create(transfer)
    whole = api.v1.transfers.retrieve(transfer)
    assert (whole.amount_reversed, whole.reversed, len(whole.reversals.data)) == (600, True, 2)
    assert api.v1.balance.retrieve().available[0].amount == 1_000
    assert len(fake.events("transfer.reversed")) == 2


def test_a_note_before_payment_lowers_what_is_due(fake: FakeStripe, api: stripe.StripeClient) -> None:
    invoice = paid_invoice(fake, api, 1_000, pay=False)
    note = api.v1.credit_notes.create({"invoice": invoice.id, "amount": 300, "reason": "order_change"})
    assert (note.type, note.status) == ("pre_payment", "issued")
    due = api.v1.invoices.retrieve(invoice.id)
    assert (due.total, due.amount_remaining, due.pre_payment_credit_notes_amount) == (1_000, 700, 300)
    assert api.v1.credit_notes.void_credit_note(note.id).status == "void"
    assert api.v1.invoices.retrieve(invoice.id).amount_remaining == 1_000
    api.v1.credit_notes.create({"invoice": invoice.id, "amount": 400})
    assert api.v1.invoices.pay(invoice.id).amount_paid == 600
    assert [charge["amount"] for charge in fake.objects("charge")] == [600]


def test_a_note_for_all_closes_the_invoice(fake: FakeStripe, api: stripe.StripeClient) -> None:
    invoice = paid_invoice(fake, api, 1_000, pay=False)
    lines = [{"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "quantity": 1}]
    api.v1.credit_notes.create({"invoice": invoice.id, "lines": lines})
    closed = api.v1.invoices.retrieve(invoice.id)
    assert (closed.status, closed.amount_paid, closed.amount_remaining) == ("paid", 0, 0)


def test_a_note_after_payment_says_how_it_is_given_back(fake: FakeStripe, api: stripe.StripeClient) -> None:
    invoice = paid_invoice(fake, api, 1_000)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.credit_notes.create({"invoice": invoice.id, "amount": 300})
    note = api.v1.credit_notes.create(
        {"invoice": invoice.id, "amount": 300, "refund_amount": 200, "credit_amount": 100}
    )
    assert (note.type, note.refunds[0].amount_refunded) == ("post_payment", 200)
    assert fake.objects("charge")[0]["amount_refunded"] == 200
    assert fake.customers()[0]["balance"] == -100
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.credit_notes.create({"invoice": invoice.id, "amount": 701, "out_of_band_amount": 701})
    assert [each.id for each in api.v1.credit_notes.list({"invoice": invoice.id}).data] == [note.id]


def test_the_portal_changes_the_card_and_cancels(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create({"email": "ada@example.com"}).id
    terms: Any = {"mode": "subscription", "customer": customer, "success_url": "https://platform.example/"}
    session = api.v1.checkout.sessions.create({**terms, "line_items": [{"price": PRICE_PRO, "quantity": 1}]})
    subscription = fake.pay(session.id)["subscription"]
    portal = api.v1.billing_portal.sessions.create(
        {"customer": customer, "return_url": "https://platform.example/billing"}
    )
    page = httpx.get(portal.url).text
    assert "Spell Pro" in page
    assert "https://platform.example/billing" in page
    before = api.v1.subscriptions.retrieve(subscription).default_payment_method
    httpx.post(portal.url, data={"do": "card"})
    httpx.post(portal.url, data={"do": f"cancel:{subscription}"})
    after = api.v1.subscriptions.retrieve(subscription)
    assert (after.cancel_at_period_end, after.default_payment_method != before) == (True, True)
    httpx.post(portal.url, data={"do": f"keep:{subscription}"})
    assert api.v1.subscriptions.retrieve(subscription).cancel_at_period_end is False
    assert httpx.post(portal.url, data={"do": "cancel:sub_of_another"}).status_code == 400


def test_the_invoices_page_and_its_pdf(fake: FakeStripe, api: stripe.StripeClient, receiver: Receiver) -> None:
    invoice = paid_invoice(fake, api, 1_234, pay=False)
    assert "$12.34" in httpx.get(invoice.hosted_invoice_url).text
    pdf = httpx.get(invoice.invoice_pdf)
    assert (pdf.headers["content-type"].partition(";")[0], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    httpx.post(invoice.hosted_invoice_url, data={"do": "refused"})
    assert api.v1.invoices.retrieve(invoice.id).status == "open"
    httpx.post(invoice.hosted_invoice_url, data={"do": "card"})
    assert api.v1.invoices.retrieve(invoice.id).status == "paid"
    fake.settle()
    assert {"invoice.payment_failed", "invoice.paid"} <= set(receiver.types())


def test_every_page_of_the_operator_is_there(fake: FakeStripe, api: stripe.StripeClient, creator: str) -> None:
    paid_invoice(fake, api, 1_000)
    fake.add_funds(1_000)
    api.v1.transfers.create({"amount": 600, "currency": "usd", "destination": creator})
    fake.fail("error", path="/v1/nothing", calls=3, rate=0.5)
    start = httpx.get(f"{fake.url}/", follow_redirects=True)
    names = {part.partition('"')[0] for part in start.text.split('href="/stripe/')[1:]}
    assert {"", "customers", "invoices", "events", "faults", "clock"} <= names
    for name in names:
        page = httpx.get(f"{fake.url}/stripe/{name}")
        assert page.status_code == 200, name
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for event in fake.events()[-3:]:
        assert event["type"] in httpx.get(f"{fake.url}/stripe/objects/{event['id']}").text
    assert httpx.get(f"{fake.url}/stripe/unicorns").status_code == 404


def test_the_operators_buttons(fake: FakeStripe, api: stripe.StripeClient, receiver: Receiver) -> None:
    def press(path: str, **fields: str) -> int:
        return httpx.post(f"{fake.url}/stripe/{path}", data=fields).status_code

    paid_invoice(fake, api, 1_000)
    charge = fake.objects("charge")[0]["id"]
    assert press(f"objects/{charge}", do="dispute") == 303
    dispute = fake.objects("dispute")[0]["id"]
    assert press(f"objects/{dispute}", do="lost") == 303
    assert press(f"objects/{dispute}", do="won") == 400
    before = fake.now
    assert press("clock", seconds=str(DAY)) == 303
    assert fake.now >= before + DAY
    assert press("clock", seconds="soon") == 400
    account = api.v1.accounts.create({"type": "express", "capabilities": {"transfers": {"requested": True}}}).id
    assert press(f"objects/{account}", do="restrict") == 303
    fake.onboard(account)
    fake.add_funds(50_000)
    transfer = api.v1.transfers.create({"amount": 600, "currency": "usd", "destination": account}).id
    assert "Take it back" in httpx.get(f"{fake.url}/stripe/objects/{transfer}").text
    assert press(f"objects/{transfer}", do="reverse") == 303
    assert api.v1.transfers.retrieve(transfer).reversed is True
    assert "Take it back" not in httpx.get(f"{fake.url}/stripe/objects/{transfer}").text
    assert "find something wrong" in httpx.get(f"{fake.url}/stripe/objects/{account}").text
    assert press(f"objects/{account}", do="restrict") == 303
    assert api.v1.accounts.retrieve(account).payouts_enabled is False
    assert press("faults", kind="rate_limit", calls="1", rate="1", do="fail") == 303
    with pytest.raises(stripe.RateLimitError):
        api.v1.balance.retrieve()
    assert press("faults", kind="bad luck") == 400
    assert press("webhook", paused="yes", twice="1", late="0") == 303
    assert (fake.knobs().paused, fake.knobs().duplicate_rate) == (True, 1.0)
    event = fake.events("charge.dispute.closed")[0]["id"]
    assert press(f"objects/{event}", do="send") == 303
    assert receiver.events[-1].id == event


def test_text_of_others_is_shown_as_text(fake: FakeStripe, api: stripe.StripeClient) -> None:
    name = "<script>alert(1)</script>"
    customer = api.v1.customers.create({"name": name, "email": "x@example.com", "metadata": {"a": name}}).id
    session = api.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer": customer,
            "success_url": "https://platform.example/",
            "line_items": [
                {
                    "price_data": {"currency": "usd", "product_data": {"name": name}, "unit_amount": 500},
                    "quantity": 1,
                }
            ],
        }
    )
    portal = api.v1.billing_portal.sessions.create({"customer": customer})
    for page in (session.url, portal.url, f"{fake.url}/stripe/customers", f"{fake.url}/stripe/objects/{customer}"):
        text = httpx.get(page).text
        assert "&lt;script&gt;" in text
        assert "<script" not in text
