"""What goes wrong on demand: for the next calls, or for a share of them."""

import random
import threading
from typing import Final, NamedTuple

from local.stripe.shapes import Params

RATE_LIMIT: Final = "rate_limit"
ERROR: Final = "error"
ERROR_AFTER: Final = "error_after"
TIMEOUT: Final = "timeout"
RESET: Final = "reset"
RESET_AFTER: Final = "reset_after"
SLOW: Final = "slow"
KINDS: Final = {
    RATE_LIMIT: "429, nothing done",
    ERROR: "500, nothing done; the key keeps the 500",
    ERROR_AFTER: "500 although the work was done; the key keeps the 500",
    TIMEOUT: "the work is done, and nothing is answered",
    RESET: "the connection is cut before anything is done",
    RESET_AFTER: "the work is done, then the connection is cut",
    SLOW: "the answer comes late",
}
# Longer than any client waits for an answer.
SILENCE_S: Final = 120.0


class Fault(NamedTuple):
    """One thing that goes wrong."""

    kind: str
    method: str | None = None
    """Of which method, or of any."""
    path: str | None = None
    """Of paths that begin so, or of any."""
    calls: int | None = None
    """How many calls are still hit; None: until it is lifted."""
    rate: float = 1.0
    """Which share of the calls is hit."""
    seconds: float = SILENCE_S
    """How long `timeout` stays silent and `slow` waits."""


class Faults:
    """The faults that are set, the latest first."""

    def __init__(self, seed: int = 0) -> None:
        self._lock: Final = threading.Lock()
        self._random: Final = random.Random(seed)  # noqa: S311  # which call fails is no secret
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Set a fault."""
        assert fault.kind in KINDS, f"{fault.kind} is none of {', '.join(KINDS)}"
        with self._lock:
            self._faults.insert(0, fault)

    def clear(self, seed: int | None = None) -> None:
        """Lift all faults; with a seed the same calls are hit as with that seed before."""
        with self._lock:
            self._faults.clear()
            if seed is not None:
                self._random.seed(seed)

    def all(self) -> list[Fault]:
        """Return the faults that are set."""
        with self._lock:
            return list(self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Return what happens to a call, or None; a fault for so many calls is used up by it."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.method not in (None, method) or not path.startswith(fault.path or ""):
                    continue
                if fault.rate < 1 and self._random.random() >= fault.rate:
                    continue
                if fault.calls is not None:
                    left = fault._replace(calls=fault.calls - 1)
                    self._faults[place : place + 1] = [left] if left.calls else []
                return fault
        return None


def fault_of(params: Params) -> Fault:
    """Return the fault a form or a JSON body describes. Raises ValueError with what is wrong."""
    kind = str(params.get("kind", ""))
    if kind not in KINDS:
        message = f"kind must be one of {', '.join(KINDS)}"
        raise ValueError(message)
    calls = params.get("calls")
    rate = float(params.get("rate") or 1)
    if not 0 < rate <= 1:
        message = "rate must be above 0 and at most 1"
        raise ValueError(message)
    return Fault(
        kind=kind,
        method=str(params["method"]).upper() if params.get("method") else None,
        path=str(params["path"]) if params.get("path") else None,
        calls=int(calls) if calls not in (None, "") else None,
        rate=rate,
        seconds=float(params.get("seconds") or SILENCE_S),
    )
