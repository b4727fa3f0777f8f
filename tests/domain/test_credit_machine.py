"""Every order of buying, giving, casting, consuming, refunds, disputes, expiry and top-ups, with news that is old and
work that dies: after every step the grants, the ledger and the history say the same, and nothing is below zero."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from domain.flow.apply_order import apply_order
from domain.flow.consume_credits import Consume, consume_credits
from domain.flow.creation import IdempotentCall
from domain.flow.expire_credits import expire_credits
from domain.flow.grant_credits import grant_credits
from domain.flow.order_credits import NewOrder, order_credits
from domain.flow.refund_cast import refund_cast
from domain.flow.refund_order import end_refund, refund_order
from domain.flow.set_auto_top_up import TopUpTerms, set_auto_top_up
from domain.flow.settle import settle
from domain.flow.start_top_up import end_top_up, start_top_up
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.credit_orders import DisputeFacts, Facts
from domain.model.errors import RefusedError
from domain.model.intents import TopupIntent
from domain.model.jobs import job_of
from domain.model.messages import CastJob, Outcome
from domain.model.outbox import Finished, OutboxStatus
from domain.store.connection import Connection, transaction
from domain.store.credit_grants import NewGrant
from tests.domain import fake_clock
from tests.domain.credit_books import CREDIT, PRICE, broken_credits
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.setting import Setting
from tests.domain.world import TOKEN_KEY, World, admit, make_world

Result = TypeVar("Result")
# `make chaos` raises both.
EXAMPLES = int(os.environ.get("MONEY_EXAMPLES", "10"))
STEPS = int(os.environ.get("MONEY_STEPS", "25"))
CENT = 10_000
UNKNOWN = Facts(payment="unpaid")


class KilledError(Exception):
    """The process dies before its COMMIT."""


class CreditMachine(RuleBasedStateMachine):
    setting: Setting
    orders = Bundle("orders")
    casts = Bundle("casts")
    refunds = Bundle("refunds")
    top_ups = Bundle("top_ups")

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()
        self.setting.run(fake_clock.move_to(self.setting.database_url, self.offset))
        self.world: World = self.setting.run(make_world(self.setting.database_url))
        self.truth: dict[UUID, list[Facts]] = {}
        """What Stripe said of each order, the newest last."""
        self._do(
            lambda connection: set_auto_top_up(
                connection,
                account_id=self.world.account_id,
                terms=TopUpTerms(
                    enabled=True, package_id="starter", threshold_micros=5_000_000, monthly_cap_cents=3_000
                ),
                credit_micros=CREDIT,
                actor=OPERATOR,
            )
        )

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def _do(self, work: Callable[[Connection], Awaitable[Result]], *, dies: bool = False) -> Result | None:
        """Do a step in a transaction of its own; what is refused changes nothing."""

        async def whole() -> Result | None:
            async with transaction(self.setting.pool) as connection:
                result = await work(connection)
                if dies:
                    raise KilledError
            return result

        try:
            return self.setting.run(whole())
        except (RefusedError, KilledError):
            return None

    @rule(target=orders)
    def order(self) -> UUID:
        new = NewOrder(id=uuid4(), account_id=self.world.account_id, package_id="starter")
        self._do(lambda conn: order_credits(conn, new, credit_micros=CREDIT, actor=OPERATOR, call=None))
        self.truth[new.id] = [UNKNOWN]
        return new.id

    @rule(order_id=orders, payment=st.sampled_from(["failed", "expired", "paid", "paid"]))
    def pay(self, order_id: UUID, payment: Any) -> None:
        known = self.truth[order_id][-1]
        if known.payment != "paid":
            facts = Facts(
                payment=payment,
                paid_micros=PRICE if payment == "paid" else 0,
                payment_id=f"pi_{order_id}",
                payment_method="pm_1",
                customer="cus_1",
            )
            self.truth[order_id].append(facts)

    @rule(order_id=orders, cents=st.integers(min_value=1, max_value=999))
    def refund_at_stripe(self, order_id: UUID, cents: int) -> None:
        known = self.truth[order_id][-1]
        if known.payment == "paid":
            refunded = min(PRICE, known.refunded_micros + cents * CENT)
            self.truth[order_id].append(msgspec.structs.replace(known, refunded_micros=refunded))

    @rule(order_id=orders, cents=st.integers(min_value=1, max_value=1_100), won=st.booleans())
    def dispute(self, order_id: UUID, cents: int, won: bool) -> None:  # noqa: FBT001
        known = self.truth[order_id][-1]
        if known.payment == "paid":
            before = known.disputes[0].money_micros if known.disputes else cents * CENT
            over = bool(known.disputes and known.disputes[0].won) or won
            disputes = (DisputeFacts(id=f"dp_{order_id}", money_micros=before, won=over),)
            self.truth[order_id].append(msgspec.structs.replace(known, disputes=disputes))

    @rule(order_id=orders, age=st.integers(min_value=0, max_value=3), dies=st.booleans())
    def hear(self, order_id: UUID, age: int, dies: bool) -> None:  # noqa: FBT001
        """An event comes, and what is fetched may be old by the time it is applied."""
        said = self.truth[order_id]
        facts = said[max(0, len(said) - 1 - age)]
        self._do(lambda conn: apply_order(conn, order_id=order_id, facts=facts, now=self._now()), dies=dies)

    @rule(micros=st.integers(min_value=1, max_value=20_000), hours=st.sampled_from([None, 1, 5]), dies=st.booleans())
    def give(self, micros: int, hours: int | None, dies: bool) -> None:  # noqa: FBT001
        expires_at = None if hours is None else self._now() + timedelta(hours=hours)
        grant = NewGrant(
            id=uuid4(), account_id=self.world.account_id, micros=micros, priority=50, expires_at=expires_at
        )
        self._do(lambda conn: grant_credits(conn, grant, actor=OPERATOR, now=self._now()), dies=dies)

    @rule(target=casts)
    def cast(self) -> CastJob | None:
        world = self.world
        (verdict,) = self.setting.run(admit(self.setting.pool, world.request(world.spec(creator_price_micros=700))))
        assert isinstance(verdict, Judged)
        (result,) = verdict.results
        return job_of(result, TOKEN_KEY) if isinstance(result, Accepted) else None

    @rule(job=casts, outcome=st.sampled_from([Outcome.SUCCEEDED, Outcome.TRAP, Outcome.SANDBOX_CRASHED]))
    def settle(self, job: CastJob | None, outcome: Outcome) -> None:
        if job is not None:
            events = [event_of(job, outcome)]
            self._do(lambda conn: settle(conn, events, batch_id=uuid4(), token_key=TOKEN_KEY))

    @rule(job=casts, dies=st.booleans())
    def give_a_cast_back(self, job: CastJob | None, dies: bool) -> None:  # noqa: FBT001
        """The operator refunds a cast; one that is open, was free or was refunded before is refused or left so."""
        if job is not None:
            self._do(
                lambda conn: refund_cast(conn, cast_id=job.cast_id, reason="sorry", actor=OPERATOR, now=self._now()),
                dies=dies,
            )

    @rule(micros=st.integers(min_value=1, max_value=12_000_000), key=st.sampled_from(["a", "b", "c", None]))
    def consume(self, micros: int, key: str | None) -> None:
        wanted = Consume(
            id=uuid4(),
            account_id=self.world.account_id,
            caller_id=self.world.creator_id,
            micros=micros,
            reason="",
            reference=None,
        )
        call = None if key is None else IdempotentCall(key=key, request_hash=str(micros).encode().ljust(32, b"."))
        self._do(lambda conn: consume_credits(conn, wanted, call=call, actor=OPERATOR, now=self._now()))

    @rule(hours=st.integers(min_value=1, max_value=6), dies=st.booleans())
    def time_passes(self, hours: int, dies: bool) -> None:  # noqa: FBT001
        self.offset += timedelta(hours=hours)
        self.setting.run(fake_clock.move_to(self.setting.database_url, self.offset))
        account_id = self.world.account_id
        self._do(lambda conn: expire_credits(conn, account_id=account_id, now=self._now()), dies=dies)

    @rule(target=refunds, order_id=orders, micros=st.one_of(st.none(), st.integers(1, 10_000_000)))
    def refund(self, order_id: UUID, micros: int | None) -> UUID | None:
        refund_id = uuid4()
        done = self._do(
            lambda conn: refund_order(
                conn, order_id=order_id, refund_id=refund_id, credits_micros=micros, actor=OPERATOR, now=self._now()
            )
        )
        return None if done is None else refund_id

    @rule(refund_id=refunds, refused=st.booleans())
    def end_refund(self, refund_id: UUID | None, refused: bool) -> None:  # noqa: FBT001
        if refund_id is not None:
            status = OutboxStatus.REFUSED if refused else OutboxStatus.DONE
            self._do(lambda conn: end_refund(conn, self._finished(refund_id, status, b"{}"), self._now()))

    @rule(target=top_ups, dies=st.booleans())
    def top_up(self, dies: bool) -> UUID | None:  # noqa: FBT001
        order_id = uuid4()
        made = self._do(
            lambda conn: start_top_up(
                conn, account_id=self.world.account_id, order_id=order_id, credit_micros=CREDIT, now=self._now()
            ),
            dies=dies,
        )
        return None if made is None else order_id

    @rule(order_id=top_ups, status=st.sampled_from(list(OutboxStatus)[1:]), said=st.sampled_from(["succeeded", "x"]))
    def end_top_up(self, order_id: UUID | None, status: OutboxStatus, said: str) -> None:
        if order_id is not None:
            intent = TopupIntent(customer_id="cus_1", payment_method_id="pm_1", amount_cents=999, description="")
            known = {"status": said, "payment_intent_id": f"pi_{order_id}"}
            finished = self._finished(order_id, status, msgspec.json.encode(intent), known)
            self._do(lambda conn: end_top_up(conn, finished, self._now()))

    def _finished(
        self, subject_id: UUID, status: OutboxStatus, frozen: bytes, known: dict[str, str] | None = None
    ) -> Finished:
        return Finished(
            id=subject_id,
            account_id=self.world.account_id,
            subject_id=subject_id,
            frozen=msgspec.Raw(frozen),
            known=known or {},
            status=status,
        )

    @invariant()
    def the_books_agree(self) -> None:
        assert self.setting.run(broken_credits(self.setting.database_url)) == {}

    def teardown(self) -> None:
        """Whatever was heard of each order last is heard once more: it ends at the truth."""
        for order_id, said in self.truth.items():
            facts = said[-1]
            found = self._do(
                lambda conn, order_id=order_id, facts=facts: apply_order(
                    conn, order_id=order_id, facts=facts, now=self._now()
                )
            )
            assert found is not None
            assert (found.granted_at is not None) == (facts.payment == "paid")
        assert self.setting.run(broken_credits(self.setting.database_url)) == {}
        assert self.setting.run(broken(self.setting.database_url)) == {}


def test_grants_ledger_and_history_agree_after_every_step(setting: Setting) -> None:
    machine = type("Machine", (CreditMachine,), {"setting": setting})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
