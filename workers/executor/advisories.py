"""Open advisories against the engine that the pinned wheel carries, and why each does not reach a cast.

The wheel 50.0.1 carries engine 50.0.0. `tests/workers/executor/test_engine.py` fails when the version in the shared
library is another than the one this list was made for: then read the release notes and write the list again.
"""

from typing import Final

import msgspec

REVIEWED_ENGINE_VERSION: Final = "50.0.0"
REVIEWED_ON: Final = "2026-11-20"

_NO_COMPONENTS: Final = "components are switched off, and publishing refuses them"
_NO_GC: Final = "garbage collection, typed references and exceptions are switched off (gc_support too)"
_OWN_WASI: Final = "the engine's own WASI is never linked: casts have workers.executor.wasi"


class Advisory(msgspec.Struct, frozen=True, kw_only=True):
    """One fix that a later engine has and ours has not."""

    advisory: str
    fixed_in: str
    what: str
    why_not_here: str


OPEN_ADVISORIES: Final = (
    Advisory(
        advisory="GHSA-hmmr-87qq-258j",
        fixed_in="50.0.1",
        what="wasi-sockets lets a guest send datagrams to refused addresses",
        why_not_here=_OWN_WASI,
    ),
    Advisory(
        advisory="GHSA-qw58-7h65-crq2",
        fixed_in="50.0.1",
        what="type confusion between engines with struct types made by the host",
        why_not_here=f"{_NO_GC}; a process has one engine",
    ),
    Advisory(
        advisory="GHSA-3982-jqvv-277m",
        fixed_in="50.0.1",
        what="panic in typed functions with i31 or nullref parameters",
        why_not_here=_NO_GC,
    ),
    Advisory(
        advisory="GHSA-6fr9-xmw9-5352",
        fixed_in="50.0.1",
        what="memory of the host grows when components pass borrowed resources",
        why_not_here=_NO_COMPONENTS,
    ),
    Advisory(
        advisory="GHSA-h4wp-g4x3-7398",
        fixed_in="50.0.1",
        what="wasi-http accepts a content-length that the body does not have",
        why_not_here=_OWN_WASI,
    ),
    Advisory(
        advisory="GHSA-5m8g-xhq4-4h93",
        fixed_in="50.0.2",
        what="empty writes to AsyncWriteStream grow the host's memory",
        why_not_here=_OWN_WASI,
    ),
    Advisory(
        advisory="GHSA-43j2-gcp4-m22g",
        fixed_in="50.0.2",
        what="a stale base of the GC heap aborts the process",
        why_not_here=_NO_GC,
    ),
    Advisory(
        advisory="GHSA-xrvr-8678-5wp8",
        fixed_in="50.0.2",
        what="panic when a component cancels a stream on the wrong end",
        why_not_here=_NO_COMPONENTS,
    ),
    Advisory(
        advisory="GHSA-hj27-mpw9-ff4c",
        fixed_in="50.0.2",
        what="panic in Caller::get_module_export outside of a call from WASM",
        why_not_here="it is not part of the C API, and host functions are called by guests alone",
    ),
    Advisory(
        advisory="GHSA-wvgq-g5hf-6gm6",
        fixed_in="50.0.2",
        what="abort when the reservation of a GC heap is no multiple of a page",
        why_not_here=_NO_GC,
    ),
    Advisory(
        advisory="GHSA-rc4p-x33f-vpr2",
        fixed_in="50.0.2",
        what="abort in builds without the `gc` feature",
        why_not_here="the wheel is built with it; a guest that reached an abort would lose its own child only",
    ),
    Advisory(
        advisory="GHSA-2674-w29h-wqvj",
        fixed_in="50.0.2",
        what="abort in builds without the `threads` feature",
        why_not_here="the wheel is built with it; a guest that reached an abort would lose its own child only",
    ),
    Advisory(
        advisory="GHSA-f8mm-ggr3-89wh",
        fixed_in="50.0.2",
        what="empty body writes over HTTP/2 grow the heap",
        why_not_here=_OWN_WASI,
    ),
)
