"""What Prometheus may ask of this process. Counters are raised once a batch, not once a request, where that is hot."""

from collections.abc import Callable
from functools import partial
from typing import Final

from gateways.metrics import SHARED_FOLDER, CollectorRegistry, Counter, Gauge, Histogram, exposition

# From a wake-up on an idle machine to the longest wait a caller may ask for.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Shown as 0 before the first one: what a caller is limited by, see `api.admission.rate.Caller`.
LIMITED: Final = ("key", "account", "address", "page", "preflight", "link", "device", "admin", "too_many_open_casts")
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One registry a process. Names without labels are exact; `reason` and `code` are stable error codes.

    Where processes share a folder, gauges of a process are summed over the living, and gauges of the platform are
    those that were read last.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=False)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        own = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        platform = partial(Gauge, registry=registry, multiprocess_mode="livemostrecent")
        self.casts = counter("spell_cast_total", "Casts accepted")
        self.casts_failed = counter("spell_cast_failed_total", "Cast requests refused", ["reason"])
        self.cast_seconds = histogram(
            "spell_cast_duration_seconds",
            "Time a POST for a cast took to answer, waiting for its result included",
            buckets=_SECONDS,
        )
        self.rate_limited = counter("spell_rate_limited_total", "Requests answered 429", ["kind"])
        for kind in LIMITED:
            self.rate_limited.labels(kind)
        self.budget_blocked = counter("spell_budget_blocked_total", "Cast requests answered 402")
        self.stripe_webhooks = counter("spell_stripe_webhook_total", "Stripe webhooks received", ["type", "result"])
        self.redis_errors = counter("spell_redis_errors_total", "Redis calls that failed or took too long")
        self.requests = counter("spell_http_requests_total", "Requests answered", ["method", "status"])
        self.batch_size = histogram(
            "spell_admission_batch_requests",
            "Requests that shared one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        )
        self.db_pool_in_use = own("spell_db_pool_in_use", "Postgres connections in use", ["role"])
        self.unsent = own("spell_unsent_casts", "Casts accepted and not yet on the wire")
        self.waiting = own("spell_waiting_callers", "Callers that wait for a result")
        self.keys_verified = own("spell_keys_verified", "How often Argon2 verified a key since the start")
        self.log_lines_dropped = own("spell_log_lines_dropped", "Log lines lost because standard output was blocked")
        self.queue_depth = platform("spell_queue_depth", "Entries of the job stream", ["pool"])
        self.queue_dead = platform("spell_dead_letters", "Entries of the dead-letter stream", ["pool"])
        self.ledger_lag = platform("spell_ledger_lag_events", "Usage events not yet settled", ["pool"])
        self.open_holds = platform("spell_open_holds", "Casts that hold money")
        self.open_holds_micros = platform("spell_open_holds_micros", "What they hold")
        self.holds_drift_micros = platform(
            "spell_holds_drift_micros",
            "Held by accounts' months minus the sum of open holds; anything but 0 is an alarm",
        )
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self._answers: dict[tuple[str, int], Counter] = {}

    def answered(self, method: str, status: int) -> None:
        """Count one answer."""
        counter = self._answers.get((method, status))
        if counter is None:
            counter = self._answers[method, status] = self.requests.labels(_known_method(method), str(status))
        counter.inc()

    def limited(self, kind: str | None) -> None:
        """Count one 429, by the kind of rate that refused it, or the code of what else did."""
        self.rate_limited.labels(kind or "other").inc()

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
