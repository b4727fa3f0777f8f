"""`spell plans` and `spell billing`, and the SDK behind them, at an api that bills through the stand-in for Stripe."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from domain.model.key_rules import ACCOUNT_SCOPES
from local.servers import Servers
from local.stripe.fake import FakeStripe
from spell import AsyncClient, Client, Conflict, NotFound
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_NOT_FOUND
from tests.api.paying import follow, run_shop
from tests.api.platform import Account, Api, Rows, run_api
from tests.servers import TestDatabases, revive
from tests.spell.cli.conftest import Spell


@pytest.fixture(scope="module")
def database_of_shop(test_databases: TestDatabases, template_database_url: str, servers: Servers) -> Generator[str]:
    revive(servers)
    url = test_databases.create(template=template_database_url)
    opened = Rows(url)
    opened.price()
    opened.close()
    yield url
    revive(servers)
    test_databases.drop(url)


@pytest.fixture(scope="module")
def shop(
    database_of_shop: str, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Api, FakeStripe]]:
    with run_shop(database_of_shop, servers.redis_url, tmp_path_factory.mktemp("shop")) as both:
        yield both


@pytest.fixture
def customer(database_of_shop: str) -> Account:
    rows = Rows(database_of_shop)
    account = rows.account(billing="on", plan="free")
    rows.session(account)
    scopes = {"scopes": sorted(ACCOUNT_SCOPES), "id": account.key_id}
    rows.execute("UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", scopes)
    rows.close()
    return account


@pytest.fixture
def buyer(spell: Spell, shop: tuple[Api, FakeStripe], customer: Account, monkeypatch: pytest.MonkeyPatch) -> Spell:
    monkeypatch.setenv("SPELL_URL", shop[0].url)
    monkeypatch.setenv("SPELL_API_KEY", customer.key)
    return spell


def test_from_the_free_plan_to_a_canceled_one(
    buyer: Spell, shop: tuple[Api, FakeStripe], database_of_shop: str
) -> None:
    _, stripe = shop
    assert [row[:2] for row in buyer("plans").rows] == [
        ["free", "$0.00"],
        ["pro", "$19.99"],
        ["enterprise", "$99.99"],
    ]
    before = dict(buyer("billing", "show").rows)
    assert (before["plan"], before["casts"]) == ("free", "accepted as long as free ones or credits pay for them")
    assert before["free casts"] == "100 of 100 left"
    page = buyer("billing", "checkout").out.strip()
    (session,) = [one for one in stripe.sessions() if one["url"] == page]
    stripe.pay(str(session["id"]))
    follow(database_of_shop, stripe)
    after = buyer("billing", "show", "--json").json
    assert (after["plan"], after["status"], after["metered"]) == ("pro", "active", True)
    assert dict(buyer("billing", "show").rows)["plan"] == "pro"
    assert buyer("billing", "portal", "--json").json["url"].startswith(stripe.url)
    assert buyer("billing", "change", "enterprise", "--json").json["plan"] == "enterprise"
    ended = dict(buyer("billing", "cancel").rows)
    assert ended["plan"].startswith("enterprise, until 20")
    again = buyer("billing", "checkout", "pro")
    assert (again.code, "change" in again.err) == (EXIT_FAILED, True)


def test_pausing(buyer: Spell) -> None:
    paused = dict(buyer("billing", "pause").rows)
    assert paused["casts"] == "refused: spending is paused; go on with: spell billing resume"
    assert buyer("billing", "resume", "--json").json["spend_paused"] is False


def test_what_there_is_not(buyer: Spell) -> None:
    refused = buyer("billing", "cancel")
    assert (refused.code, "checkout" in refused.err) == (EXIT_FAILED, True)


def test_both_clients_do_the_same(shop: tuple[Api, FakeStripe], customer: Account, database_of_shop: str) -> None:
    api, stripe = shop
    with Client(base_url=api.url, api_key=customer.key) as client:
        first = client.billing.checkout(idempotency_key="one")
        assert [plan.id for plan in client.billing.plans()] == ["free", "pro", "enterprise"]
        with pytest.raises(Conflict):
            client.billing.change("enterprise")

    async def others() -> None:
        async with AsyncClient(base_url=api.url, api_key=customer.key) as client:
            assert (await client.billing.checkout(idempotency_key="one")).url == first.url
            assert (await client.billing.portal()).url.startswith(stripe.url)
            assert (await client.billing.pause()).spend_paused
            assert not (await client.billing.resume()).spend_paused
            assert (await client.billing.now()).free.limit == 100

    asyncio.run(others())
    (session,) = [one for one in stripe.sessions() if one["url"] == first.url]
    stripe.pay(str(session["id"]))
    follow(database_of_shop, stripe)
    with Client(base_url=api.url, api_key=customer.key) as client:
        assert client.billing.change("enterprise").plan == "enterprise"
        assert client.billing.cancel().cancel_at_period_end


def test_without_keys_of_stripe(
    spell: Spell,
    database_of_shop: str,
    servers: Servers,
    customer: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_api(database_of_shop, servers.redis_url, tmp_path) as api:
        monkeypatch.setenv("SPELL_URL", api.url)
        monkeypatch.setenv("SPELL_API_KEY", customer.key)
        refused = spell("billing", "checkout")
        assert (refused.code, "no keys of Stripe" in refused.err) == (EXIT_NOT_FOUND, True)
        assert spell("billing", "show").code == EXIT_DONE
        assert [row[1] for row in spell("plans").rows] == ["$0.00", "not sold here", "not sold here"]
        with Client() as client, pytest.raises(NotFound) as caught:
            client.billing.portal()
        assert caught.value.code == "billing_off"
