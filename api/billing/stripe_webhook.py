"""Where Stripe tells its news: the signature is checked on the bytes as they came, the event is kept, and that is all.

200 says that it is kept, so that Stripe may forget it. What it is about is fetched and applied by the scheduler.
"""

import re
from typing import Any, Final

import msgspec
from litestar import Request, post

from api.billing.off import require_stripe
from api.call import call_of
from api.services import Services
from domain.flow import stripe_inbox
from domain.model.errors import Code, refuse
from domain.model.limits import MIB
from domain.model.stripe_events import BadEventError, read_event
from domain.store.connection import transaction
from gateways.stripe.signature import BadSignature, verify

# Stripe's events are some KiB; ten lines of an invoice are the most that one shows of a list.
BODY_BYTES_MAX: Final = MIB
PATHS: Final = ["/webhooks/stripe", "/api/stripe/webhook", "/subscription/webhooks/stripe"]
# A label of a metric: what is longer or stranger than any type of Stripe's is counted together.
_TYPE: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+){1,4}")
_TYPE_CHARACTERS_MAX: Final = 60


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The event is kept, by this request or by an earlier one."""

    received: bool = True


@post(PATHS, status_code=200, request_max_body_size=BODY_BYTES_MAX, tags=["billing"])
async def receive_event(request: Request[Any, Any, Any], services: Services) -> Received:
    """Keep an event of Stripe's. 400 when its signature does not hold or is older than 300 s; then nothing is kept.

    Whoever cannot sign is a stranger like any other, and limited by his address; Stripe is not limited.
    """
    stripe = require_stripe(services)
    body = await request.body()
    counter = services.metrics.stripe_webhooks
    try:
        verify(
            body,
            request.headers.get("stripe-signature"),
            secrets=stripe.settings.webhook_secrets,
            now=services.now(),
        )
    except BadSignature as bad:
        counter.labels("unknown", "too_old" if bad.reason == "old" else "bad_signature").inc()
        raise refuse(
            Code.BAD_SIGNATURE, f"The signature in Stripe-Signature does not hold ({bad.reason}). Nothing was kept."
        ) from None
    call_of(request.scope).counted = True
    try:
        event = read_event(body)
    except BadEventError as bad:
        counter.labels("unknown", "malformed").inc()
        raise refuse(Code.MALFORMED, f"Signed, but {bad}. Nothing was kept.") from None
    async with transaction(services.engine_pool) as connection:
        new = await stripe_inbox.receive(connection, event, now=services.now())
    known = len(event.type) <= _TYPE_CHARACTERS_MAX and _TYPE.fullmatch(event.type) is not None
    counter.labels(event.type if known else "other", "stored" if new else "duplicate").inc()
    return Received()


ROUTES: Final = [receive_event]
