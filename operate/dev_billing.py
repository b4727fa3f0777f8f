"""Through whom this machine bills: the stand-in for Stripe, unless the environment has keys of Stripe."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from local.ports import LOOPBACK
from local.stripe.fake import FakeStripe

WEBHOOK_PATH: Final = "/webhooks/stripe"


@contextmanager
def billing_stand_in(folder: Path, environ: Mapping[str, str], *, port: int) -> Generator[FakeStripe | None]:
    """Run the stand-in with its state in `folder`; its events go to the api on `port`. Raises LocalServerError."""
    if environ.get("STRIPE_SECRET_KEY") or environ.get("STRIPE_API_KEY"):
        yield None
        return
    stripe = FakeStripe(folder, webhook_url=f"http://{LOOPBACK}:{port}{WEBHOOK_PATH}")
    try:
        stripe.start()
        yield stripe
    finally:
        stripe.close()
