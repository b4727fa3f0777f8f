"""`python -m api`: read the settings, put the parts together, serve until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import uvicorn
import uvloop

from api.access_log import Log, install, write_stdout
from api.app import create_app
from api.protocol import KEEP_ALIVE_S, LeanProtocol, close_overdue
from api.shutdown import Shutdown
from domain.settings import ApiSettings, SettingsError, load
from gateways.collector import collect_rarely

# Shorter than the time fly.toml leaves between SIGTERM and SIGKILL (a test compares them). Waiters and streams end at
# once; a publish that compiles gets the rest.
GRACEFUL_SHUTDOWN_S: Final = 20
BACKLOG: Final = 2_048
_TICKS_PER_S: Final = 10
LOOPBACK: Final = "127.0.0.1"
_THIS_MACHINE: Final = frozenset({LOOPBACK, "localhost", "::1"})


class _Server(uvicorn.Server):
    """Uvicorn, except that the application hears of the first signal before uvicorn waits for its connections."""

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown) -> None:
        super().__init__(config)
        self._shutdown = shutdown

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop in order on the first signal, at once on the second, and leave with exit code 0 either way.

        Uvicorn's own way raises the signal again at the end, which would kill the process before its log is written.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def on_tick(self, counter: int) -> bool:
        """Do what uvicorn does ten times a second, and once a second close connections that keep us waiting."""
        if counter % _TICKS_PER_S == 0:
            close_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def _stop(self, number: signal.Signals) -> None:
        self._shutdown.begin()
        self.handle_exit(number, None)


async def serve(settings: ApiSettings, log: Log) -> None:
    """Serve until a signal ends the process."""
    edge, services = create_app(settings, log=log, clock=time.monotonic, now=lambda: datetime.now(UTC))
    collect_rarely()
    config = uvicorn.Config(
        edge,  # pyright: ignore[reportArgumentType]  # uvicorn spells the ASGI types out as TypedDicts
        host=_host(settings.public_url),
        port=settings.port,
        loop="uvloop",
        http=LeanProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        backlog=BACKLOG,
    )
    if config.host == LOOPBACK:
        logging.getLogger("api").warning("listening on this machine only; set PUBLIC_URL to serve others")
    await _Server(config, services.shutdown).serve()


def main() -> int:
    """Return the exit code: 0 stopped by a signal, 2 the settings do not fit."""
    try:
        settings = load(ApiSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 2
    log = Log(settings.log_level, now=lambda: datetime.now(UTC), write=write_stdout)
    install(log)
    for warning in settings.warnings:
        logging.getLogger("api").warning(warning)
    try:
        uvloop.run(serve(settings, log))
    finally:
        log.close()
    return 0


def _host(public_url: str) -> str:
    """Return the interface to listen on: an api whose public address is this machine serves this machine alone."""
    return LOOPBACK if urlsplit(public_url).hostname in _THIS_MACHINE else "0.0.0.0"  # noqa: S104  # behind a balancer


if __name__ == "__main__":
    sys.exit(main())
