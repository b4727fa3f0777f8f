"""Creators' accounts and transfers through the gateway, on the local Stripe: what is made, found again, taken back."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from domain.model.stripe_money import Transfer
from domain.settings import Secret, StripeSettings
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused
from local.stripe.fake import FakeStripe

LONG_AGO = datetime.now(UTC) - timedelta(days=1)
BACK = {"return_url": "https://spell.example/back", "refresh_url": "https://spell.example/again"}


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    made = FakeStripe(tmp_path / "stripe")
    made.start()
    yield made
    made.close()


@pytest.fixture
async def gateway(fake: FakeStripe) -> AsyncGenerator[StripeGateway]:
    settings = StripeSettings(
        secret_key=Secret(fake.secret_key), webhook_secret=Secret("x"), price_pro=None, api_base=fake.url
    )
    async with StripeGateway(settings) as opened:
        yield opened


async def test_an_account_from_nothing_to_its_dashboard(gateway: StripeGateway, fake: FakeStripe) -> None:
    made = await gateway.accounts.create(account_id="a", country="DE", key="k")
    assert (made.details_submitted, made.transfers_active, made.payouts_enabled) == (False, False, False)
    assert made.disabled_reason is not None
    assert fake.object(made.id)["country"] == "DE"
    assert await gateway.accounts.create(account_id="a", country="DE", key="k") == made
    with pytest.raises(StripeRefused):
        await gateway.accounts.log_in(made.id)
    link = await gateway.accounts.onboard(made.id, **BACK, key="l")
    assert link.expires_at > datetime.now(UTC)
    async with httpx.AsyncClient() as browser:
        assert "Get paid" in (await browser.get(link.url)).text
        done = await browser.post(link.url, data={"do": "submit"})
    assert done.headers["location"] == BACK["return_url"]
    after = await gateway.accounts.retrieve(made.id)
    assert (after.details_submitted, after.transfers_active, after.payouts_enabled) == (True, True, True)
    assert (after.disabled_reason, after.metadata) == (None, {"account_id": "a"})
    assert urlsplit(await gateway.accounts.log_in(made.id)).netloc == urlsplit(fake.url).netloc
    fake.restrict(made.id)
    now = await gateway.accounts.retrieve(made.id)
    assert (now.details_submitted, now.transfers_active, now.disabled_reason is None) == (True, False, False)


async def test_an_account_is_found_by_whose_it_is(gateway: StripeGateway) -> None:
    first = await gateway.accounts.create(account_id="a", country=None, key="1")
    await gateway.accounts.create(account_id="b", country=None, key="2")
    assert await gateway.accounts.find("a", since=LONG_AGO) == first
    assert await gateway.accounts.find("c", since=LONG_AGO) is None
    assert await gateway.accounts.find("a", since=datetime.now(UTC) + timedelta(days=1)) is None


async def test_an_account_that_is_gone_is_refused(gateway: StripeGateway, fake: FakeStripe) -> None:
    made = await gateway.accounts.create(account_id="a", country=None, key="1")
    async with httpx.AsyncClient(auth=(fake.secret_key, "")) as client:
        (await client.delete(f"{fake.url}/v1/accounts/{made.id}")).raise_for_status()
    with pytest.raises(StripeRefused) as refused:
        await gateway.accounts.retrieve(made.id)
    assert refused.value.is_missing


async def test_a_transfer_is_made_once_found_and_taken_back(gateway: StripeGateway, fake: FakeStripe) -> None:
    fake.add_funds(5_000)
    made = await gateway.accounts.create(account_id="a", country=None, key="1")
    with pytest.raises(StripeRefused) as early:
        await pay(gateway, made.id, key="early")
    assert early.value.code == "insufficient_capabilities_for_transfer"
    fake.onboard(made.id)
    transfer = await pay(gateway, made.id)
    assert (transfer.amount_cents, transfer.reversed_cents, transfer.destination_id) == (3_000, 0, made.id)
    assert await pay(gateway, made.id) == transfer
    assert len(fake.objects("transfer")) == 1
    with pytest.raises(StripeRefused) as poor:
        await pay(gateway, made.id, key="another")
    assert poor.value.code == "balance_insufficient"
    with pytest.raises(StripeRefused) as nobody:
        await pay(gateway, "acct_nobody", key="nobody")
    assert (nobody.value.code, nobody.value.param) == ("resource_missing", "destination")
    found = await gateway.transfers.find(made.id, since=LONG_AGO, matches=lambda one: one.metadata == {"m": "1"})
    assert found == transfer
    assert await gateway.transfers.find(made.id, since=LONG_AGO, matches=lambda _one: False) is None
    assert await gateway.transfers.find("acct_other", since=LONG_AGO, matches=lambda _one: True) is None
    fake.reverse(transfer.id, cents=700)
    assert (await gateway.transfers.retrieve(transfer.id)).reversed_cents == 700


async def pay(gateway: StripeGateway, account_id: str, *, key: str = "t") -> Transfer:
    return await gateway.transfers.pay(account_id, amount_cents=3_000, description="x", metadata={"m": "1"}, key=key)
