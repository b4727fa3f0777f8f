"""A budget's soft limit: each share is told once a period, by webhook and mail, whoever settles and however often."""

import asyncio
from uuid import UUID, uuid4

import msgspec

from domain.flow.follow_events import LAST, events_since
from domain.flow.settle import settle
from domain.model.messages import CastJob, Outcome
from domain.model.periods import Period
from domain.store.connection import LockTimeoutError, Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.receivers import give_mail, start_following, subscribe, told
from tests.domain.world import TOKEN_KEY, World

COST = 1_002  # of a cast that succeeded
MAIL = "ada@example.com"
SETTLERS = 5  # so that no one settles an event twice by itself


async def soft_budget(world: World, soft_micros: int | None, *, notify: bool = True, scope: str = "account") -> UUID:
    budget_id = await world.add_budget(10**9, scope=scope, scope_id=world.key_id if scope == "key" else None)
    await set_soft(world, budget_id, soft_micros, notify=notify)
    return budget_id


async def set_soft(world: World, budget_id: UUID, soft_micros: int | None, *, notify: bool = True) -> None:
    query = "UPDATE budgets SET soft_limit_micros = %s, notify = %s WHERE id = %s"
    await world.rows(query, soft_micros, notify, budget_id)


async def run(pool: Pool, *jobs: CastJob, outcome: Outcome = Outcome.SUCCEEDED) -> None:
    async with transaction(pool) as connection:
        events = [event_of(job, outcome) for job in jobs]
        await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def run_patiently(pool: Pool, *jobs: CastJob) -> None:
    """Settle one by one, as often as the account is held by another for longer than a batch waits."""
    for job in jobs:
        while True:
            try:
                await run(pool, job)
                break
            except LockTimeoutError:
                continue


async def percents(world: World, kind: str = "webhook") -> list[int]:
    """Return the shares told, in order."""
    rows = sorted((row for row in await told(world) if row.kind == kind), key=lambda row: row.created_at)
    assert {row.event_type for row in rows} <= {"budget.threshold_reached"}
    return [row.payload["percent"] if kind == "webhook" else int(row.payload["subject"].split()[2]) for row in rows]


async def test_each_share_is_told_once_by_webhook_and_mail(world: World, pool: Pool) -> None:
    endpoint = await subscribe(pool, world.account_id, "budget.*")
    await give_mail(world, world.account_id, MAIL)
    budget = await soft_budget(world, 10 * COST)
    jobs = await accept(world, pool, *[world.spec()] * 12)
    for number, job in enumerate(jobs, start=1):
        await run(pool, job)
        await run(pool, job)  # its usage event came again
        expected = [percent for percent, at in ((50, 5), (80, 8), (100, 10)) if number >= at]
        assert (await percents(world), await percents(world, "mail")) == (expected, expected)
    row = next(row for row in await told(world) if row.kind == "webhook")
    assert (row.endpoint_id, row.status) == (endpoint, "pending")
    assert row.payload is not None
    assert {name: row.payload[name] for name in ("budget_id", "scope", "scope_id", "period", "spent_micros")} == {
        "budget_id": str(budget),
        "scope": "account",
        "scope_id": str(world.account_id),
        "period": "monthly",
        "spent_micros": 5 * COST,
    }
    assert (row.payload["soft_limit_micros"], row.payload["held_micros"]) == (10 * COST, 7 * 2_500)
    mail = next(row for row in await told(world) if row.kind == "mail")
    assert (mail.target, mail.endpoint_id) == (MAIL, None)
    assert len({row.event_id for row in await told(world)}) == 3


async def test_of_several_passed_at_once_the_highest_is_told(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await soft_budget(world, 4 * COST)
    first, *others = await accept(world, pool, *[world.spec()] * 6)
    await run(pool, first)
    assert await percents(world) == []
    await run(pool, *others)
    assert await percents(world) == [100]
    await run(pool, *await accept(world, pool, world.spec()))
    assert await percents(world) == [100]


async def test_a_share_is_told_by_a_cast_that_costs_what_was_spent_before(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await soft_budget(world, 3 * COST)
    first, second = await accept(world, pool, *[world.spec()] * 2)
    await run(pool, first)
    assert await percents(world) == []
    await run(pool, second)
    assert await percents(world) == [50]


async def test_a_raised_limit_does_not_repeat_and_a_lowered_one_is_told(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    budget = await soft_budget(world, 2 * COST)
    jobs = await accept(world, pool, *[world.spec()] * 8)
    await run(pool, jobs[0])
    assert await percents(world) == [50]
    await set_soft(world, budget, 8 * COST)
    for job in jobs[1:4]:
        await run(pool, job)
    assert await percents(world) == [50]  # half of the new limit, told before
    await set_soft(world, budget, 5 * COST)
    await run(pool, jobs[4])
    assert await percents(world) == [50, 100]
    await set_soft(world, budget, 10**6)
    await run(pool, jobs[5])
    await set_soft(world, budget, COST)
    await run(pool, jobs[6])
    assert await percents(world) == [50, 100]


async def test_a_new_period_tells_anew(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await soft_budget(world, COST)
    (job,) = await accept(world, pool, world.spec())
    await run(pool, job)
    # What was a window of this month is one of the month before, so the next cast begins a new one.
    await world.rows("UPDATE casts SET window_ids = '{}'")
    await world.rows("UPDATE budget_windows SET id = %s, starts_on = starts_on - interval '1 month'", uuid4())
    (job,) = await accept(world, pool, world.spec())
    await run(pool, job)
    assert await percents(world) == [100, 100]


async def test_nobody_is_told_without_a_soft_limit_or_a_wish_or_a_cost(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await give_mail(world, world.account_id, MAIL)
    account = await soft_budget(world, None)
    key = await soft_budget(world, 1, scope="key", notify=False)
    free, *jobs = await accept(world, pool, *[world.spec()] * 4)
    await run(pool, jobs[0])
    await set_soft(world, account, 0)
    await run(pool, free, outcome=Outcome.PLATFORM_ERROR)
    # 0 spent of 0 would be nothing to tell of, but the account has spent something by now.
    assert await percents(world) == [100]
    await set_soft(world, key, 1)
    await world.rows("UPDATE budgets SET deleted_at = now() WHERE id = %s", key)
    await run(pool, jobs[1])
    assert await percents(world) == [100]


async def test_every_budget_that_applies_tells_for_itself(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await soft_budget(world, COST)
    await soft_budget(world, 2 * COST, scope="key")
    daily = await world.add_budget(10**9, period=Period.DAILY)
    await set_soft(world, daily, 100 * COST)
    await run(pool, *await accept(world, pool, world.spec()))
    assert sorted(await percents(world)) == [50, 100]


async def test_batches_that_settle_at_once_tell_each_share_once(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    await give_mail(world, world.account_id, MAIL)
    await soft_budget(world, 20 * COST)
    jobs = await accept(world, pool, *[world.spec()] * 24)
    twice = [*jobs, *jobs]
    await asyncio.gather(*(run_patiently(pool, *twice[number::SETTLERS]) for number in range(SETTLERS)))
    found = await percents(world)
    assert found == sorted(set(found))
    assert found[-1] == 100
    assert await percents(world, "mail") == found
    assert found == [50, 80, 100]  # one cast at a time: none of the three is jumped over
    assert await world.rows("SELECT notified_percent, spent_micros FROM budget_windows") == [(100, 24 * COST)]


async def test_who_follows_reads_what_the_event_says(world: World, pool: Pool) -> None:
    following = await start_following(pool, world.account_id)
    budget = await soft_budget(world, COST)
    await run(pool, *await accept(world, pool, world.spec()))
    async with transaction(pool) as connection:
        after = (following.since, LAST)
        found = await events_since(connection, account_id=world.account_id, after=after, casts_url="https://spells")
    bodies = {event.event_type: body for event, body in found}
    said = msgspec.json.decode(bodies["budget.threshold_reached"] or b"")
    assert (said["data"]["budget_id"], said["data"]["percent"]) == (str(budget), 100)


async def test_the_mail_says_how_it_stands_and_how_to_change_it(world: World, pool: Pool) -> None:
    await give_mail(world, world.account_id, MAIL)
    budget = await soft_budget(world, COST)
    await run(pool, *await accept(world, pool, world.spec()))
    (mail,) = await told(world)
    letter = msgspec.convert(mail.payload, dict[str, str])
    assert letter["subject"] == "Budget at 100 %: $0.001002 of $0.001002"
    assert str(budget) in letter["text"]
    assert "hard limit, $1,000.00" in letter["text"]
