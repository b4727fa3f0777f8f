"""Every order of reserving, running, settling twice, canceling, expiring, budget changes and month changes, against a
model of a hundred lines. Held is the sum of the open holds after every step, and each verdict is the one due."""

import os
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from domain.flow.cancel import cancel
from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.delete_budget import delete_budget
from domain.flow.expire import expire
from domain.flow.settle import settle, settle_as_read
from domain.flow.update_budget import update_budget
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.budgets import BudgetTerms, window_id
from domain.model.errors import Code, Refusal
from domain.model.jobs import job_of
from domain.model.messages import CastJob, Outcome
from domain.model.periods import Period
from domain.store.connection import SerializationError, brief_transaction, transaction
from tests.domain import fake_clock
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.money_model import ModelBudget, ModelCast, MoneyModel
from tests.domain.setting import Setting
from tests.domain.world import HOLD, TOKEN_KEY, World, admit, make_world

Result = TypeVar("Result")
# `make chaos` raises both: the figure of the long run is 1,000 examples of 50 steps.
EXAMPLES = int(os.environ.get("MONEY_EXAMPLES", "12"))
STEPS = int(os.environ.get("MONEY_STEPS", "25"))
CREATOR_PRICES = (0, 700)
# What the claims of these tests cost: fee, a million fuel, and the creator's price where it is due.
PAID = {Outcome.SUCCEEDED: (1_002, True), Outcome.TRAP: (1_002, False), Outcome.SANDBOX_CRASHED: (0, False)}


class CrashedError(Exception):
    """The process ends here."""


class MoneyMachine(RuleBasedStateMachine):
    setting: Setting
    casts = Bundle("casts")
    budgets = Bundle("budgets")

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()
        self._run(fake_clock.move_to(self.setting.database_url, self.offset))
        self.world: World = self._run(make_world(self.setting.database_url))
        self.model = MoneyModel(account_id=self.world.account_id)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.setting.run(work)

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @rule(target=casts, price=st.sampled_from(CREATOR_PRICES))
    def reserve(self, price: int) -> CastJob | None:
        world = self.world
        (verdict,) = self._run(admit(self.setting.pool, world.request(world.spec(creator_price_micros=price))))
        assert isinstance(verdict, Judged)
        (result,) = verdict.results
        keys = self.model.applying(world.key_id, world.spell_id, self._now())
        if isinstance(result, Refusal):
            assert result.code is Code.BUDGET_EXCEEDED
            assert not self.model.has_room(keys, HOLD + price), "refused though every budget had room"
            return None
        assert isinstance(result, Accepted)
        assert self.model.has_room(keys, HOLD + price), "accepted though a budget had no room"
        accepted_at = datetime.fromtimestamp(result.accepted_ms / 1000, tz=UTC)
        cast = ModelCast(HOLD + price, world.key_id, world.spell_id, accepted_at, set(keys))
        self.model.accept(result.cast_id, cast)
        return job_of(result, TOKEN_KEY)

    @rule(job=casts, outcomes=st.lists(st.sampled_from(sorted(PAID)), min_size=1, max_size=3), together=st.booleans())
    def settle(self, job: CastJob | None, outcomes: list[Outcome], together: bool) -> None:  # noqa: FBT001
        if job is None:
            return
        events = [event_of(job, outcome) for outcome in outcomes]
        for batch in [events] if together else [[event] for event in events]:
            self._run(self._settle(batch))
        cost, pays_creator = PAID[outcomes[0]]
        price = self.model.casts[job.cast_id].hold - HOLD
        self.model.end(job.cast_id, cost + (price if pays_creator else 0))

    async def _settle(self, events: list[Any]) -> None:
        try:
            async with brief_transaction(self.setting.pool) as connection:
                await settle_as_read(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
        except SerializationError:
            async with brief_transaction(self.setting.pool) as connection:
                await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)

    @rule(job=casts)
    def crash_before_commit(self, job: CastJob | None) -> None:
        if job is None:
            return

        async def work() -> None:
            async with transaction(self.setting.pool) as connection:
                await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
                raise CrashedError

        with suppress(CrashedError):
            self._run(work())

    @rule(job=casts)
    def cancel(self, job: CastJob | None) -> None:
        if job is None:
            return

        async def work() -> None:
            async with transaction(self.setting.pool) as connection:
                await cancel(connection, self.world.account_id, [job.cast_id], batch_id=uuid4(), token_key=TOKEN_KEY)

        self._run(work())
        self.model.end(job.cast_id, 0)

    @rule()
    def expire(self) -> None:
        async def work() -> list[UUID]:
            async with transaction(self.setting.pool) as connection:
                closed = await expire(
                    connection, now=self._now() + timedelta(days=1), batch_id=uuid4(), token_key=TOKEN_KEY
                )
            return [ending.cast.id for ending in closed.endings if ending.cast.account_id == self.world.account_id]

        for cast_id in self._run(work()):
            self.model.end(cast_id, 0)
        assert not any(cast.open for cast in self.model.casts.values())

    @rule(
        target=budgets,
        scope=st.sampled_from(["account", "key", "spell"]),
        period=st.sampled_from(list(Period)),
        casts=st.integers(min_value=0, max_value=5),
    )
    def create_budget(self, scope: str, period: Period, casts: int) -> UUID | None:
        world, limit = self.world, casts * HOLD
        subject = {"account": world.account_id, "key": world.key_id, "spell": world.spell_id}[scope]
        if any(b.alive and (b.scope, b.period) == (scope, period) for b in self.model.budgets.values()):
            return None
        new = NewBudget(
            id=uuid4(),
            account_id=world.account_id,
            scope=scope,
            scope_id=subject,
            period=period,
            soft_limit_micros=None,
            hard_limit_micros=limit,
        )

        async def work() -> None:
            async with transaction(self.setting.pool) as connection:
                await create_budget(connection, new, actor=OPERATOR)

        self._run(work())
        self.model.create_budget(new.id, ModelBudget(scope, subject, period, limit), self._now())
        return new.id

    @rule(budget_id=budgets, casts=st.integers(min_value=0, max_value=5))
    def change_limit(self, budget_id: UUID | None, casts: int) -> None:
        if budget_id is None or not self.model.budgets[budget_id].alive:
            return
        limit = casts * HOLD
        terms = BudgetTerms(soft_limit_micros=None, hard_limit_micros=limit, notify=True)

        async def work() -> None:
            async with transaction(self.setting.pool) as connection:
                await update_budget(
                    connection,
                    account_id=self.world.account_id,
                    budget_id=budget_id,
                    terms=terms,
                    may_raise=True,
                    actor=OPERATOR,
                )

        self._run(work())
        self.model.change_limit(budget_id, limit, self._now())

    @rule(budget_id=consumes(budgets))
    def delete_budget(self, budget_id: UUID | None) -> None:
        if budget_id is None or not self.model.budgets[budget_id].alive:
            return

        async def work() -> None:
            async with transaction(self.setting.pool) as connection:
                await delete_budget(
                    connection, account_id=self.world.account_id, budget_id=budget_id, may_raise=True, actor=OPERATOR
                )

        self._run(work())
        self.model.budgets[budget_id].alive = False

    @rule(days=st.sampled_from([1, 7, 31]))
    def let_time_pass(self, days: int) -> None:
        if self.offset + timedelta(days=days) <= timedelta(days=80):  # partitions reach three months ahead
            self.offset += timedelta(days=days)
            self._run(fake_clock.move_to(self.setting.database_url, self.offset))

    @invariant()
    def windows_agree_with_the_model(self) -> None:
        rows = self._run(
            self.world.rows(
                "SELECT id, spent_micros, held_micros FROM budget_windows WHERE account_id = %s", self.world.account_id
            )
        )
        actual = {row[0]: (row[1], row[2]) for row in rows}
        for key, window in self.model.windows.items():
            assert actual.get(window_id(*key), (0, 0)) == (window.spent, window.held), key

    def teardown(self) -> None:
        assert self._run(broken(self.setting.database_url, limits_lowered=True)) == {}


def test_held_is_the_sum_of_open_holds_after_every_step(setting: Setting) -> None:
    machine = type("Machine", (MoneyMachine,), {"setting": setting})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
