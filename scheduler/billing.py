"""Monthly billing at work: runs are started, everybody in them is looked at, and the base product's lines are logged.

Stripe is not asked here: what is frozen stands in the outbox, which does.
"""

import logging
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from domain.flow.billing_run import finish_run, start_run
from domain.flow.freeze_invoice import freeze_invoice
from domain.model.invoicing import last_month
from domain.model.periods import next_month
from domain.store import billing_runs as store
from domain.store.billing_runs import Run
from domain.store.connection import LockTimeoutError, Pool, StoreError, UnavailableError, transaction
from gateways.metrics import Counter
from scheduler.jobs import Clockwork

# Operators search for these lines; the base product wrote them, word for word.
log: Final = logging.getLogger("spell.billing")

# Sums of ten thousand accounts take some seconds: a statement reads this many at a time.
ACCOUNTS_LISTED_MAX: Final = 500
# One call's work: a few milliseconds each, less than a slot's lease takes.
ACCOUNTS_PER_RUN_MAX: Final = 500
TROUBLE_PAUSE: Final = timedelta(minutes=1)
# Somebody else holds the account for a moment.
BUSY_PAUSE: Final = timedelta(seconds=1)
_FIRST: Final = UUID(int=0)

FROZEN: Final = Counter("spell_billing_accounts_total", "Accounts that runs of billing looked at.", ["outcome"])


async def bill(clockwork: Clockwork, now: datetime) -> str:
    """Start the run of the month that is over, unless there is one, and go on with those that are not finished."""
    if not clockwork.billing:
        return "billing is off: no keys of Stripe"
    async with transaction(clockwork.pool) as connection:
        due = last_month(now)
        missing = await store.run_get(connection, due) is None
    if missing:
        await start(clockwork.pool, due, now)
    return f"{await go_on(clockwork.slow_pool, now)} accounts looked at"


async def start(pool: Pool, period: date, now: datetime) -> None:
    """Start the run of a month that is over, or start it again; `go_on` does it."""
    async with transaction(pool) as connection:
        await start_run(connection, period=period, run_id=uuid4(), now=now)


async def go_on(pool: Pool, now: datetime) -> int:
    """Do a piece of each run that is not finished; return how many accounts were looked at."""
    async with transaction(pool) as connection:
        runs = await store.runs_open(connection)
    looked = 0
    for run in runs:
        if run.listed_at is None:
            await _list(pool, run, now)
        looked += await _look(pool, run, now)
        async with transaction(pool) as connection:
            finished = await finish_run(connection, run, now=now)
        if finished is not None:
            log.info("Monthly billing completed: %d successful, %d errors", finished.successful, finished.errors)
    return looked


async def _list(pool: Pool, run: Run, now: datetime) -> None:
    """Find out whom a run that was just started looks at."""
    log.info("Starting monthly billing process")
    last = next_month(run.period) - timedelta(days=1)
    log.info("Processing billing for period: %s to %s", run.period.isoformat(), last.isoformat())
    after: UUID | None = _FIRST
    while after is not None:
        async with transaction(pool) as connection:
            owing, after = await store.accounts_owing(
                connection, period=run.period, after=after, limit=ACCOUNTS_LISTED_MAX
            )
            await store.accounts_insert(connection, run, owing, now=now)
    async with transaction(pool) as connection:
        if await store.run_listed(connection, run, now=now):
            summary = await store.summary_read(connection, run)
            log.info("Found %d users with usage", summary.users)


async def _look(pool: Pool, run: Run, now: datetime) -> int:
    """Freeze what is due; one account's failure stops no other."""
    async with transaction(pool) as connection:
        due = await store.accounts_due(connection, run, now=now, limit=ACCOUNTS_PER_RUN_MAX)
    for account_id in due:
        try:
            async with transaction(pool) as connection:
                frozen = await freeze_invoice(connection, run, account_id=account_id, invoice_id=uuid4(), now=now)
        except LockTimeoutError:
            await _wait(pool, run, account_id, now + BUSY_PAUSE, None)
        except UnavailableError:
            raise  # nobody's account is at fault: the whole piece is tried again
        except StoreError as error:
            log.error("Failed to bill user %s: %s", account_id, error)  # noqa: TRY400  # the reason tells it
            await _wait(pool, run, account_id, now + TROUBLE_PAUSE, str(error))
        else:
            FROZEN.labels(frozen.outcome).inc()
            if frozen.outcome in {"no_customer", "billing_off"}:
                log.warning("Skipped user %s: %s", account_id, frozen.outcome)
    return len(due)


async def _wait(pool: Pool, run: Run, account_id: UUID, look_at: datetime, trouble: str | None) -> None:
    async with transaction(pool) as connection:
        await store.account_note(connection, run, account_id, "waiting", look_at=look_at, trouble=trouble)
