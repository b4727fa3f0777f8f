"""Logins in the database: begun and taken up, links mailed and followed, and who an identity turns out to be."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.flow.begin_login import begin_login, take_up_login
from domain.flow.magic_link import ask_link, follow_link, look_at_link
from domain.flow.sign_in import ENTROPY_BYTES, sign_in
from domain.model.errors import Code, RefusedError
from domain.model.login import LoginUser, ProvenIdentity, link_token
from domain.store.connection import Pool, transaction
from tests.domain.world import World

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BROWSER, OTHER = b"b" * 32, b"o" * 32
KEY = b"k" * 32
GITHUB = "https://github.com"


def identity(subject: str, *, issuer: str = GITHUB, **more: Any) -> ProvenIdentity:
    fields: dict[str, Any] = {"email": None, "email_verified": False, **more}
    return ProvenIdentity(issuer=issuer, subject=subject, **fields)


async def come(pool: Pool, who: ProvenIdentity, *, now: datetime = NOW) -> LoginUser:
    async with transaction(pool) as connection:
        return await sign_in(
            connection, who, plan="free", address="::1", request_id="r", now=now, entropy=os.urandom(ENTROPY_BYTES)
        )


async def begin(pool: Pool, *, now: datetime = NOW) -> str:
    async with transaction(pool) as connection:
        return await begin_login(
            connection, provider="github", binding=BROWSER, return_to="/docs", now=now, entropy=os.urandom(32)
        )


async def take_up(pool: Pool, state: str, **changed: Any) -> str | None:
    told: dict[str, Any] = {"provider": "github", "binding": BROWSER, "state": state, "now": NOW, **changed}
    async with transaction(pool) as connection:
        return await take_up_login(connection, **told)


async def ask(pool: Pool, email: str, seed: bytes, *, now: datetime = NOW) -> bool:
    async with transaction(pool) as connection:
        return await ask_link(
            connection,
            email=email,
            binding=BROWSER,
            return_to="/docs",
            signing_key=KEY,
            mail_id=uuid4(),
            now=now,
            entropy=seed,
        )


async def follow(pool: Pool, token: str, **changed: Any) -> tuple[ProvenIdentity, str] | None:
    told: dict[str, Any] = {"token": token, "binding": BROWSER, "now": NOW, **changed}
    async with transaction(pool) as connection:
        return await follow_link(connection, **told)


async def test_a_login_is_taken_up_once_in_time_where_it_began(pool: Pool) -> None:
    state = await begin(pool)
    wrong: list[dict[str, Any]] = [
        {"binding": OTHER},
        {"provider": "oidc"},
        {"now": NOW + timedelta(seconds=600)},
        {"state": "x"},
        {"state": "A" * 43},
    ]
    for changed in wrong:
        assert await take_up(pool, **{"state": state, **changed}) is None
    assert await take_up(pool, state, now=NOW + timedelta(seconds=599)) == "/docs"
    assert await take_up(pool, state) is None


async def test_of_many_at_once_one_takes_a_login_up(pool: Pool) -> None:
    state = await begin(pool)
    found = await asyncio.gather(*(take_up(pool, state) for _ in range(8)))
    assert sorted(map(str, found)) == ["/docs"] + ["None"] * 7


async def test_what_is_over_goes_when_others_begin(world: World, pool: Pool) -> None:
    for _ in range(3):
        await begin(pool)
    await ask(pool, "ada@example.com", b"1" * 32)
    later = NOW + timedelta(hours=1)
    await begin(pool, now=later)
    await ask(pool, "ada@example.com", b"2" * 32, now=later)
    assert await world.rows("SELECT count(*) FROM login_flows") == [(1,)]
    assert await world.rows("SELECT count(*) FROM magic_links") == [(1,)]


async def test_a_link_is_followed_once_in_time_in_its_browser(pool: Pool) -> None:
    assert await ask(pool, "ada@example.com", b"1" * 32)
    token = link_token(b"1" * 32, KEY)
    async with transaction(pool) as connection:
        seen = await look_at_link(connection, token=token, binding=OTHER, now=NOW)
        assert (seen is not None, seen and seen.same_browser) == (True, False)
        assert await look_at_link(connection, token="x", binding=BROWSER, now=NOW) is None
    for changed in ({"binding": OTHER}, {"now": NOW + timedelta(minutes=15)}, {"token": "x"}):
        assert await follow(pool, **{"token": token, **changed}) is None
    followed = await follow(pool, token, now=NOW + timedelta(minutes=14, seconds=59))
    assert followed is not None
    proven, return_to = followed
    assert (proven.subject, proven.email, proven.email_verified, return_to) == (
        "ada@example.com",
        "ada@example.com",
        True,
        "/docs",
    )
    assert await follow(pool, token) is None


async def test_an_address_gets_three_links_in_a_quarter_of_an_hour(world: World, pool: Pool) -> None:
    asked = await asyncio.gather(*(ask(pool, "ada@example.com", bytes([number]) * 32) for number in range(8)))
    assert asked.count(True) == 3
    assert await world.rows("SELECT count(*) FROM outgoing WHERE kind = 'mail'") == [(3,)]
    assert await ask(pool, "grace@example.com", b"g" * 32)
    assert not await ask(pool, "ada@example.com", b"a" * 32, now=NOW + timedelta(minutes=14))
    assert await ask(pool, "ada@example.com", b"a" * 32, now=NOW + timedelta(minutes=16))


async def test_mail_to_a_person_is_the_persons_and_to_a_stranger_nobodys(world: World, pool: Pool) -> None:
    mine = identity("ada@example.com", issuer="email", email="ada@example.com", email_verified=True)
    user = await come(pool, mine)
    await ask(pool, "ada@example.com", b"1" * 32)
    await ask(pool, "eve@example.com", b"2" * 32)
    found = await world.rows(
        "SELECT o.target, o.account_id, a.id FROM outgoing o LEFT JOIN accounts a ON a.id = o.account_id ORDER BY 1"
    )
    assert found[0] == ("ada@example.com", user.account_id, user.account_id)
    assert found[1][2] is None


async def test_the_first_login_makes_one_account_also_when_many_come_at_once(world: World, pool: Pool) -> None:
    who = identity("1815", handle_hint="Ada", name="Ada\x00 Lovelace", email="Ada@Example.com", email_verified=True)
    found = await asyncio.gather(*(come(pool, who) for _ in range(6)))
    assert [user.made for user in found].count(True) == 1
    assert len({(user.user_id, user.account_id, user.handle) for user in found}) == 1
    rows = await world.rows(
        "SELECT u.name, u.email, u.email_verified_at, a.plan, a.kind"
        " FROM users u JOIN accounts a ON a.id = u.account_id WHERE u.id = %s",
        found[0].user_id,
    )
    assert rows == [("Ada Lovelace", "ada@example.com", NOW, "free", "personal")]


async def test_two_issuers_that_verified_one_address_at_once_mean_one_person(pool: Pool) -> None:
    ways = [identity(f"s{number}", issuer=f"https://i{number}.example") for number in range(6)]
    verified = [
        ProvenIdentity(issuer=way.issuer, subject=way.subject, email="ada@example.com", email_verified=True)
        for way in ways
    ]
    found = await asyncio.gather(*(come(pool, way) for way in verified))
    assert len({user.user_id for user in found}) == 1


async def test_the_same_subject_of_another_issuer_is_somebody_else(pool: Pool) -> None:
    first = await come(pool, identity("7"))
    second = await come(pool, identity("7", issuer="https://issuer.example"))
    assert first.user_id != second.user_id


@pytest.mark.parametrize(("had", "says"), [(True, False), (False, True), (False, False)])
async def test_an_address_links_only_when_both_sides_verified_it(pool: Pool, *, had: bool, says: bool) -> None:
    first = await come(pool, identity("1", email="ada@example.com", email_verified=had))
    second = await come(pool, identity("2", email="ada@example.com", email_verified=says))
    assert first.user_id != second.user_id
    # And it stays so: the second keeps his own account.
    assert (await come(pool, identity("2", email="ada@example.com", email_verified=True))).user_id == second.user_id


async def test_an_erased_person_is_nobodys_way_in(world: World, pool: Pool) -> None:
    first = await come(pool, identity("1", email="ada@example.com", email_verified=True))
    await world.rows("UPDATE users SET erased_at = now() WHERE id = %s", first.user_id)
    second = await come(pool, identity("2", email="ada@example.com", email_verified=True))
    assert second.user_id != first.user_id


async def test_a_suspended_account_is_refused_and_nothing_is_written(world: World, pool: Pool) -> None:
    first = await come(pool, identity("1", email="ada@example.com", email_verified=True))
    await world.rows("UPDATE accounts SET status = 'suspended' WHERE id = %s", first.account_id)
    for who in (identity("1"), identity("2", email="ada@example.com", email_verified=True)):
        with pytest.raises(RefusedError) as refused:
            await come(pool, who)
        assert refused.value.refusal.code is Code.FORBIDDEN
    assert await world.rows("SELECT count(*) FROM identities") == [(1,)]


async def test_an_address_that_is_none_is_not_kept(world: World, pool: Pool) -> None:
    user = await come(pool, identity("1", email="not an address", email_verified=True))
    found = await world.rows("SELECT email, email_verified_at FROM users WHERE id = %s", user.user_id)
    assert found == [(None, None)]
