"""How a background process begins and ends: its settings, JSON logs, metrics, and a stop on SIGTERM or SIGINT."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Final, Protocol, Self, TypeVar

import uvloop

from domain.environment import Reader
from domain.settings import SettingsError, load
from gateways import metrics
from gateways.logs import configure

EXIT_SETTINGS: Final = 2


class BackgroundSettings(Protocol):
    """What the settings of every background process hold."""

    @property
    def metrics_port(self) -> int | None:
        """Where Prometheus finds this process; None: nowhere."""
        ...

    @property
    def log_level(self) -> str:
        """From which level on lines are written."""
        ...

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read from the environment."""
        ...


Settings = TypeVar("Settings", bound=BackgroundSettings)


def begin(kind: type[Settings]) -> Settings:
    """Return the settings of this process, with logs and metrics on; SystemExit with a line for each that is wrong."""
    try:
        settings = load(kind, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_SETTINGS)
    configure(settings.log_level)
    if settings.metrics_port is not None:
        metrics.serve(settings.metrics_port)
    return settings


def run(kind: type[Settings], serve: Callable[[Settings, asyncio.Event], Coroutine[None, None, None]]) -> int:
    """Begin, run `serve` until it returns, and return exit code 0; its event is set by SIGTERM and SIGINT."""
    settings = begin(kind)

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await serve(settings, stop)

    uvloop.run(until_signal())
    return 0
