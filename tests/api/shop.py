"""A platform that sells: the api, a scheduler and a local Stripe that tells the api its news."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from domain.model.key_rules import KeyScope
from local.stripe.fake import FakeStripe
from tests.api.platform import PATIENCE_SECONDS, REPOSITORY, Account, Api, Rows, api_environment, run_api


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """The parts, and what tests ask of them."""

    api: Api
    stripe: FakeStripe
    rows: Rows
    environment: dict[str, str]
    """Of the scheduler."""

    def buyer(self, *, billing: str = "on", plan: str = "free") -> Account:
        """Return a new account with a key that may do all with money; it has no subscription."""
        account = self.rows.account(billing=billing, plan=plan)
        scopes = [scope.value for scope in KeyScope if scope not in {KeyScope.ADMIN, KeyScope.SERVICE}]
        self.rows.execute(
            "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": scopes, "id": account.key_id}
        )
        return account

    def post(self, path: str, buyer: Account, body: dict[str, Any], **headers: str) -> httpx.Response:
        return self.api.http.post(path, json=body, headers={**buyer.headers, **headers})

    def get(self, path: str, buyer: Account) -> dict[str, Any]:
        answer = self.api.http.get(path, headers=buyer.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def buy(self, buyer: Account, package: str = "starter", **more: Any) -> dict[str, Any]:
        """Order a package; return where to pay it."""
        answer = self.post("/v1/credits/checkout", buyer, {"package": package, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def balance(self, buyer: Account) -> int:
        """Return the balance in credits."""
        return self.get("/v1/credits/balance", buyer)["balance"]

    def status(self, buyer: Account, order_id: str) -> str:
        return self.get(f"/v1/credits/orders/{order_id}", buyer)["status"]

    def use_up(self, buyer: Account, credit_count: int) -> None:
        """Take credits as a service of the operator does."""
        service = self.rows.account()
        scopes = "UPDATE api_keys SET scopes = '{service}' WHERE id = %(id)s"
        self.rows.execute(scopes, {"id": service.key_id})
        body = {"amount": credit_count, "user_id": str(buyer.id)}
        assert self.post("/v1/credits/consume", service, body).status_code == 200

    def payment_of(self, session_id: str) -> str:
        """Return the payment intent of a checkout."""
        return self.stripe.object(session_id)["payment_intent"]


@contextmanager
def run_shop(database_url: str, redis_url: str, folder: Path, rows: Rows) -> Generator[Shop]:
    """Run all of it until the block ends."""
    stripe = FakeStripe(folder / "stripe")
    stripe.start()
    try:
        with run_api(database_url, redis_url, folder, **stripe.settings) as api:
            stripe.webhooks(url=f"{api.url}/webhooks/stripe")
            environment = {
                **api_environment(database_url, redis_url, int(api.url.rpartition(":")[2])),
                **stripe.settings,
                "PUBLIC_URL": api.url,
            }
            with scheduler(environment, folder / "scheduler.log"):
                yield Shop(api=api, stripe=stripe, rows=rows, environment=environment)
    finally:
        stripe.close()


@contextmanager
def scheduler(environment: dict[str, str], log_file: Path) -> Generator[None]:
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler"], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def until(what: Callable[[], object], wanted: object) -> None:
    """Return when `what` is `wanted`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, f"it is {found!r} instead of {wanted!r}"
        time.sleep(0.1)
