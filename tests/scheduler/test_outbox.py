"""The outbox by itself, with a kind made up here: an office that keeps keys as Stripe does, and forgets them."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.outbox import put_out
from domain.model.outbox import (
    BLOCKED_PAUSE,
    KEY_LASTS,
    RETRY_PAUSES,
    TROUBLE_CHARACTERS_MAX,
    Done,
    Finished,
    OutboxKind,
    OutboxRow,
    OutboxStatus,
    Trouble,
    next_attempt_at,
    storable_trouble,
)
from domain.settings import Secret, StripeSettings
from domain.store import outbox as store
from domain.store.connection import Connection, LockTimeoutError, Pool, Role, StoreError, open_pool, transaction
from domain.store.outbox import Intent
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeBusy, StripeFailure, StripeRefused, StripeUnknown
from scheduler.outbox.loop import LEASE, STEPS_MAX, Outbox
from scheduler.outbox.steps import MoneyKind, Step, StepError, end_refused, is_marked, marks
from tests.domain.world import World, make_world

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SETTINGS = StripeSettings(
    secret_key=Secret("sk_test_none"), webhook_secret=Secret("x"), price_pro=None, api_base="http://127.0.0.1:9"
)


class KilledError(BaseException):
    """The process dies here."""


class Cents(msgspec.Struct, frozen=True, kw_only=True):
    cents: int


class Office:
    """Keeps what it made, by key, with what it answered; answers as it is told to."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        """(what, the id of the row it is for)."""
        self.keys: dict[str, StripeFailure | str] = {}
        self.faults: list[Callable[[str], None]] = []
        """The next requests' troubles, in order: each is called with 'before' and with 'after'."""
        self.asked = 0

    def request(self, what: str, row: OutboxRow) -> str:
        self.asked += 1
        fault = self.faults.pop(0) if self.faults else lambda _when: None
        fault("before")
        kept = self.keys.get(row.key)
        if isinstance(kept, StripeFailure):
            raise kept
        if kept is None:
            self.made.append((what, marks(row)["spell_outbox"]))
            self.keys[row.key] = kept = f"{what}-{len(self.made)}"
            try:
                fault("after")
            except StripeUnknown as failure:
                if failure.status == 500:
                    self.keys[row.key] = StripeUnknown("500", status=500, is_replayed=True)
                raise
        return kept

    def find(self, what: str, row: OutboxRow) -> str | None:
        matching = [number for number, made in enumerate(self.made, start=1) if made == (what, str(row.id))]
        return f"{what}-{matching[0]}" if matching else None


def raising(failure: BaseException, when: str) -> Callable[[str], None]:
    def fault(now: str) -> None:
        if now == when:
            raise failure

    return fault


def kinds_of(office: Office, *, looks: bool = True) -> dict[OutboxKind, MoneyKind]:
    """A kind of two steps: a paper is made, then it is signed."""

    def step(what: str, following: str | None) -> Step:
        async def send(_stripe: StripeGateway, row: OutboxRow) -> Done:
            return Done(next=following, known={what: office.request(what, row)})

        async def look(_stripe: StripeGateway, row: OutboxRow) -> Done | None:
            found = office.find(what, row)
            return None if found is None else Done(next=following, known={what: found})

        return Step(send=send, look=look if looks else None)

    async def apply(connection: Connection, finished: Finished, now: datetime) -> None:
        await connection.execute(
            b"INSERT INTO audit_log (id, account_id, at, actor_kind, action, target_kind, target_id)"
            b" VALUES (gen_random_uuid(), %s, %s, 'platform', 'key.create', 'key', %s)",
            (finished.account_id, now, msgspec.json.encode(finished.known).decode()),
        )

    steps = {"paper": step("paper", "sign-1"), "sign": step("sign", None)}
    return {OutboxKind.REFUND: MoneyKind(first="paper", steps=steps, apply=apply, refused=end_refused)}


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=8) as opened:
        yield opened


@pytest.fixture
async def gateway() -> AsyncGenerator[StripeGateway]:
    async with StripeGateway(SETTINGS) as opened:
        yield opened


async def write(pool: Pool, world: World, subject_id: UUID | None = None) -> bool:
    intent = Intent(
        id=uuid4(), account_id=world.account_id, kind=OutboxKind.REFUND, subject_id=subject_id or uuid4(),
        frozen=Cents(cents=7), step="paper",
    )  # fmt: skip
    async with transaction(pool) as connection:
        return await put_out(connection, intent, now=NOW)


async def applied(world: World) -> list[dict[str, str]]:
    rows = await world.rows("SELECT target_id FROM audit_log ORDER BY at, id")
    return [msgspec.json.decode(row[0]) for row in rows]


async def state(world: World) -> tuple[str, str, int, int]:
    return (await world.rows("SELECT status, step, epoch, attempts FROM outbox"))[0]


async def test_a_row_goes_through_its_steps_and_ends_once(world: World, pool: Pool, gateway: StripeGateway) -> None:
    office = Office()
    outbox = Outbox(pool, gateway, kinds_of(office))
    subject = uuid4()
    assert await write(pool, world, subject)
    assert not await write(pool, world, subject), "one intent for each subject"
    assert await outbox.run_once(NOW) == 1
    assert await outbox.run_once(NOW + LEASE * 2) == 0
    assert [what for what, _ in office.made] == ["paper", "sign"]
    assert await applied(world) == [{"paper": "paper-1", "sign": "sign-2"}]
    assert await state(world) == ("done", "sign-1", 0, 1)
    await outbox.measure()


IN_DOUBT = StripeUnknown("no answer in time")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(raising(IN_DOUBT, "after"), id="done and no answer"),
        pytest.param(raising(IN_DOUBT, "before"), id="not done and no answer"),
        pytest.param(raising(StripeUnknown("500", status=500), "after"), id="done and a stored 500"),
        pytest.param(raising(StripeBusy("429", status=429, retry_after_s=7), "before"), id="too many"),
        pytest.param(raising(RuntimeError("a fault of ours"), "before"), id="a fault of ours"),
    ],
)
async def test_whatever_happens_to_a_step_it_is_done_once(
    world: World, pool: Pool, gateway: StripeGateway, failure: Callable[[str], None]
) -> None:
    office = Office()
    outbox = Outbox(pool, gateway, kinds_of(office))
    await write(pool, world)
    office.faults = [failure]
    assert await outbox.run_once(NOW) == 1
    for minutes in range(1, 200, 62):
        await outbox.run_once(NOW + timedelta(minutes=minutes))
    assert [what for what, _ in office.made] == ["paper", "sign"]
    assert len(await applied(world)) == 1
    assert (await state(world))[0] == "done"


async def test_a_stored_500_of_nothing_done_is_answered_under_the_next_epoch(
    world: World, pool: Pool, gateway: StripeGateway
) -> None:
    office = Office()
    outbox = Outbox(pool, gateway, kinds_of(office))
    await write(pool, world)
    (row_id,) = (await world.rows("SELECT id FROM outbox"))[0]
    office.keys[f"{row_id}:paper:0"] = StripeUnknown("500", status=500, is_replayed=True)
    await outbox.run_once(NOW)
    assert (await state(world))[:3] == ("pending", "paper", 0)
    await outbox.run_once(NOW + timedelta(minutes=1))
    assert await state(world) == ("done", "sign-1", 1, 1)
    assert [what for what, _ in office.made] == ["paper", "sign"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_at_a_step_and_found_after_the_key_is_forgotten(
    world: World, pool: Pool, gateway: StripeGateway, when: str
) -> None:
    for killed in (1, 2):
        office = Office()
        await write(pool, world)
        office.faults = [lambda _when: None] * (killed - 1) + [raising(KilledError(), when)]
        with pytest.raises(BaseExceptionGroup):
            await Outbox(pool, gateway, kinds_of(office)).run_once(NOW)
        late = NOW + KEY_LASTS + timedelta(minutes=5)
        office.keys.clear()
        # To the second the key is asked under again; behind it somebody looks first.
        assert await Outbox(pool, gateway, kinds_of(office)).run_once(late) == 1
        assert [what for what, _ in office.made] == ["paper", "sign"]
    assert len(await applied(world)) == 2


async def test_a_key_is_used_again_while_it_lasts_and_not_a_second_longer(
    world: World, pool: Pool, gateway: StripeGateway
) -> None:
    office = Office()
    outbox = Outbox(pool, gateway, kinds_of(office))
    await write(pool, world)
    office.faults = [raising(IN_DOUBT, "before")] * 30
    asked_at = [NOW, NOW + KEY_LASTS - timedelta(minutes=1), NOW + KEY_LASTS + timedelta(hours=2)]
    epochs = []
    for instant in asked_at:
        await outbox.run_once(instant)
        epochs.append((await state(world))[2])
    assert epochs == [0, 0, 1]


async def test_what_is_refused_ends_or_stays_with_its_reason(world: World, pool: Pool, gateway: StripeGateway) -> None:
    office = Office()
    outbox = Outbox(pool, gateway, kinds_of(office))
    await write(pool, world)
    office.faults = [raising(StripeRefused("no such key", status=401, code="api_key_expired"), "before")]
    await outbox.run_once(NOW)
    blocked = await world.rows("SELECT status, is_blocked, trouble, must_look, next_attempt_at FROM outbox")
    assert blocked[0][:4] == ("pending", True, "no such key", True)
    assert NOW + BLOCKED_PAUSE <= blocked[0][4] < NOW + BLOCKED_PAUSE * 2
    office.faults = [raising(StripeRefused("declined", status=402, code="card_declined"), "before")]
    # An operator has mended the key and does not wait for the hour.
    async with transaction(pool) as connection:
        assert await store.rows_now(connection, OutboxKind.REFUND, now=NOW + timedelta(minutes=1)) == 1
    await outbox.run_once(NOW + timedelta(minutes=1))
    assert (await state(world))[:3] == ("refused", "paper", 1)
    assert await applied(world) == [{"code": "card_declined", "reason": "declined"}]
    assert office.made == []


async def test_what_stripe_has_and_the_row_does_not_say_stops_the_row(
    world: World, pool: Pool, gateway: StripeGateway
) -> None:
    office = Office()
    await write(pool, world)
    office.faults = [raising(StepError("the totals differ"), "before")]
    await Outbox(pool, gateway, kinds_of(office)).run_once(NOW)
    async with transaction(pool) as connection:
        standing = await store.standing_read(connection, troubled_attempts=4)
    assert (standing.pending, standing.troubled, standing.oldest) == (1, 1, NOW)


async def test_only_one_of_many_workers_takes_a_row(world: World, pool: Pool, gateway: StripeGateway) -> None:
    office = Office()
    for _ in range(20):
        await write(pool, world)
    start = asyncio.Barrier(4)

    async def work() -> int:
        outbox = Outbox(pool, gateway, kinds_of(office))
        await start.wait()
        taken = 0
        while some := await outbox.run_once(NOW):
            taken += some
        return taken

    assert sum(await asyncio.gather(*(work() for _ in range(4)))) == 20
    assert sorted(what for what, _ in office.made) == ["paper"] * 20 + ["sign"] * 20
    assert len({row for _, row in office.made}) == 20
    assert len(await applied(world)) == 20


async def test_an_answer_that_comes_after_the_lease_changes_nothing(
    world: World, pool: Pool, gateway: StripeGateway
) -> None:
    """Whoever took the row over records; the late one finds that it is not its own any more."""
    office = Office()
    kinds = kinds_of(office)
    second = Outbox(pool, gateway, kinds)
    await write(pool, world)
    overtaken: list[int] = []

    async def slow(stripe: StripeGateway, row: OutboxRow) -> Done:
        done = await kinds[OutboxKind.REFUND].steps["paper"].send(stripe, row)
        overtaken.append(await second.run_once(NOW + LEASE * 2))
        return done

    slow_kind = msgspec.structs.replace(
        kinds[OutboxKind.REFUND],
        steps={**kinds[OutboxKind.REFUND].steps, "paper": Step(send=slow)},
    )
    await Outbox(pool, gateway, {OutboxKind.REFUND: slow_kind}).run_once(NOW)
    assert overtaken == [1]
    assert [what for what, _ in office.made] == ["paper", "sign"]
    assert len(await applied(world)) == 1


async def test_what_cannot_be_recorded_is_found_by_the_next(world: World, pool: Pool, gateway: StripeGateway) -> None:
    office = Office()
    kinds = kinds_of(office)

    async def locked(_connection: Connection, _finished: Finished, _now: datetime) -> None:
        message = "somebody holds the account"
        raise LockTimeoutError(message)

    stuck = {OutboxKind.REFUND: msgspec.structs.replace(kinds[OutboxKind.REFUND], apply=locked)}
    await write(pool, world)
    await Outbox(pool, gateway, stuck).run_once(NOW)
    assert (await state(world))[:2] == ("pending", "sign-1")
    await Outbox(pool, gateway, kinds).run_once(NOW + LEASE * 2)
    assert [what for what, _ in office.made] == ["paper", "sign"]
    assert len(await applied(world)) == 1


async def test_a_row_that_goes_round_in_a_circle_is_left(world: World, pool: Pool, gateway: StripeGateway) -> None:
    office = Office()

    async def again(_stripe: StripeGateway, row: OutboxRow) -> Done:
        office.request("again", row)
        return Done(next="paper")

    circle = MoneyKind(
        first="paper", steps={"paper": Step(send=again)}, apply=kinds_of(office)[OutboxKind.REFUND].apply
    )
    await write(pool, world)
    await Outbox(pool, gateway, {OutboxKind.REFUND: circle}).run_once(NOW)
    assert office.asked == STEPS_MAX


async def test_nobody_changes_what_was_frozen(world: World, pool: Pool) -> None:
    await write(pool, world)
    for column in ("frozen", "account_id", "kind", "subject_id", "created_at"):
        with pytest.raises(StoreError, match="permission denied"):
            async with transaction(pool) as connection:
                await connection.execute(f"UPDATE outbox SET {column} = {column}".encode())  # noqa: S608  # of ours


def test_pauses_grow_to_an_hour_and_there_is_no_last_one() -> None:
    def pause(attempts: int, **fields: object) -> timedelta:
        return next_attempt_at(Trouble(reason="x", **fields), attempts=attempts, now=NOW) - NOW

    pauses = [pause(attempts) for attempts in range(1, 50)]
    assert pauses[:6] == list(RETRY_PAUSES)
    assert set(pauses[6:]) == {timedelta(hours=1)}
    assert pause(1, retry_after_s=90) == timedelta(seconds=90)
    assert pause(6, retry_after_s=90) == timedelta(hours=1)
    assert pause(1, blocks=True) == BLOCKED_PAUSE


def test_a_reason_is_kept_bounded_and_without_what_postgres_refuses() -> None:
    assert storable_trouble("a\0b") == "ab"
    assert len(storable_trouble("x" * math.isqrt(10**8))) == TROUBLE_CHARACTERS_MAX


def test_what_is_made_is_found_by_its_row_alone(world: World) -> None:
    row = OutboxRow(
        id=uuid4(), account_id=world.account_id, kind=OutboxKind.REFUND, subject_id=uuid4(), frozen=msgspec.Raw(b"{}"),
        created_at=NOW, step="paper", epoch=0, known={}, tried_at=NOW, must_look=False, attempts=1, lease_until=NOW,
    )  # fmt: skip
    assert is_marked(marks(row, spell_item="2"), row)
    assert not is_marked(marks(row), msgspec.structs.replace(row, id=uuid4()))
    assert not is_marked({}, row)
    assert {row.key, msgspec.structs.replace(row, epoch=1).key, msgspec.structs.replace(row, step="sign").key} == {
        f"{row.id}:paper:0", f"{row.id}:paper:1", f"{row.id}:sign:0",
    }  # fmt: skip
    assert OutboxStatus("done") is OutboxStatus.DONE
