"""Guessing at keys and sessions costs us a bounded amount, and nobody whom we know notices."""

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from api.auth import FRESH_S, REFRESH_EVERY_S, hash_key
from domain.model.api_key import ENTROPY_BYTES, mint
from domain.model.session import ENTROPY_BYTES as SESSION_ENTROPY_BYTES
from domain.model.session import mint_session
from local.servers import Servers
from tests.api.platform import Account, Api, Rows, run_api
from tests.servers import flush_redis

ANON_RPM = 3
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SECRET_BYTES = 32  # the end of what a key is made of; the rest is its prefix


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose prefix everybody knows."""

    account: Account
    entropy: bytes
    spell: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {mint(self.entropy).text}"}

    def guess(self) -> dict[str, str]:
        """Return a key that only Argon2 can tell from the right one."""
        return {"authorization": f"Bearer {mint(self.entropy[:-SECRET_BYTES] + os.urandom(SECRET_BYTES)).text}"}


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """One that believes its callers' addresses."""
    del rows
    flush_redis(servers.redis_url)
    settings = {"TRUSTED_PROXIES": "127.0.0.1/32", "RATE_LIMIT_ANON_RPM": str(ANON_RPM)}
    with run_api(api_database_url, servers.redis_url, tmp_path_factory.mktemp("api"), **settings) as running:
        yield running


@pytest.fixture
def target(rows: Rows) -> Target:
    account = rows.account()
    return Target(account=account, entropy=with_known_entropy(rows, account.key_id), spell=rows.spell(account, "s"))


def with_known_entropy(rows: Rows, key_id: UUID) -> bytes:
    entropy = os.urandom(ENTROPY_BYTES)
    minted = mint(entropy)
    rows.execute(
        "UPDATE api_keys SET prefix = %(prefix)s, secret_hash = %(hash)s WHERE id = %(id)s",
        {"prefix": minted.prefix, "hash": hash_key(minted.text), "id": key_id},
    )
    return entropy


_NUMBERS = itertools.count(1)


def new_place() -> dict[str, str]:
    """Return the headers of an address nobody used before."""
    number = next(_NUMBERS)
    return {"x-forwarded-for": f"198.18.{number // 256}.{number % 256}"}


def verified(api: Api) -> int:
    text = api.http.get("/metrics").text
    return int(float(text.split("\nspell_keys_verified ")[1].split()[0]))


def ask(api: Api, headers: dict[str, str]) -> int:
    return api.http.get("/v1/casts", headers=headers).status_code


def test_an_address_that_guesses_is_refused_before_anything_is_hashed(api: Api, rows: Rows, target: Target) -> None:
    place = new_place()
    assert ask(api, target.headers | place) == 200
    before = verified(api)
    guesses = [ask(api, target.guess() | place) for _ in range(4 * ANON_RPM)]
    assert guesses == [*[401] * ANON_RPM, *[429] * 3 * ANON_RPM]
    assert verified(api) - before == ANON_RPM + 1, "the one that was over the rate is the last that was looked at"
    assert ask(api, target.headers | place) == 200, "whom we know has not guessed"
    neighbour = rows.key(target.account.id, target.account.handle)
    assert ask(api, neighbour.headers | place) == 429, "whom we do not know yet waits, or comes another way"
    assert ask(api, neighbour.headers | new_place()) == 200
    assert ask(api, neighbour.headers | place) == 200
    time.sleep(FRESH_S + 2 * REFRESH_EVERY_S)  # nobody has looked at his key since
    assert ask(api, target.guess() | place) == 429
    assert ask(api, target.headers | place) == 200, "who was away is known all the same"


@pytest.mark.parametrize("path", ["/v1/casts", "/v1/keys", "/v1/spells", "/v1/sessions", "/auth/me", "/admin/holds"])
def test_every_way_in_counts_wrong_keys_and_sessions(api: Api, target: Target, path: str) -> None:
    for guess in (target.guess, wrong_session):
        place = new_place()
        asked = [api.http.get(path, headers=guess() | place) for _ in range(ANON_RPM + 2)]
        assert [answer.status_code for answer in asked] == [*[401] * ANON_RPM, 429, 429]
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in asked[ANON_RPM:])


def test_an_ended_session_in_a_browser_is_no_guess_at_the_store(api: Api, rows: Rows) -> None:
    """Its pages stay open at the rate of everybody; beyond it nothing is looked up any more."""
    place, ended = new_place(), rows.session(rows.account())
    rows.execute("UPDATE sessions SET ended_at = now() WHERE id = %(id)s", {"id": ended.id})
    asked = [api.http.get("/v1/spells", headers=ended.cookie | place) for _ in range(ANON_RPM + 1)]
    assert [answer.status_code for answer in asked] == [*[200] * ANON_RPM, 429]
    assert all("spell_session=;" in answer.headers["set-cookie"] for answer in asked)
    living = rows.session(rows.account())
    barred = api.http.get("/v1/spells", headers=living.cookie | place)
    assert (barred.status_code, "set-cookie" in barred.headers) == (429, False), "a living one is not taken away"


def wrong_session() -> dict[str, str]:
    return {"authorization": f"Bearer {mint_session(os.urandom(SESSION_ENTROPY_BYTES), EPOCH).token}"}


def test_a_flood_of_guesses_from_one_address_is_hashed_at_its_rate(api: Api, target: Target) -> None:
    callers, guesses = 16, 400
    place = new_place()
    before, began = verified(api), time.monotonic()
    with ThreadPoolExecutor(callers) as threads:
        asked = [threads.submit(ask, api, target.guess() | place) for _ in range(guesses)]
        found = Counter(future.result() for future in asked)
    minutes = (time.monotonic() - began) / 60
    assert set(found) == {401, 429}
    # What was under way when the address was barred, and again whenever its rate lets another one try.
    assert verified(api) - before <= (ANON_RPM + callers) * (1 + minutes * ANON_RPM)
    assert found[401] <= ANON_RPM * (1 + minutes) + 1


def test_a_flood_from_everywhere_keeps_no_known_key_from_casting(api: Api, target: Target) -> None:
    """Each guess comes from an address of its own, so that none is barred: then the threads that hash are the bound."""
    cast = {"spell": target.spell, "input": 1}

    def post() -> int:
        return api.http.post("/v1/casts", json=cast, headers=target.headers).status_code

    assert post() == 202
    over = threading.Event()

    def guess_on() -> Counter[int]:
        found: Counter[int] = Counter()
        while not over.is_set():
            found[ask(api, target.guess() | new_place())] += 1
        return found

    with ThreadPoolExecutor(8) as threads:
        floods = [threads.submit(guess_on) for _ in range(8)]
        try:
            casts = [post() for _ in range(60)]
        finally:
            over.set()
        guessed = Counter(status for flood in floods for status in flood.result())
    assert casts == [202] * 60
    assert set(guessed) <= {401, 503}
    assert guessed[401] > 0
