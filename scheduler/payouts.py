"""Monthly payouts at work: runs are started, every creator in them is looked at, and what is owed is frozen.

Stripe is not asked here: what is frozen stands in the outbox, which does.
"""

import logging
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from domain.flow.freeze_payout import freeze_payout
from domain.flow.payout_run import finish_payouts, start_payouts
from domain.model.invoicing import dollars, last_month
from domain.model.payouts import is_due
from domain.store import payout_runs as store
from domain.store.connection import LockTimeoutError, Pool, StoreError, UnavailableError, transaction
from domain.store.payout_runs import PayoutRun
from gateways.metrics import Counter
from scheduler.jobs import Clockwork

log: Final = logging.getLogger("spell.payouts")

# A statement sums up what so many are owed: a read of an index each.
ACCOUNTS_LISTED_MAX: Final = 500
# One call's work: a few milliseconds each, less than a slot's lease takes.
ACCOUNTS_PER_RUN_MAX: Final = 500
TROUBLE_PAUSE: Final = timedelta(minutes=1)
# Somebody else holds the account for a moment.
BUSY_PAUSE: Final = timedelta(seconds=1)
FIRST: Final = UUID(int=0)

FROZEN: Final = Counter("spell_payout_accounts_total", "Creators that runs of payouts looked at.", ["outcome"])


async def pay_out(clockwork: Clockwork, now: datetime) -> str:
    """Start the run of the month that is over, once its day has come, and go on with those that are not finished."""
    if not clockwork.billing:
        return "billing is off: no keys of Stripe"
    if is_due(now):
        due = last_month(now)
        async with transaction(clockwork.pool) as connection:
            missing = await store.run_get(connection, due) is None
        if missing:
            await start(clockwork.pool, due, now)
    return f"{await go_on(clockwork.slow_pool, now)} creators looked at"


async def start(pool: Pool, period: date, now: datetime) -> None:
    """Start the run of a month that is over, or start it again; `go_on` does it."""
    async with transaction(pool) as connection:
        await start_payouts(connection, period=period, run_id=uuid4(), now=now)


async def go_on(pool: Pool, now: datetime) -> int:
    """Do a piece of each run that is not finished; return how many creators were looked at."""
    async with transaction(pool) as connection:
        runs = await store.runs_open(connection)
    looked = 0
    for run in runs:
        if run.listed_at is None:
            await _list(pool, run, now)
        looked += await _look(pool, run, now)
        async with transaction(pool) as connection:
            finished = await finish_payouts(connection, run, now=now)
        if finished is not None:
            log.info(
                "Monthly payouts completed: %d successful (%s), %d errors, %d skipped",
                *(finished.successful, dollars(finished.paid_cents), finished.errors, finished.skipped),
            )
    return looked


async def _list(pool: Pool, run: PayoutRun, now: datetime) -> None:
    """Find out whom a run that was just started looks at."""
    log.info("Starting monthly payouts for %s", f"{run.period:%Y-%m}")
    after: UUID | None = FIRST
    while after is not None:
        async with transaction(pool) as connection:
            owed, after = await store.accounts_owed(connection, after=after, limit=ACCOUNTS_LISTED_MAX)
            await store.accounts_insert(connection, run, owed, now=now)
    async with transaction(pool) as connection:
        if await store.run_listed(connection, run, now=now):
            summary = await store.summary_read(connection, run)
            log.info("Found %d creators who are owed something", summary.creators)


async def _look(pool: Pool, run: PayoutRun, now: datetime) -> int:
    """Freeze what is due; one creator's failure stops no other."""
    async with transaction(pool) as connection:
        due = await store.accounts_due(connection, run, now=now, limit=ACCOUNTS_PER_RUN_MAX)
    for account_id in due:
        try:
            async with transaction(pool) as connection:
                judged = await freeze_payout(connection, run, account_id=account_id, payout_id=uuid4(), now=now)
        except LockTimeoutError:
            await _delay(pool, run, account_id, now + BUSY_PAUSE, None)
        except UnavailableError:
            raise  # nobody's account is at fault: the whole piece is tried again
        except StoreError as error:
            log.error("Failed to pay creator %s: %s", account_id, error)  # noqa: TRY400  # the reason tells it
            await _delay(pool, run, account_id, now + TROUBLE_PAUSE, str(error))
        else:
            FROZEN.labels(judged.outcome).inc()
            if judged.outcome in {"no_account", "account_disabled", "suspended"}:
                log.warning("Skipped creator %s: %s", account_id, judged.outcome)
    return len(due)


async def _delay(pool: Pool, run: PayoutRun, account_id: UUID, look_at: datetime, trouble: str | None) -> None:
    async with transaction(pool) as connection:
        await store.account_delay(connection, run, account_id, look_at=look_at, trouble=trouble)
