"""`spell payouts`, a creator's and the operator's, and the SDK behind it, at an api with the stand-in for Stripe."""

import asyncio
from collections.abc import Generator
from uuid import uuid4

import httpx
import pytest

from domain.model.key_rules import ACCOUNT_SCOPES
from local.servers import Servers
from local.stripe.fake import FakeStripe
from spell import AsyncClient, Client, Forbidden
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_NOT_AUTHORISED, EXIT_USAGE
from tests.api.paying import follow, run_shop
from tests.api.platform import Account, Api, Rows
from tests.servers import TestDatabases, revive
from tests.spell.cli.conftest import Spell

PERIOD = "2026-01"


@pytest.fixture(scope="module")
def database_of_shop(test_databases: TestDatabases, template_database_url: str, servers: Servers) -> Generator[str]:
    revive(servers)
    url = test_databases.create(template=template_database_url)
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
def rows(database_of_shop: str) -> Generator[Rows]:
    opened = Rows(database_of_shop)
    yield opened
    opened.close()


@pytest.fixture
def creator(rows: Rows) -> Account:
    account = rows.account()
    scopes = {"scopes": sorted(ACCOUNT_SCOPES), "id": account.key_id}
    rows.execute("UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", scopes)
    return account


@pytest.fixture
def signed_in(
    spell: Spell, shop: tuple[Api, FakeStripe], rows: Rows, creator: Account, monkeypatch: pytest.MonkeyPatch
) -> Spell:
    monkeypatch.setenv("SPELL_URL", shop[0].url)
    monkeypatch.setenv("SPELL_API_KEY", rows.session(creator).token)
    return spell


def test_from_nobody_to_paid(
    signed_in: Spell,
    shop: tuple[Api, FakeStripe],
    rows: Rows,
    database_of_shop: str,
    creator: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, stripe = shop
    assert "spell payouts onboard" in dict(signed_in("payouts", "account").rows)["can be paid"]
    assert signed_in("payouts", "list").err.startswith("Nothing was paid out yet")
    page = signed_in("payouts", "onboard", "--country", "US").out.strip()
    httpx.post(page, data={"do": "submit"})
    follow(database_of_shop, stripe)
    assert dict(signed_in("payouts", "account").rows)["can be paid"] == "yes"
    assert signed_in("payouts", "stripe", "--json").json["url"].startswith(stripe.url)
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, created_at)"
        " VALUES (%(id)s, %(id)s, 'share_collected', 'creator:' || %(who)s, 'payable:' || %(who)s, 25009999, %(who)s,"
        " '2026-01-01', now() - interval '8 days')",
        {"id": uuid4(), "who": creator.id},
    )
    assert dict(signed_in("payouts", "account").rows)["payable"] == "$25.009999"
    # The operator pays him.
    stripe.add_funds(100_00)
    for name, value in {**stripe.settings, "DATABASE_URL": database_of_shop}.items():
        monkeypatch.setenv(name, value)
    assert signed_in("payouts", "run", "--period", "soon").code == EXIT_USAGE
    assert signed_in("payouts", "run", "--period", "2999-01").code == EXIT_USAGE
    planned = signed_in("payouts", "run", "--period", PERIOD, "--dry-run")
    assert (planned.code, "1 would be paid $25.00" in " ".join(planned.err.split())) == (EXIT_DONE, True)
    assert stripe.objects("transfer") == []
    done = signed_in("payouts", "run", "--period", PERIOD, "--json").json
    assert (done["successful"], done["paid_cents"], done["pending"]) == (1, 25_00, 0)
    assert signed_in("payouts", "run", "--period", PERIOD).code == EXIT_DONE
    assert [one["amount"] for one in stripe.objects("transfer")] == [25_00]
    ((period, status, amount, *_),) = signed_in("payouts", "list").rows
    assert (period, status, amount) == (PERIOD, "paid", "$25.00")


def test_what_stripe_refuses_is_an_error_of_the_run(
    signed_in: Spell, shop: tuple[Api, FakeStripe], rows: Rows, database_of_shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stripe = shop
    poor = rows.account()
    rows.execute(
        "INSERT INTO payout_accounts (account_id, tried_at, stripe_account_id, details_submitted, transfers_active,"
        " created_at, updated_at) VALUES (%(id)s, now(), 'acct_nobody', true, true, now(), now())",
        {"id": poor.id},
    )
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, created_at)"
        " VALUES (%(id)s, %(id)s, 'share_collected', 'creator:' || %(who)s, 'payable:' || %(who)s, 25000000, %(who)s,"
        " '2026-01-01', now() - interval '8 days')",
        {"id": uuid4(), "who": poor.id},
    )
    for name, value in {**stripe.settings, "DATABASE_URL": database_of_shop}.items():
        monkeypatch.setenv(name, value)
    done = signed_in("payouts", "run", "--period", "2026-02")
    assert done.code == EXIT_FAILED
    (handle, outcome, *_, trouble), *_ = done.rows
    assert (handle, outcome, trouble) == (poor.handle, "refused", "resource_missing")


def test_a_key_opens_no_page(signed_in: Spell, creator: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPELL_API_KEY", creator.key)
    refused = signed_in("payouts", "onboard")
    assert (refused.code, "Sign in" in refused.err) == (EXIT_NOT_AUTHORISED, True)


def test_the_sdk_speaks_of_the_same(shop: tuple[Api, FakeStripe], rows: Rows, creator: Account) -> None:
    api, _ = shop
    with Client(base_url=api.url, api_key=creator.key) as client:
        assert client.payouts.account().status == "none"
        assert list(client.payouts.list()) == []
        with pytest.raises(Forbidden):
            client.payouts.onboard()

    token = rows.session(creator).token

    async def asynchronously() -> str:
        async with AsyncClient(base_url=api.url, api_key=token) as client:
            opened = await client.payouts.onboard("DE")
            assert [one async for one in client.payouts.list()] == []
            assert opened.expires_at.tzinfo is not None
            return (await client.payouts.account()).status

    assert asyncio.run(asynchronously()) == "incomplete"
