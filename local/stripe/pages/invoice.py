"""An invoice as its customer sees it, to read, to pay and to keep."""

import html
from http import HTTPStatus

from local.stripe.control import Control
from local.stripe.pages.html import Page, button, day, dollars, form, page, sent, table, told
from local.stripe.store import Body


def show(control: Control, identifier: str) -> Page:
    """Show an invoice."""
    body = control.object(identifier)
    if body["object"] != "invoice" or body["number"] is None:
        return told(HTTPStatus.NOT_FOUND, "There is no such invoice", "")
    rows = [[html.escape(line["description"] or ""), dollars(line["amount"])] for line in _lines(control, body)]
    sums = [["<strong>Total</strong>", dollars(body["total"])], ["Still due", dollars(body["amount_remaining"])]]
    pay = button("Pay by card", "do", "card", first=True) + button("Try a card that is declined", "do", "refused")
    open_ = body["status"] in {"open", "uncollectible"}
    return page(
        f"Invoice {body['number']}",
        f"<h1>Invoice {html.escape(body['number'])}</h1>"
        f"<p>{day(body['created'])}, for {html.escape(body['customer_name'] or body['customer_email'] or '')}, "
        f"{html.escape(body['status'])}</p><p>{html.escape(body['description'] or '')}</p>"
        f"{table(['', ''], rows + sums)}<p><a href='/stripe/invoices/{identifier}/pdf'>PDF</a></p>"
        + (form(f"/stripe/invoices/{identifier}", pay) if open_ else ""),
    )


def press(control: Control, identifier: str, fields: dict[str, str]) -> Page:
    """Pay an invoice, or try to."""
    trial = "pm_card_chargeCustomerFail" if fields.get("do") == "refused" else "pm_card_visa"
    control.pay_invoice(identifier, trial)
    return sent(f"/stripe/invoices/{identifier}")


def pdf(control: Control, identifier: str) -> Page:
    """Return an invoice as a PDF of one page of plain text."""
    body = control.object(identifier)
    if body["object"] != "invoice" or body["number"] is None:
        return told(HTTPStatus.NOT_FOUND, "There is no such invoice", "")
    texts = [f"Invoice {body['number']}", day(body["created"]), body["customer_name"] or "", body["description"] or ""]
    texts += [f"{dollars(line['amount']):>14}  {line['description'] or ''}" for line in _lines(control, body)]
    texts += [f"{dollars(body['total']):>14}  Total", f"{dollars(body['amount_remaining']):>14}  Still due"]
    return Page(HTTPStatus.OK, _pdf(texts), "application/pdf")


def _lines(control: Control, body: Body) -> list[Body]:
    return control.objects("line_item", invoice=body["id"])


def _pdf(texts: list[str]) -> bytes:
    """Write lines of text as a PDF (ISO 32000-1, 7.5): five objects, a table of where they begin, a trailer."""
    shown = [text.encode("cp1252", "replace") for text in texts]
    escaped = [line.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") for line in shown]
    drawn = b"BT /F1 10 Tf 50 790 Td 14 TL\n" + b"".join(b"(%s) Tj T*\n" % line for line in escaped) + b"ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Courier/Encoding/WinAnsiEncoding>>",
    ]
    whole = b"%PDF-1.4\n"
    starts: list[int] = []
    for number, written in enumerate(objects, 1):
        starts.append(len(whole))
        whole += b"%d 0 obj%s endobj\n" % (number, written)
    entries = b"".join(b"%010d 00000 n \n" % start for start in starts)
    table_of = b"xref\n0 6\n0000000000 65535 f \n" + entries
    return whole + table_of + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(whole)
