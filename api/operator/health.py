"""Is the process alive, and can it do its work: /healthz, /readyz and /metrics."""

from typing import Any, Final

from litestar import Response, get

from api.operator.metrics import CONTENT_TYPE
from api.operator.probes import Check
from api.services import Services

_WATCHED: Final = "What watches the platform must always hear; the looks behind it are shared and happen one at a time."


@get("/healthz", sync_to_thread=False, tags=["operations"], security=[], unlimited=_WATCHED)
def healthz() -> dict[str, str]:
    """Answer 200 as long as the process serves requests at all."""
    return {"status": "ok"}


@get("/readyz", tags=["operations"], security=[], unlimited=_WATCHED)
async def readyz(services: Services) -> Response[dict[str, Any]]:
    """Answer 200 when every check passes, else 503; the body says which, and what the workers report."""
    stopping = services.shutdown.started
    serving = Check(ok=not stopping, detail="stopping" if stopping else "")
    findings = await services.probes.look()
    checks = {"serving": serving, **findings.checks}
    ready = all(check.ok for check in checks.values())
    body = {"status": "ok" if ready else "unavailable", "checks": checks, "workers": findings.workers}
    return Response(body, status_code=200 if ready else 503, headers={} if ready else {"retry-after": "1"})


@get("/metrics", tags=["operations"], security=[], unlimited=_WATCHED)
async def metrics(services: Services) -> Response[bytes]:
    """Answer everything this process counts, in Prometheus' text format."""
    await services.sampler.sample()
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)


ROUTES: Final = [healthz, readyz, metrics]
