"""Free ports on 127.0.0.1, kept in the data folder so that URLs survive a restart."""

import secrets
import socket
from pathlib import Path
from typing import Final

from local.folder import LocalServerError, write_private

LOOPBACK: Final = "127.0.0.1"

_PORT_MIN: Final = 20_000
_PORT_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Where the kernel does not tell: the lowest port any common system hands to outgoing connections.
_EPHEMERAL_PORT_MIN: Final = 32_768
# With thousands of ports to choose from, a hundred taken ones in a row mean that binding itself is refused.
_ATTEMPTS_MAX: Final = 100


def kept_port(file: Path) -> int:
    """Return the port named in `file` when it is free, else a free one, which the file then names."""
    try:
        port = int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        port = 0
    return port if port and is_free(port) else new_port(file)


def new_port(file: Path) -> int:
    """Choose a free port and keep it in `file`.

    It lies below the range of outgoing connections: while a server is down, a client that retries on a port of that
    range can be given the very port as its own and connect to itself, and the server never gets it back.
    """
    ports = range(_PORT_MIN, max(_PORT_MIN + 1_000, _ephemeral_port_min()))
    for _ in range(_ATTEMPTS_MAX):
        port = secrets.choice(ports)
        if is_free(port):
            write_private(file, str(port))
            return port
    message = f"No free port was found on {LOOPBACK} between {ports.start} and {ports.stop - 1}: may this user listen?"
    raise LocalServerError(message)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now; connections still fading away do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _ephemeral_port_min() -> int:
    try:
        return int(_PORT_RANGE_FILE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_PORT_MIN
