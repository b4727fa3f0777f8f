"""The batcher on a real Postgres, with the faults that HTTP cannot bring about: a bad row, a COMMIT in doubt."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from api.admission.batcher import WAIT_S_MAX, Batcher
from api.admission.line import Admitted
from api.admission.rate import Caller, RateLimiter
from api.admission.waiting import Waiting
from api.admission.wire import Wire
from api.background import Loop, running
from api.operator.metrics import Metrics
from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged
from domain.model.admission_state import Terms
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.pricing import Price
from domain.store.connection import LOCK_TIMEOUT_MS, Role, open_pool, transaction
from domain.store.exchange import statement_of
from tests.api.platform import DEAD_REDIS_URL, Account, Rows

TERMS = Terms(
    price=Price(version=1, per_cast_micros=1_000, per_gfuel_micros=1_500, platform_share_percent=20),
    free_casts_per_month=0,
    billing_enabled=False,
    metered_limit_default_micros=10**12,
)


@asynccontextmanager
async def batcher_on(url: str, *, alone: bool = True) -> AsyncGenerator[Batcher]:
    """A batcher whose loop runs, unless not `alone`; without Redis, which must not matter."""
    metrics, redis = Metrics(), Redis.from_url(DEAD_REDIS_URL)
    async with open_pool(url, role=Role.ENGINE, size_max=4) as pool:
        batcher = Batcher(
            pool,
            limiter=RateLimiter(redis, clock=time.monotonic, now=lambda: datetime.now(UTC), metrics=metrics),
            wire=Wire(redis, token_key=b"k" * 32, clock=time.monotonic, metrics=metrics),
            waiting=Waiting(pool, redis, token_key=b"k" * 32, metrics=metrics),
            metrics=metrics,
            clock=time.monotonic,
        )
        batcher.terms = TERMS
        async with running([Loop(name="admission", every_s=0, work=batcher.run_once)] if alone else []):
            yield batcher
    await redis.aclose()


def request_of(rows: Rows, account: Account, *, metadata: str = "{}") -> AdmissionRequest:
    spell = rows.spell(account, f"s{uuid4().hex[:8]}").partition("/")[2]
    query = (
        "SELECT v.id, v.spell_id, v.digest FROM spell_versions v JOIN spells s ON s.id = v.spell_id WHERE name = %(n)s"
    )
    ((version_id, spell_id, digest),) = rows.execute(query, {"n": spell})
    spec = CastSpec(
        spell_id=spell_id,
        version_id=version_id,
        creator_id=account.id,
        digest=bytes(digest),
        pool=Pool.DEFAULT,
        limits=CastLimits(),
        input=b"1",
        deadline_ms=60_000,
        metadata=metadata,
    )
    return AdmissionRequest(account_id=account.id, key_id=account.key_id, casts=(spec,))


def accepted(admitted: Admitted) -> Accepted:
    assert isinstance(admitted.verdict, Judged)
    result = admitted.verdict.results[0]
    assert isinstance(result, Accepted)
    return result


def refused(admitted: Admitted) -> tuple[Code, int | None]:
    assert isinstance(admitted.verdict, Judged)
    result = admitted.verdict.results[0]
    assert isinstance(result, Refusal)
    return result.code, result.retry_after_s


def casts_of(rows: Rows, account: Account) -> list[UUID]:
    return [row[0] for row in rows.execute("SELECT id FROM casts WHERE account_id = %(id)s", {"id": account.id})]


async def test_one_bad_row_fails_alone(rows: Rows, account: Account) -> None:
    caller = Caller(account.key_id.hex, 1_000_000)
    good = request_of(rows, account)
    bad = msgspec.structs.replace(good, casts=(msgspec.structs.replace(good.casts[0], metadata="\0"),))
    async with batcher_on(rows.url) as batcher:
        futures = [batcher.submit(bad if n == 7 else good, caller, waits=False) for n in range(20)]
        results = await asyncio.gather(*futures, return_exceptions=True)
    refused = results.pop(7)
    assert isinstance(refused, RefusedError)
    assert refused.refusal.code is Code.VALIDATION
    ids = [accepted(result).cast_id for result in results if isinstance(result, Admitted)]
    assert sorted(ids) == sorted(casts_of(rows, account))
    assert len(ids) == 19


# A session that has committed before names the statement alone; its name stands behind that of a portal, which is none.
COMMITTING = b"\0%s\0" % statement_of(b"COMMIT").name


class Cutter:
    """A TCP proxy before Postgres that breaks the connection at its next COMMIT, before or after passing it on."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self.cut: str | None = None
        self.refuse = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        login = self._target.netloc.rpartition("@")[0]
        return urlunsplit(self._target._replace(netloc=f"{login}@127.0.0.1:{port}"))

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Cutter"]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(asyncio.CancelledError):  # asyncio's server reports a cancelled handler as an error
            async with closing(client_out):
                if not self.refuse:
                    server_in, server_out = await asyncio.open_connection(self._target.hostname, self._target.port)
                    async with closing(server_out):
                        await self._pass_on((client_in, client_out), (server_in, server_out))

    async def _pass_on(self, client: "Stream", server: "Stream") -> None:
        back = asyncio.create_task(pump(server[0], client[1]))
        try:
            while data := await client[0].read(65_536):
                if self.cut is not None and COMMITTING in data:
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                    if self.cut == "after":
                        server[1].write(data)
                        await server[0].read(65_536)  # Postgres has answered: it is committed
                    self.cut = None
                    for other in self._tasks - {asyncio.current_task()} if self.refuse else ():
                        other.cancel()
                    return
                server[1].write(data)
        finally:
            back.cancel()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        target.write(data)


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_in_doubt_is_looked_up(rows: Rows, account: Account, cut: str) -> None:
    caller, request = Caller(account.key_id.hex, 1_000_000), request_of(rows, account)
    async with Cutter(rows.url).serving() as cutter, batcher_on(cutter.url) as batcher:
        accepted(await batcher.submit(request, caller, waits=False))
        cutter.cut = cut
        future = batcher.submit(request, caller, waits=True)
        if cut == "after":
            admitted = await future
            assert accepted(admitted).cast_id in casts_of(rows, account)
            assert admitted.waiter is not None
        else:
            with pytest.raises(RefusedError) as refused:
                await future
            assert refused.value.refusal.code is Code.OVERLOADED
    assert len(casts_of(rows, account)) == (2 if cut == "after" else 1)


async def test_an_outcome_nobody_can_tell_is_503_with_the_ids(
    rows: Rows, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.batcher.IN_DOUBT_S", 0.3)
    caller, request = Caller(account.key_id.hex, 1_000_000), request_of(rows, account)
    async with Cutter(rows.url).serving() as cutter, batcher_on(cutter.url) as batcher:
        accepted(await batcher.submit(request, caller, waits=False))
        cutter.cut, cutter.refuse = "after", True
        with pytest.raises(RefusedError) as refused:
            await batcher.submit(request, caller, waits=False)
    assert refused.value.refusal.code is Code.OUTCOME_UNKNOWN
    assert set(refused.value.refusal.cast_ids) < set(casts_of(rows, account))


async def test_who_waited_too_long_is_dropped_before_a_transaction(rows: Rows, account: Account) -> None:
    """The loop does not run at first: the request grows old in line."""
    now = [0.0]
    metrics, redis = Metrics(), Redis.from_url(DEAD_REDIS_URL)
    async with open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool:
        batcher = Batcher(
            pool,
            limiter=RateLimiter(redis, clock=lambda: now[0], now=lambda: datetime.now(UTC), metrics=metrics),
            wire=Wire(redis, token_key=b"k" * 32, clock=lambda: now[0], metrics=metrics),
            waiting=Waiting(pool, redis, token_key=b"k" * 32, metrics=metrics),
            metrics=metrics,
            clock=lambda: now[0],
        )
        batcher.terms = TERMS
        future = batcher.submit(request_of(rows, account), Caller("k", 10), waits=False)
        now[0] += WAIT_S_MAX + 0.01
        fresh = batcher.submit(request_of(rows, account), Caller("k", 10), waits=False)
        assert await batcher.run_once() == 2
        with pytest.raises(RefusedError) as refused:
            await future
        accepted(await fresh)
    await redis.aclose()
    assert refused.value.refusal.code is Code.OVERLOADED
    assert len(casts_of(rows, account)) == 1


async def test_a_full_batch_behind_one_in_postgres_is_counted_once_and_not_left_behind(
    rows: Rows, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.line.BATCH_REQUESTS_MAX", 3)
    caller, request = Caller(account.key_id.hex, 100), request_of(rows, account)
    async with batcher_on(rows.url, alone=False) as batcher, open_pool(rows.url, role=Role.ENGINE, size_max=1) as pool:
        futures = [batcher.submit(request, caller, waits=False) for _ in range(3)]
        async with transaction(pool) as holding:
            await holding.execute(b"SELECT FROM accounts WHERE id = %s FOR UPDATE", (account.id,))
            admitting = asyncio.create_task(batcher.run_once())
            await asyncio.sleep(LOCK_TIMEOUT_MS / 1000 / 2)  # it waits for the lock
            futures += [batcher.submit(request, caller, waits=False) for _ in range(3)]
        assert await admitting == 3
        await batcher.close()
    assert all(future.done() for future in futures)
    admitted = [future.result() for future in futures]
    assert sorted(one.allowance.remaining for one in admitted) == list(range(94, 100))
    assert sorted(accepted(one).cast_id for one in admitted) == sorted(casts_of(rows, account))


async def test_who_is_over_his_rate_stands_in_no_line(rows: Rows, account: Account) -> None:
    caller, request = Caller(account.key_id.hex, 2), request_of(rows, account)
    other = msgspec.structs.replace(request, casts=request.casts * 2)
    async with batcher_on(rows.url, alone=False) as batcher:
        asked = [batcher.submit(request, caller, waits=False) for _ in range(3)]
        assert await batcher.run_once() == 3
        late = refused(await asked[2])
        at_once = batcher.submit(request, caller, waits=False)
        unlike = batcher.submit(other, caller, waits=False)
        assert at_once.done()
        assert refused(await at_once) == late == (Code.RATE_LIMITED, 30)
        assert (await at_once).allowance.remaining == 0
        assert not unlike.done(), "whether it is a matter of money is not known of this one"
        assert await batcher.run_once() == 1
        assert refused(await unlike) == late
    assert len(casts_of(rows, account)) == 2


async def test_nobody_waits_for_more_of_those_who_are_refused(rows: Rows, account: Account) -> None:
    over, caller, request = Caller("over", 1), Caller(account.key_id.hex, 100), request_of(rows, account)
    async with batcher_on(rows.url, alone=False) as batcher:
        both = [batcher.submit(request, over, waits=False) for _ in range(2)]
        assert await batcher.run_once() == 2
        assert refused(await both[1])[0] is Code.RATE_LIMITED
        admitting = asyncio.create_task(batcher.run_once())
        first = batcher.submit(request, caller, waits=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = batcher.submit(request, caller, waits=False)
        assert await admitting == 1
        assert await batcher.run_once() == 1
        accepted(await first)
        accepted(await second)


async def test_while_redis_is_silent_only_so_many_casts_are_accepted_on_trust(
    rows: Rows, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.wire.UNSENT_MAX", 2)
    caller, request = Caller(account.key_id.hex, 1_000_000), request_of(rows, account)
    async with batcher_on(rows.url) as batcher:
        for _ in range(2):
            accepted(await batcher.submit(request, caller, waits=False))
        verdict = (await batcher.submit(request, caller, waits=False)).verdict
    assert isinstance(verdict, Judged)
    refusal = verdict.results[0]
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.retry_after_s) == (Code.QUEUE_FULL, 1)
    assert len(casts_of(rows, account)) == 2
