"""httpx's answers and errors as the core knows them; both clients read them here."""

import httpx

from spell.core.exchange import Broken, Reply, Request
from spell.errors import ConnectionFailed, SpellError, TimedOut

# Whoever cannot be reached in ten seconds is not there; the rest of the time is for the answer.
CONNECT_S_MAX = 10.0
# Casts wait side by side, so a program may well have hundreds of requests open at once.
LIMITS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100)
# No byte of the request left this machine.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# The request itself cannot be sent, so no retry will help.
_UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)


def timeout_of(seconds: float) -> httpx.Timeout:
    """Return the timeouts of a request whose server may be silent that long."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_S_MAX))


def reply_of(response: httpx.Response) -> Reply:
    """Return a response that was read to its end."""
    return Reply(status=response.status_code, headers=dict(response.headers), body=response.content)


def broken_of(error: httpx.RequestError, request: Request) -> Broken:
    """Return what kept an answer from coming. SpellError when the request cannot be sent at all."""
    if isinstance(error, _UNSENDABLE):
        message = f"{request.method} {request.path} cannot be sent: {error}"
        raise SpellError(message) from error
    timed_out = isinstance(error, httpx.TimeoutException)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    message = f"{request.method} {request.path} got no answer ({what}); is the platform running and SPELL_URL right?"
    return Broken(
        error=TimedOut(message) if timed_out else ConnectionFailed(message),
        cause=error,
        maybe_done=not isinstance(error, _UNSENT),
    )
