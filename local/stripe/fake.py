"""The stand-in as a whole: `FakeStripe`."""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local.folder import LocalServerError, kept_secret, make_private_folder, write_private
from local.ports import LOOPBACK, kept_port
from local.stripe import jobs
from local.stripe.answering import Answering
from local.stripe.catalog import create_price, create_product
from local.stripe.control import Control
from local.stripe.faults import Faults
from local.stripe.pages import Pages
from local.stripe.server import StripeServer
from local.stripe.store import Store
from local.stripe.webhooks import Webhook, new_secret
from local.stripe.world import World

PRICE_PRO: Final = "price_1SpellProMonthly"
PRICE_ENTERPRISE: Final = "price_1SpellEnterpriseMonthly"
# What the plans of the base products cost a month, in cents.
_PLANS: Final = (
    ("prod_SpellPro", "Spell Pro", PRICE_PRO, "spell_pro", 1_999),
    ("prod_SpellEnterprise", "Spell Enterprise", PRICE_ENTERPRISE, "spell_enterprise", 9_999),
)
# How often the clock and the webhook look for something to do, when nothing wakes them.
_IDLE_S: Final = 0.2
_PORT_FILE: Final = "port"
_KEY_FILE: Final = "secret-key"
_WEBHOOK_SECRET_FILE: Final = "webhook-secret"  # noqa: S105  # a name of a file
_STOP_SECONDS_MAX: Final = 10.0


class FakeStripe(Control):
    """A Stripe on this machine alone, for as long as it is started. What it knows is kept in its folder.

    `start` and `stop` may be called again and again; `close` is the end, and what a `with` block does.

    - `url` is the base address: `StripeClient(key, base_addresses={"api": url})`; its pages are at `url`/stripe/.
    - `settings` has STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_API_BASE, STRIPE_PRICE_PRO and
      STRIPE_PRICE_ENTERPRISE; these two monthly prices exist from the start ($19.99 and $99.99).
    - Events are sent to `webhook_url`, signed with `webhook_secret`, by a thread of ours, again with growing waits
      until they are accepted; without an address they are only kept.
    - `clock` tells the machine's time in seconds. The stand-in's own is that, moved by `advance`; it decides when
      invoices are collected (finalized with `auto_advance`: about at once; without: never), tried again (after 3, 5, 7
      days), subscriptions renewed, debits settled (4 days), sessions expired, keys forgotten (24 h).
      Signatures and the waits between sendings follow the machine's time.
    - Everything else that is not done through the API is a method of Control: pay, settle_debit, give_card, dispute,
      decide, add_funds, advance, settle, fail, heal, webhooks, send, objects, customers, invoices, events …
    """

    def __init__(
        self,
        folder: Path,
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
    ) -> None:
        """`folder` keeps state, port and secrets; it is made when missing. Raises LocalServerError."""
        make_private_folder(folder)
        self._port: Final = kept_port(folder / _PORT_FILE)
        self.secret_key: Final = _kept(folder / _KEY_FILE, f"sk_test_{secrets.token_hex(24)}")
        self.webhook_secret: Final = webhook_secret or _kept(folder / _WEBHOOK_SECRET_FILE, new_secret())
        self._store: Final = Store(folder / "stripe.sqlite3")
        world = World(self._store, clock, f"{self.url}/stripe")
        world.webhook_url = webhook_url
        super().__init__(world, Webhook(world, self.webhook_secret), Faults(seed))
        self._answering: Final = Answering(world, self.secret_key, self._faults)
        self._ended: Final = threading.Event()
        self._server: StripeServer | None = None
        self._threads: list[threading.Thread] = []
        _make_plans(world)

    @property
    def url(self) -> str:
        """Where it is."""
        return _url(self._port)

    @property
    def settings(self) -> dict[str, str]:
        """What the platform is told to bill through it."""
        return _settings(self.secret_key, self.webhook_secret, self._port)

    def start(self) -> None:
        """Listen, and let the clock and the webhook work. Raises LocalServerError."""
        assert self._server is None, "the stand-in for Stripe is running already"
        try:
            self._server = StripeServer(self._port, self._answering, Pages(self))
        except OSError as error:
            message = f"The stand-in for Stripe cannot listen ({error.strerror}): stop what took its port, start again."
            raise LocalServerError(message) from error
        self._ended.clear()
        self._answering.stopping.clear()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="stripe", daemon=True),
            threading.Thread(target=self._work, name="stripe clock", daemon=True),
            threading.Thread(target=self._send, name="stripe webhook", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop listening, sending and the clock; what is known stays. Does nothing when it is not started."""
        if self._server is None:
            return
        self._ended.set()
        self._world.changed.set()
        self._webhook.wake()
        self._server.close_all()
        for thread in self._threads:
            thread.join(_STOP_SECONDS_MAX)
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and let go of the folder; another one may be made on it then."""
        self.stop()
        self._webhook.close()
        with self._world.lock:
            self._store.close()

    def _work(self) -> None:
        while not self._ended.is_set():
            jobs.run_due(self._world)
            self._world.changed.wait(_IDLE_S)
            self._world.changed.clear()

    def _send(self) -> None:
        while not self._ended.is_set():
            if self._webhook.run_once() == 0:
                self._webhook.wait(_IDLE_S)


def kept_settings(folder: Path) -> dict[str, str]:
    """Return the `settings` of the stand-in that keeps `folder`. Raises FileNotFoundError when there was none."""
    key, secret, port = ((folder / name).read_text() for name in (_KEY_FILE, _WEBHOOK_SECRET_FILE, _PORT_FILE))
    return _settings(key, secret, int(port))


def _settings(secret_key: str, webhook_secret: str, port: int) -> dict[str, str]:
    return {
        "STRIPE_SECRET_KEY": secret_key,
        "STRIPE_WEBHOOK_SECRET": webhook_secret,
        "STRIPE_API_BASE": _url(port),
        "STRIPE_PRICE_PRO": PRICE_PRO,
        "STRIPE_PRICE_ENTERPRISE": PRICE_ENTERPRISE,
    }


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _kept(file: Path, fresh: str) -> str:
    """Return the secret in `file`, which begins as `fresh`."""
    if not file.exists():
        write_private(file, fresh)
    return kept_secret(file)


def _make_plans(world: World) -> None:
    """Make what is for sale, once."""
    with world.acting():
        if world.store.fact("made_at") is not None:
            return
        world.store.set_fact("made_at", str(world.now))
        webhook_url, world.webhook_url = world.webhook_url, None
        for product, name, price, key, cents in _PLANS:
            create_product(world, {"id": product, "name": name})
            recurring = {"interval": "month"}
            terms = {"currency": "usd", "product": product, "recurring": recurring, "lookup_key": key}
            create_price(world, {**terms, "unit_amount": cents}, identifier=price)
        world.webhook_url = webhook_url
