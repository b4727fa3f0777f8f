"""The worker: takes casts from its pool's stream, runs each in a jailed child, and says what happened.

`python -m workers.cast`. One child per thread. Nothing is decided here about money: the usage event is a claim.
"""

import base64
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, cast
from uuid import UUID

import dramatiq
import msgspec
from dramatiq.middleware import CurrentMessage, Retries

from domain.model.limits import INLINE_BYTES_MAX
from domain.model.messages import MESSAGE_VERSION, CastJob, Outcome, UsageEvent
from domain.settings import WorkerSettings
from gateways import process
from gateways.collector import collect_rarely
from gateways.metrics import Counter, Histogram
from workers.ahead import BatchAhead, UsualTimes
from workers.artifacts import ArtifactCache, ArtifactUnavailableError
from workers.broker import MsgpackEncoder, StreamsBroker
from workers.broker.entries import AnyMessage, StreamMessage
from workers.executor.parent import Executor, ExecutorConfig, ExecutorFacts, ExecutorStartError
from workers.executor.protocol import ExecuteRequest, ExecuteResult, JailMode

log: Final = logging.getLogger("spell.worker")

# A lost child or an artifact that cannot be had is tried again, twice, within a few seconds; then it is the cast's end.
RETRIES_MAX: Final = 2
BACKOFF_MS_MIN: Final = 100
BACKOFF_MS_MAX: Final = 1_500
# A job of a newer version waits this long for a newer worker, then looks again.
NEWER_DELAY_MS: Final = 1_000
# The api's and the worker's clocks differ; the ledger checks this claim by Postgres' clock.
DEADLINE_MARGIN_MS: Final = 2_000
# A cast that takes longer than this says that it runs.
STARTED_AFTER_S: Final = 0.1
STARTED_CHECK_S: Final = 0.05
STOP_TIMEOUT_MS: Final = 310_000  # the longest wall limit and its kill

CASTS: Final = Counter("spell_cast_total", "Casts this process ended, by outcome.", ["pool", "outcome"])
FAILED: Final = Counter("spell_cast_failed_total", "Casts that did not succeed.", ["pool", "outcome"])
DURATION: Final = Histogram(
    "spell_cast_duration_seconds",
    "Wall time of a cast in the executor.",
    ["pool"],
    buckets=(0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)

_TRIED_AGAIN: Final = frozenset({Outcome.SANDBOX_CRASHED, Outcome.PLATFORM_ERROR})
_LOST_OUTCOMES: Final[Mapping[str, Outcome]] = {"poison": Outcome.POISON, "canceled": Outcome.CANCELED}
_LOST_MESSAGES: Final[Mapping[str, str]] = {
    "poison": "The cast killed what ran it too often and was given up.",
    "canceled": "The cast was canceled before it ran.",
}


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    v: int


class WorkerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says about itself with each heartbeat; `/readyz` shows it."""

    pool: str
    slots: int
    executor: ExecutorFacts


class TryAgainError(Exception):
    """The cast was not run to an end, and the machine may be to blame: Dramatiq brings it again a little later."""


class ExpectedTroubleFilter(logging.Filter):
    """Drops Dramatiq's report of an exception that means "bring it again": the worker said so itself, in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is worth a line."""
        return not (record.exc_info and isinstance(record.exc_info[1], TryAgainError))


class ExecutorPerThread(dramatiq.Middleware):
    """Brings the child of each worker thread up before its first cast, so that no caller waits for that."""

    def __init__(self, boot: Callable[[], object]) -> None:
        self._boot = boot

    def after_worker_thread_boot(self, broker: dramatiq.Broker, thread: threading.Thread) -> None:  # noqa: ARG002  Dramatiq's signature
        """Run in the new thread."""
        self._boot()


_decode_job: Final = msgspec.msgpack.Decoder(CastJob).decode
_decode_version: Final = msgspec.msgpack.Decoder(_Versioned).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def lost_event(message: AnyMessage, reason: str) -> bytes:
    """Return the usage event of a message that ended without a report."""
    job = _decode_job(_body(message.args))
    event = UsageEvent(
        cast_id=job.cast_id,
        token=job.token,
        outcome=_LOST_OUTCOMES.get(reason, Outcome.PLATFORM_ERROR),
        message=_LOST_MESSAGES.get(reason, "The platform could not run this cast."),
        traceparent=job.traceparent,
    )
    return _encode(event)


def _body(args: object) -> bytes:
    (body,) = cast("tuple[object, ...]", args)
    assert isinstance(body, bytes), "the actor's one argument is an encoded job"
    return body


class _Running(msgspec.Struct, kw_only=True):
    """A cast that is in a child now."""

    message: StreamMessage
    job: CastJob
    since: float
    started_ms: int
    said: bool = False


class _Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one worker thread."""

    executor: Executor
    ahead: BatchAhead


class CastWorker:
    """Runs casts. `run` is called by Dramatiq's threads, each of which gets an executor child of its own."""

    def __init__(
        self, settings: WorkerSettings, config: ExecutorConfig, facts: ExecutorFacts, artifacts: ArtifactCache
    ) -> None:
        self._settings: Final = settings
        self._config: Final = config
        self._artifacts: Final = artifacts
        self._local: Final = threading.local()
        self._executors: Final[list[Executor]] = []
        self._running: Final[dict[str, _Running]] = {}
        """By the id of the message, which is the cast's: a UUID is hashed in Python."""
        self._name: Final = f"{os.uname().nodename}:{os.getpid()}"
        self._usual: Final = UsualTimes()
        self._casts: Final[dict[Outcome, Counter]] = {}
        self._duration: Final = DURATION.labels(settings.pool.value)
        said = msgspec.json.encode(WorkerFacts(pool=settings.pool, slots=settings.worker_threads, executor=facts))
        self.broker: Final = StreamsBroker(
            settings.redis_url.reveal(),
            middleware=[
                CurrentMessage(),
                ExecutorPerThread(self.boot_thread),
                Retries(max_retries=RETRIES_MAX, min_backoff=BACKOFF_MS_MIN, max_backoff=BACKOFF_MS_MAX),
            ],
            metered={settings.pool.value: lost_event},
            on_cancel=self.cancel,
            facts=lambda: said,
        )

    def boot_thread(self) -> None:
        """Bring this thread's child up."""
        self._slot().executor.start()

    def cancel(self, cast_id: UUID) -> None:
        """Kill the child that runs this cast, if one does."""
        for executor in list(self._executors):
            executor.kill(cast_id)

    def close(self) -> None:
        """End all children."""
        for executor in self._executors:
            executor.close()

    def run(self, body: bytes) -> None:
        """Run one cast to its end and report it; raises to be tried again."""
        message = CurrentMessage.get_current_message()  # pyright: ignore[reportUnknownMemberType] Dramatiq leaves the result type open
        assert isinstance(message, StreamMessage), "the broker hands out its own proxies"
        slot = self._slot()
        job = slot.ahead.job(message)
        if job is None:
            if _decode_version(body).v > MESSAGE_VERSION:
                self.broker.enqueue(message, delay=NEWER_DELAY_MS)
                return
            job = _decode_job(body)
        attempts = int(message.options.get("retries", 0)) + 1
        started_ms = _now_ms()
        if started_ms > job.deadline_ms + DEADLINE_MARGIN_MS:
            result, started_ms = ExecuteResult(outcome=Outcome.DEADLINE_PASSED), 0
        else:
            result = self._execute(slot.executor, message, job, started_ms)
        if result.outcome in _TRIED_AGAIN:
            said = {"cast_id": job.cast_id, "attempt": attempts, "outcome": result.outcome, "reason": result.message}
            log.warning("cast not run to an end", extra=said)
            if attempts <= RETRIES_MAX:
                raise TryAgainError(result.message)
        if result.outcome is Outcome.SANDBOX_CRASHED:
            self._count(Outcome.POISON, result.wall_us)
            self.broker.bury(message, "poison")
            return
        self._report(message, job, result, started_ms, attempts)

    def _execute(self, executor: Executor, message: StreamMessage, job: CastJob, started_ms: int) -> ExecuteResult:
        stdin = job.input if job.input is not None else self.broker.load_input(message)
        if stdin is None:
            return ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message="The input was lost on its way to the worker.")
        try:
            self._artifacts.path(job.digest)
        except ArtifactUnavailableError as error:
            return ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message=str(error))
        request = ExecuteRequest(cast_id=job.cast_id, digest=job.digest, limits=job.limits, input=stdin)
        running = _Running(message=message, job=job, since=time.monotonic(), started_ms=started_ms)
        self._running[message.message_id] = running
        try:
            result = executor.run(request)
        finally:
            self._running.pop(message.message_id, None)
        self._usual.note(job.digest, result.cpu_us or result.wall_us)
        if result.outcome is Outcome.PLATFORM_ERROR:
            self._artifacts.forget(job.digest)  # it may be the file on this disk; the next attempt fetches it anew
        return result

    def _slot(self) -> _Slot:
        """Return this thread's slot; its child lives as long as the thread that started it."""
        slot: _Slot | None = getattr(self._local, "slot", None)
        if slot is None:
            ahead = BatchAhead(self.broker, self._usual)
            slot = self._local.slot = _Slot(executor=Executor(self._config, ahead), ahead=ahead)
            self._executors.append(slot.executor)
        return slot

    def _report(
        self, message: StreamMessage, job: CastJob, result: ExecuteResult, started_ms: int, attempts: int
    ) -> None:
        beside = len(result.output) > INLINE_BYTES_MAX
        event = UsageEvent(
            cast_id=job.cast_id,
            token=job.token,
            outcome=result.outcome,
            exit_code=result.exit_code,
            fuel=result.fuel,
            units=result.units,
            cpu_us=result.cpu_us,
            memory_bytes_peak=result.memory_bytes_peak,
            wall_us=result.wall_us,
            started_ms=started_ms,
            finished_ms=_now_ms(),
            output=None if beside else result.output,
            output_beside=beside,
            log=result.log,
            message=result.message,
            attempts=attempts,
            worker=self._name,
            traceparent=job.traceparent,
        )
        self.broker.report(message, _encode(event), result.output if beside else None)
        self._count(result.outcome, result.wall_us)

    def _count(self, outcome: Outcome, wall_us: int) -> None:
        casts = self._casts.get(outcome)
        if casts is None:  # looking a series up costs three times what counting does
            casts = self._casts[outcome] = CASTS.labels(self._settings.pool.value, outcome.value)
        casts.inc()
        if outcome is not Outcome.SUCCEEDED:
            FAILED.labels(self._settings.pool.value, outcome.value).inc()
        self._duration.observe(wall_us / 1_000_000)

    def say_started_once(self, now: float) -> int:
        """Send a started event for each cast that has been running since STARTED_AFTER_S before `now`, once."""
        due = [one for one in list(self._running.values()) if not one.said and now - one.since >= STARTED_AFTER_S]
        for one in due:
            one.said = True
            event = UsageEvent(
                cast_id=one.job.cast_id, token=one.job.token, outcome=None, started_ms=one.started_ms, worker=self._name
            )
            self.broker.progress(one.message, _encode(event))
        return len(due)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _executor_config(settings: WorkerSettings) -> ExecutorConfig:
    return ExecutorConfig(
        artifact_folder=Path(settings.artifact_cache_dir),
        verify_key=base64.b64encode(settings.artifact_verify_key.reveal()).decode(),
        jail=JailMode.REQUIRED if settings.jail == "required" else JailMode.AUTO,
    )


def _probe(config: ExecutorConfig) -> ExecutorFacts:
    """Bring one child up and down again: a worker that cannot run casts does not start."""
    executor = Executor(config)
    try:
        return executor.start()
    finally:
        executor.close()


def _make(settings: WorkerSettings) -> CastWorker:
    config = _executor_config(settings)
    config.artifact_folder.mkdir(parents=True, exist_ok=True)
    facts = _probe(config)
    artifacts = ArtifactCache(
        folder=config.artifact_folder,
        base_url=settings.artifact_url,
        token=settings.worker_token.reveal(),
        verify_key=config.verify_key,
        engine_key=facts.engine_key,
    )
    log.info("executor is ready", extra={"engine": facts.engine_key, "jail": [layer.name for layer in facts.jail]})
    return CastWorker(settings, config, facts, artifacts)


def serve(settings: WorkerSettings, stop: threading.Event) -> None:
    """Run casts until `stop` is set: then finish what runs, give back what waits, and return."""
    dramatiq.set_encoder(MsgpackEncoder())
    worker = _make(settings)
    pool = settings.pool.value
    actor = dramatiq.Actor(worker.run, broker=worker.broker, actor_name="cast", queue_name=pool, priority=0, options={})
    # At debug it logs its arguments: what a caller sent, and the token that settles the cast.
    actor.logger.setLevel(logging.INFO)
    engine = dramatiq.Worker(worker.broker, queues={pool}, worker_threads=settings.worker_threads)
    collect_rarely()
    engine.start()
    log.info("worker runs", extra={"pool": pool, "threads": settings.worker_threads})
    while not stop.wait(STARTED_CHECK_S):
        worker.say_started_once(time.monotonic())
    log.info("worker drains")
    engine.stop(timeout=STOP_TIMEOUT_MS)
    worker.broker.close()
    worker.close()


def main() -> int:
    """Run the worker process until SIGTERM or SIGINT."""
    settings = process.begin(WorkerSettings)
    for handler in logging.getLogger().handlers:
        handler.addFilter(ExpectedTroubleFilter())
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, on_signal)
    try:
        serve(settings, stop)
    except ExecutorStartError as error:
        sys.stderr.write(f"no sandbox comes up on this machine: {error}; `spell doctor` says what it lacks\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
