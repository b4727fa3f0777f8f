"""A stand-in for Stripe and what talks to it: the real library, and a receiver of events."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from local.stripe.fake import FakeStripe

SECRET = "whsec_of_the_tests"


class Receiver:
    """Takes events as a platform does: the signature first. `answers` are the statuses to come; then it is 200."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.answers: list[int] = []
        outer = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else 200
                if status == 200:
                    outer.events.append(
                        stripe.Webhook.construct_event(payload, self.headers["Stripe-Signature"], SECRET)
                    )
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe"

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    with FakeStripe(tmp_path / "stripe") as made:
        yield made


@pytest.fixture
def api(fake: FakeStripe) -> stripe.StripeClient:
    return client_of(fake)


def client_of(fake: FakeStripe, **options: Any) -> stripe.StripeClient:
    settings = {"base_addresses": {"api": fake.url}, "max_network_retries": 0, **options}
    return stripe.StripeClient(fake.secret_key, **settings)


@pytest.fixture
def receiver(fake: FakeStripe) -> Generator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake._webhook.secret = SECRET
    fake.webhooks(url=made.url)
    yield made
    fake.stop()
    made.server.shutdown()
    made.server.server_close()
    thread.join()
