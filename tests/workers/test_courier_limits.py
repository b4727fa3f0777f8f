"""How much a courier takes at once, with all others; and mail, which goes the same way."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx
import pytest

from domain.model.delivery import WINDOW_NEW
from domain.store import outgoing
from domain.store.connection import transaction
from gateways.smtp import Mailer
from local.mail import MailCatcher
from tests.domain.world import make_world
from tests.workers.courier_world import Setting, make_setting
from tests.workers.receiver import receiving

LETTER = '{"subject":"Budget at 80 %","text":"Look at it."}'


@pytest.fixture
async def setting(database_url: str) -> AsyncGenerator[Setting]:
    async with make_setting(database_url) as made:
        yield made


@pytest.fixture
def catcher(tmp_path: Path) -> Generator[MailCatcher]:
    made = MailCatcher(tmp_path / "mail")
    made.start()
    yield made
    made.stop()


async def test_couriers_share_the_places_of_a_destination(setting: Setting) -> None:
    async with receiving() as receiver:
        await setting.events(50, endpoint_id=await setting.endpoint(receiver.url("/hold")))
        couriers = [setting.courier(seconds_max=300.0) for _ in range(4)]
        taken = 0
        for _ in range(3):
            taken += sum(await asyncio.gather(*(courier.claim_once() for courier in couriers)))
        assert taken == WINDOW_NEW
        receiver.released.set()
        await asyncio.gather(*(courier.run_once() for courier in couriers))


async def test_an_account_has_its_places_and_leaves_the_rest_to_others(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.courier.loop.ACCOUNT_MAX", 3)
    other = await make_world(setting.world.database_url)
    async with receiving() as receiver:
        for number in range(6):
            await setting.events(target=receiver.url("/hold", f"127.0.0.{number + 1}"))
        async with receiving("127.0.0.1") as theirs:
            await setting.events(target=theirs.url("/quiet"), account_id=other.account_id)
            courier = setting.courier(seconds_max=300.0)
            assert [await courier.claim_once() for _ in range(2)] == [4, 0]
            await theirs.wait_for(1, "/quiet")
            receiver.released.set()
            await courier.run_once()


async def test_while_another_claims_a_courier_comes_back_later(setting: Setting) -> None:
    async with receiving() as receiver, transaction(setting.pool) as other:
        await setting.events(endpoint_id=await setting.endpoint(receiver.url("/ok")))
        assert await outgoing.take_turn(other) is not None
        courier = setting.courier()
        assert await courier.run_once() == 0
        await other.rollback()
        assert await courier.run_once() == 1


async def test_a_courier_takes_no_more_than_it_has_room_for(setting: Setting) -> None:
    async with receiving() as receiver:
        for number in range(10):
            await setting.events(endpoint_id=await setting.endpoint(receiver.url(f"/ok/{number}")))
        courier = setting.courier(slots_max=4)
        assert [await courier.run_once() for _ in range(4)] == [4, 4, 2, 0]
    assert len(set(receiver.paths())) == 10


async def test_who_is_behind_the_last_destination_looked_at_has_its_turn(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.courier.loop.DESTINATIONS_MAX", 3)
    async with receiving() as receiver:
        for number in range(8):
            await setting.events(endpoint_id=await setting.endpoint(receiver.url(f"/ok/{number}")))
        courier = setting.courier()
        assert [await courier.run_once() for _ in range(3)] == [3, 3, 2]
    assert len(set(receiver.paths())) == 8


async def test_a_mail_goes_out_once(setting: Setting, catcher: MailCatcher) -> None:
    (mail_id,) = await setting.events(kind="mail", target="ada@example.com", payload=LETTER)
    courier = setting.courier(mailer=Mailer(catcher.smtp_url, mail_from="Spells <no-reply@example.com>"))
    assert [await courier.run_once() for _ in range(2)] == [1, 0]
    assert (await setting.row(mail_id)).status == "delivered"
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        page = (await client.get(catcher.url)).text
    assert page.count("<article>") == 1
    assert all(text in page for text in ("ada@example.com", "Budget at 80 %", "Look at it."))


@pytest.mark.parametrize(
    ("payload", "smtp", "reason"),
    [
        (LETTER, False, "no SMTP_URL"),
        ("[1]", True, "holds no mail"),
        ('{"subject":"a\\nb","text":""}', True, "written"),
    ],
)
async def test_a_mail_that_cannot_go_says_so_and_is_not_tried_again(
    setting: Setting, catcher: MailCatcher, payload: str, reason: str, *, smtp: bool
) -> None:
    (mail_id,) = await setting.events(kind="mail", target="ada@example.com", payload=payload)
    mailer = Mailer(catcher.smtp_url, mail_from="no-reply@example.com") if smtp else None
    courier = setting.courier(mailer=mailer)
    assert [await courier.run_once() for _ in range(2)] == [1, 0]
    assert (await setting.row(mail_id)).status == "failed"
    assert reason in (await setting.log(mail_id))[0][3]


async def test_mail_waits_while_the_server_is_away(setting: Setting) -> None:
    (mail_id,) = await setting.events(kind="mail", target="ada@example.com", payload=LETTER)
    await setting.courier(mailer=Mailer("smtp://127.0.0.1:1", mail_from="no-reply@example.com")).run_once()
    row = await setting.row(mail_id)
    assert (row.status, row.attempts) == ("pending", 1)
