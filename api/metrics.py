"""What Prometheus may ask of this process. Counters are raised once a batch, not once a request, where that is hot."""

from collections.abc import Callable
from typing import Final

from gateways.metrics import SHARED_FOLDER, CollectorRegistry, Counter, Gauge, Histogram, exposition

# From a wake-up on an idle machine to the longest wait a caller may ask for.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One registry a process. Names without labels are exact; `reason` and `code` are stable error codes.

    Where processes share a folder, gauges of a process are summed over the living, and gauges of the platform are
    those that were read last.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=False)
        self.casts = Counter("spell_cast_total", "Casts accepted by this api process", registry=registry)
        self.casts_failed = Counter(
            "spell_cast_failed_total", "Cast requests refused by this api process", ["reason"], registry=registry
        )
        self.cast_seconds = Histogram(
            "spell_cast_duration_seconds",
            "Time a POST for a cast took to answer, waiting for its result included",
            buckets=_SECONDS,
            registry=registry,
        )
        self.rate_limited = Counter("spell_rate_limited_total", "Requests answered 429", registry=registry)
        self.budget_blocked = Counter("spell_budget_blocked_total", "Cast requests answered 402", registry=registry)
        self.stripe_webhooks = Counter(
            "spell_stripe_webhook_total", "Stripe webhooks received", ["type", "outcome"], registry=registry
        )
        self.db_pool_in_use = Gauge(
            "spell_db_pool_in_use",
            "Postgres connections in use",
            ["role"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.redis_errors = Counter(
            "spell_redis_errors_total", "Redis calls that failed or took too long", registry=registry
        )
        self.requests = Counter(
            "spell_http_requests_total", "Requests answered", ["method", "status"], registry=registry
        )
        self.batch_size = Histogram(
            "spell_admission_batch_requests",
            "Requests that shared one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )
        self.unsent = Gauge(
            "spell_unsent_casts",
            "Casts accepted and not yet on the wire",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting = Gauge(
            "spell_waiting_callers", "Callers that wait for a result", registry=registry, multiprocess_mode="livesum"
        )
        self.log_lines_dropped = Gauge(
            "spell_log_lines_dropped",
            "Log lines lost because standard output was blocked",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.queue_depth = Gauge(
            "spell_queue_depth",
            "Entries of the job stream",
            ["pool"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.queue_dead = Gauge(
            "spell_dead_letters",
            "Entries of the dead-letter stream",
            ["pool"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.ledger_lag = Gauge(
            "spell_ledger_lag_events",
            "Usage events not yet settled",
            ["pool"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.open_holds = Gauge(
            "spell_open_holds", "Casts that hold money", registry=registry, multiprocess_mode="livemostrecent"
        )
        self.open_holds_micros = Gauge(
            "spell_open_holds_micros", "What they hold", registry=registry, multiprocess_mode="livemostrecent"
        )
        self.holds_drift_micros = Gauge(
            "spell_holds_drift_micros",
            "Held by accounts' months minus the sum of open holds; anything but 0 is an alarm",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self._answers: dict[tuple[str, int], Counter] = {}

    def answered(self, method: str, status: int) -> None:
        """Count one answer."""
        counter = self._answers.get((method, status))
        if counter is None:
            counter = self._answers[method, status] = self.requests.labels(_known_method(method), str(status))
        counter.inc()
        if status == 429:  # noqa: PLR2004  # the metric's name says which status
            self.rate_limited.inc()

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Let `gauge` show what `read` returns when it is asked."""
        self._watched.append((gauge, read))

    @property
    def shared(self) -> bool:
        """Whether another process may be asked for this one's metrics: then `note` must be called now and then."""
        return SHARED_FOLDER is not None

    def note(self) -> None:
        """Read what is watched."""
        for gauge, read in self._watched:
            gauge.set(read())

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        self.note()
        return exposition(self.registry)


def _known_method(method: str) -> str:
    """Return `method` for a label, which must not take whatever a caller invents."""
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"
