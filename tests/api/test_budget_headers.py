"""The headers of the tightest budget on every authenticated answer: exact on casts, at most a second old elsewhere.

The api runs in this process, on real servers, by a clock that stands still until a test moves it; its loops do not run,
so that callers are looked up only when they ask.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from api.access_log import Log
from api.app import create_app, read_terms
from api.auth import FRESH_S
from api.budgets.board import CALLERS_MAX, BudgetBoard, budget_lines, tightest_noted
from api.services import Services
from domain.model.admission_state import WindowState
from domain.model.budgets import window_id
from domain.model.errors import Standing
from domain.model.modes import Mode
from domain.model.periods import Period, resets_at, starts_on
from domain.settings import ApiSettings, load
from local.servers import Servers
from tests.api.platform import Account, Rows, Signed, api_environment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Litestar 3 wants other annotations than 2.25

FEE = 2_500  # held by a cast with the default fuel limit
JUST_LATER = FRESH_S + 0.001
Shown = tuple[int, int, int, int] | None
REQUESTS: tuple[tuple[str, str, Mapping[str, Any] | None, int], ...] = (
    ("GET", "/v1/keys", None, 200),
    ("GET", "/v1/usage", None, 200),
    ("GET", "/v1/casts", None, 200),
    ("GET", "/v1/casts?limit=nothing", None, 422),
    ("GET", f"/v1/casts/{uuid4()}", None, 404),
    ("GET", "/v1/budgets", None, 200),
    ("POST", "/v1/budgets", {}, 422),
    ("POST", "/v1/casts", {"spell": "nobody/nothing"}, 404),
    ("POST", "/v1/cast", {}, 422),
    ("POST", "/v1/casts/batch", {"casts": [{"spell": "nobody/nothing"}]}, 200),
    ("PUT", "/v1/keys", {}, 405),
)


class Platform(msgspec.Struct, frozen=True):
    http: httpx.AsyncClient
    services: Services
    clock: list[float]


@pytest.fixture
async def platform(rows: Rows, servers: Servers) -> AsyncGenerator[Platform]:
    settings = load(ApiSettings, api_environment(rows.url, servers.redis_url, 1))
    log = Log(settings.log_level, now=lambda: datetime.now(UTC), write=lambda _: None)
    clock = [1_000.0]
    edge, services = create_app(settings, log=log, clock=lambda: clock[0], now=lambda: datetime.now(UTC))
    transport = httpx.ASGITransport(app=edge)
    async with services.app_pool, services.engine_pool:
        await read_terms(services)
        admission = asyncio.create_task(_admit(services))
        async with httpx.AsyncClient(transport=transport, base_url=settings.public_url) as http:
            yield Platform(http, services, clock)
        admission.cancel()
        await services.batcher.close()
    services.authenticator.close()
    await services.redis.aclose()


async def _admit(services: Services) -> None:
    while True:
        await services.batcher.run_once()


def budget(
    rows: Rows,
    account: Account,
    limit: int | None,
    *,
    scope: str = "account",
    of: UUID | None = None,
    daily: bool = False,
) -> UUID:
    """Make a budget whose window is not there yet."""
    budget_id = uuid4()
    rows.execute(
        "INSERT INTO budgets (id, account_id, scope, scope_id, period, soft_limit_micros, hard_limit_micros)"
        " VALUES (%(id)s, %(account)s, %(scope)s, %(of)s, %(period)s, 0, %(limit)s)",
        {
            "id": budget_id,
            "account": account.id,
            "scope": scope,
            "of": of or account.id,
            "period": "daily" if daily else "monthly",
            "limit": limit,
        },
    )
    return budget_id


def window(rows: Rows, account: Account, budget_id: UUID, amounts: tuple[int, int, int], first: Any) -> None:
    """Make or change the window of a budget that starts with the day `first`."""
    limit, spent, held = amounts
    rows.execute(
        "INSERT INTO budget_windows"
        " (id, account_id, budget_id, starts_on, hard_limit_micros, spent_micros, held_micros)"
        " VALUES (%(id)s, %(account)s, %(budget)s, %(first)s, %(limit)s, %(spent)s, %(held)s)"
        " ON CONFLICT (id) DO UPDATE"
        " SET hard_limit_micros = %(limit)s, spent_micros = %(spent)s, held_micros = %(held)s",
        {
            "id": window_id(budget_id, first),
            "account": account.id,
            "budget": budget_id,
            "first": first,
            "limit": limit,
            "spent": spent,
            "held": held,
        },
    )


def reset(period: Period) -> int:
    return int(resets_at(period, datetime.now(UTC)).timestamp())


def shown(answer: httpx.Response) -> Shown:
    """Return limit, spent, held and reset; each is there once, or none of them."""
    names = ("budget-limit", "budget-spent", "budget-held", "budget-reset")
    values = [answer.headers.get_list(name) for name in names]
    assert {len(value) for value in values} in ({0}, {1}), answer.headers
    return tuple(int(value[0]) for value in values) if values[0] else None  # pyright: ignore[reportReturnType]  # four


async def seen(platform: Platform, headers: Mapping[str, str]) -> Shown:
    """Return what a route that has nothing to do with budgets shows."""
    return shown(await platform.http.get("/v1/keys", headers=headers))


def callers(rows: Rows, account: Account) -> list[Account | Signed]:
    return [account, rows.session(account)]


async def test_every_authenticated_answer_has_them_and_no_other(
    platform: Platform, rows: Rows, account: Account
) -> None:
    budget(rows, account, 30_000)
    rows.execute("UPDATE api_keys SET scopes = scopes || '{keys:write}' WHERE id = %(id)s", {"id": account.key_id})
    for caller in callers(rows, account):
        for method, path, body, status in REQUESTS:
            answer = await platform.http.request(method, path, json=body, headers=caller.headers)
            known = None if status == 405 else (30_000, 0, 0, reset(Period.MONTHLY))  # refused before anybody is asked
            assert (answer.status_code, shown(answer)) == (status, known), (method, path, answer.text)
    for path in ("/v1/keys", "/v1/casts", "/v1/catalog/spells", "/healthz"):
        assert shown(await platform.http.get(path)) is None


async def test_who_has_no_hard_budget_has_no_headers(platform: Platform, rows: Rows, account: Account) -> None:
    stranger = rows.account()
    budget(rows, stranger, 1)
    budget(rows, account, None)
    soft = budget(rows, account, None, daily=True)
    rows.execute("UPDATE budgets SET deleted_at = now(), hard_limit_micros = 9 WHERE id = %(id)s", {"id": soft})
    for caller in callers(rows, account):
        for method, path, body, _ in REQUESTS:
            answer = await platform.http.request(method, path, json=body, headers=caller.headers)
            assert shown(answer) is None, (method, path)


async def test_the_tightest_of_those_that_bind_the_caller(platform: Platform, rows: Rows, account: Account) -> None:
    """The least room, not the least limit; a key's own beside the account's, nobody else's, and of now."""
    other = rows.key(account.id, account.handle)
    today, month = (starts_on(period, datetime.now(UTC)) for period in (Period.DAILY, Period.MONTHLY))
    monthly = budget(rows, account, 90_000)
    window(rows, account, monthly, (90_000, 40_000, 10_000), month)
    daily = budget(rows, account, 60_000, daily=True)
    window(rows, account, daily, (60_000, 59_999, 0), today - timedelta(days=1))
    mine = budget(rows, account, 70_000, scope="key", of=account.key_id)
    window(rows, account, mine, (70_000, 50_000, 3), month)
    budget(rows, account, 5, scope="key", of=other.key_id)
    budget(rows, account, 4, scope="spell", of=uuid4())
    own = (70_000, 50_000, 3, reset(Period.MONTHLY))
    accounts = (90_000, 40_000, 10_000, reset(Period.MONTHLY))
    days = (50_000, 20_000, 0, reset(Period.DAILY))
    key, session = callers(rows, account)
    found = [await seen(platform, caller.headers) for caller in (key, session, other)]
    assert found == [own, accounts, (5, 0, 0, reset(Period.MONTHLY))]
    window(rows, account, daily, (50_000, 20_000, 0), today)
    platform.clock[0] += JUST_LATER
    assert [await seen(platform, caller.headers) for caller in (key, session)] == [own, days]
    window(rows, account, mine, (70_000, 20_000, 0), month)
    platform.clock[0] += JUST_LATER
    assert await seen(platform, key.headers) == days


async def test_of_equally_tight_ones_that_is_shown_which_a_cast_shows(
    platform: Platform, rows: Rows, account: Account
) -> None:
    spell = rows.spell(account, "echo")
    for daily in (False, True):
        budget(rows, account, 30_000, daily=daily)
        budget(rows, account, 30_000, daily=daily, scope="key", of=account.key_id)
    before = await seen(platform, account.headers)
    cast = shown(await platform.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=account.headers))
    assert cast is not None
    assert before == (30_000, 0, 0, cast[3])


async def test_a_change_shows_within_a_second(platform: Platform, rows: Rows, account: Account) -> None:
    key, session = callers(rows, account)
    first = starts_on(Period.MONTHLY, datetime.now(UTC))
    made = budget(rows, account, 30_000)
    assert await seen(platform, session.headers) == (30_000, 0, 0, reset(Period.MONTHLY))
    for caller in (key, session):
        window(rows, account, made, (30_000, 0, 0), first)
        platform.clock[0] += JUST_LATER
        assert await seen(platform, caller.headers) == (30_000, 0, 0, reset(Period.MONTHLY))
        window(rows, account, made, (40_000, 7, 8), first)
        platform.clock[0] += FRESH_S
        assert await seen(platform, caller.headers) == (30_000, 0, 0, reset(Period.MONTHLY))
        platform.clock[0] += 0.001
        assert await seen(platform, caller.headers) == (40_000, 7, 8, reset(Period.MONTHLY))
    rows.execute("UPDATE budgets SET deleted_at = now() WHERE id = %(id)s", {"id": made})
    await platform.services.authenticator.refresh()  # as its loop does twice a second
    assert await seen(platform, key.headers) is None
    platform.clock[0] += JUST_LATER
    assert await seen(platform, session.headers) is None


async def test_nothing_is_read_for_them(platform: Platform, rows: Rows, account: Account) -> None:
    budget(rows, account, 30_000)
    for caller in callers(rows, account):
        await seen(platform, caller.headers)
    services = platform.services
    before = services.engine_pool.get_stats().get("requests_num", 0)
    for caller in callers(rows, account)[:1] * 20:
        assert shown(await platform.http.get("/v1/casts?limit=nothing", headers=caller.headers)) is not None
    assert services.engine_pool.get_stats().get("requests_num", 0) == before


@pytest.mark.parametrize("of_session", [False, True], ids=["key", "session"])
async def test_a_casts_exact_figures_stay_before_a_look_up_that_began_earlier(
    platform: Platform, rows: Rows, account: Account, *, of_session: bool
) -> None:
    spell = rows.spell(account, "echo")
    caller = callers(rows, account)[of_session]
    made = budget(rows, account, 30_000)
    assert await seen(platform, caller.headers) == (30_000, 0, 0, reset(Period.MONTHLY))
    platform.clock[0] += 0.5
    cast = await platform.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=caller.headers)
    exact = (30_000, 0, FEE, reset(Period.MONTHLY))
    assert (cast.status_code, shown(cast)) == (202, exact)
    assert await seen(platform, caller.headers) == exact
    # What a look-up finds that was under way since before the cast may be from before it.
    window(rows, account, made, (30_000, 1, 1), starts_on(Period.MONTHLY, datetime.now(UTC)))
    platform.clock[0] -= 0.25
    await platform.services.authenticator.refresh()
    await platform.http.post("/v1/budgets", json={}, headers=caller.headers)  # a session is looked up for each
    assert await seen(platform, caller.headers) == exact
    platform.clock[0] += 0.25
    await platform.services.authenticator.refresh()
    await platform.http.post("/v1/budgets", json={}, headers=caller.headers)
    assert await seen(platform, caller.headers) == (30_000, 1, 1, reset(Period.MONTHLY))


async def test_exact_on_every_way_to_cast(platform: Platform, rows: Rows, account: Account) -> None:
    """A hold shows at once, for one cast, for many, and on a refusal; a repeated request shows what is known by now."""
    one = {"spell": rows.spell(account, "echo"), "input": 1}
    budget(rows, account, 4 * FEE)
    month = reset(Period.MONTHLY)

    async def cast(path: str, body: Mapping[str, Any], **more: str) -> tuple[int, Shown]:
        answer = await platform.http.post(path, json=body, headers={**account.headers, **more})
        return answer.status_code, shown(answer)

    assert await cast("/v1/casts", one, **{"idempotency-key": "a"}) == (202, (4 * FEE, 0, FEE, month))
    assert await cast("/v1/casts", one, **{"idempotency-key": "a"}) == (202, (4 * FEE, 0, FEE, month))
    batch = {"casts": [one, {"spell": "nobody/nothing"}, one]}
    assert await cast("/v1/casts/batch", batch) == (200, (4 * FEE, 0, 3 * FEE, month))
    assert await cast("/v1/casts/batch", {"casts": [one] * 3}) == (200, (4 * FEE, 0, 4 * FEE, month))
    assert await cast("/v1/cast", one) == (402, (4 * FEE, 0, 4 * FEE, month))
    assert await seen(platform, account.headers) == (4 * FEE, 0, 4 * FEE, month)


async def test_what_binds_a_cast_alone_shows_on_casts_alone(platform: Platform, rows: Rows, account: Account) -> None:
    """The budget of a spell, and the platform's own limit."""
    spell = rows.spell(account, "echo")
    [(spell_id,)] = rows.execute("SELECT id FROM spells WHERE account_id = %(id)s", {"id": account.id})
    one = {"spell": spell, "input": 1}
    bound = budget(rows, account, FEE, scope="spell", of=spell_id)
    for status in (202, 402):
        answer = await platform.http.post("/v1/casts", json=one, headers=account.headers)
        assert (answer.status_code, shown(answer)) == (status, (FEE, 0, FEE, reset(Period.MONTHLY)))
        assert await seen(platform, account.headers) is None
    rows.execute("UPDATE budgets SET deleted_at = now() WHERE id = %(id)s", {"id": bound})
    limit = platform.services.settings.metered_limit_default_micros
    rows.execute("UPDATE account_months SET spent_micros = %(limit)s, free_used = 1000000", {"limit": limit})
    answer = await platform.http.post("/v1/casts", json=one, headers=account.headers)
    assert answer.status_code == 402
    assert shown(answer) == (limit, limit, FEE, reset(Period.MONTHLY))
    assert await seen(platform, account.headers) is None


async def test_no_budget_binds_a_test_key(platform: Platform, rows: Rows, account: Account) -> None:
    test_key = rows.key(account.id, account.handle, mode=Mode.TEST)
    budget(rows, account, 30_000)
    cast = {"spell": rows.spell(account, "echo"), "input": 1}
    answer = await platform.http.post("/v1/casts", json=cast, headers=test_key.headers)
    assert (answer.status_code, shown(answer)) == (202, None)
    assert shown(await platform.http.get("/v1/casts", headers=test_key.headers)) is None


def standing(limit: int, *, held: int = 0, limit_id: UUID | None = None) -> Standing:
    return Standing(
        limit_id=limit_id or uuid4(),
        scope="account",
        scope_id=uuid4(),
        period=Period.DAILY,
        limit_micros=limit,
        spent_micros=0,
        held_micros=held,
        needed_micros=0,
        resets_at=datetime(2026, 12, 1, tzinfo=UTC),
    )


def test_of_a_batch_each_budget_counts_as_it_was_said_last() -> None:
    filled, other = uuid4(), standing(60)
    said = [standing(100, held=10, limit_id=filled), other, standing(100, held=50, limit_id=filled)]
    assert tightest_noted(said) is said[2]
    assert tightest_noted(said[:2]) is other
    assert tightest_noted([]) is None


def test_the_board_forgets_whoever_was_met_longest_ago() -> None:
    board = BudgetBoard(lambda: 0.0)
    first, second = uuid4(), uuid4()
    here = standing(1)
    for caller in (first, second, first):
        board.note(caller, here)
    for _ in range(CALLERS_MAX - 1):
        board.note(uuid4(), here)
    assert (board.lines(second), board.lines(first)) == (b"", budget_lines(here))


def test_the_board_keeps_what_did_not_change_and_drops_who_has_no_budget() -> None:
    board = BudgetBoard(lambda: 3.0)
    caller = uuid4()
    window = WindowState(
        budget_id=uuid4(),
        account_id=caller,
        scope="account",
        scope_id=caller,
        period=Period.MONTHLY,
        starts_on=date(2026, 11, 1),
        exists=True,
        hard_limit_micros=7,
        spent_micros=0,
        held_micros=0,
    )
    budgets = msgspec.json.encode([window]).decode()
    board.learn(caller, None, asked_at=1.0)
    board.learn(caller, budgets, asked_at=2.0)
    rendered = board.lines(caller)
    assert rendered.startswith(b"\r\nbudget-limit: 7\r\n")
    board.learn(caller, budgets, asked_at=4.0)
    assert board.lines(caller) is rendered
    board.learn(caller, None, asked_at=3.5)
    assert board.lines(caller) is rendered
    board.learn(caller, None, asked_at=4.0)
    assert board.lines(caller) == b""
