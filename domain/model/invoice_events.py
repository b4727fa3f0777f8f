"""What an account is told of its invoices. Pure. That a payment failed is told with what follows from it, elsewhere."""

from datetime import date
from typing import Final
from uuid import UUID, uuid5

import msgspec

from domain.model.events import Event, Letter
from domain.model.invoicing import dollars
from domain.model.webhooks import EventType

_encode: Final = msgspec.json.Encoder().encode


def finalized_event(
    *,
    invoice_id: UUID,
    account_id: UUID,
    period: date,
    description: str,
    total_cents: int,
    number: str | None,
    hosted_url: str | None,
    pdf_url: str | None,
) -> Event:
    """Return the event that tells of an invoice Stripe collects from now on."""
    told = {
        "invoice_id": invoice_id,
        "period": f"{period:%Y-%m}",
        "description": description,
        "total_cents": total_cents,
        "currency": "usd",
        "number": number,
        "hosted_url": hosted_url,
        "pdf_url": pdf_url,
    }
    pages = "".join(f"{text}: {url}\n" for text, url in (("See and pay it", hosted_url), ("PDF", pdf_url)) if url)
    letter = Letter(
        subject=f"Your invoice for {period:%B %Y}: {dollars(total_cents)}",
        text=(
            f"{description}\n\nThe amount is collected from your payment method.\n{pages}\n"
            f"`spell invoices {invoice_id}` (GET /v1/invoices/{invoice_id}) shows each line and the casts behind it."
        ),
    )
    return Event(
        event_id=uuid5(invoice_id, "finalized"),
        account_id=account_id,
        type=EventType.INVOICE_FINALIZED,
        payload=_encode(told).decode(),
        letter=_encode(letter).decode(),
    )
