"""Hosts on one machine: each a network namespace with a link to each network, and every link can be cut.

The switches have a namespace of their own, so nothing of the machine's network is touched, and all of it is gone when
the last process in it is: no namespace has a name. Needs root and `ip`; `why_not()` says what is missing.

Addresses are of 127.77.0.0/16: URLs of servers elsewhere must have TLS, which the embedded servers cannot, and inside
these namespaces only 127.0.0.1 is the host itself; everything else of 127/8 goes over the wire.
"""

import ctypes
import enum
import functools
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
NETWORKS = ("postgres", "redis", "http")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Cut(enum.StrEnum):
    """How a link is broken. None of them tells either end."""

    SILENT = "silent"
    """The switch forwards nothing from or to it; its light stays on."""
    DOWN = "down"
    """Unplugged: the light is off."""
    ONE_WAY = "one way"
    """The host is heard by the server, and hears nothing: what it asks for is done and it is never told."""


class Network:
    """One switch for each of NETWORKS and a link from each host to each of them."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = tuple(hosts)
        self._own = _open_own()
        self._switch = self._namespace()
        self._of = {host: self._namespace() for host in hosts}
        self._ip(
            self._switch,
            *(line for name in NETWORKS for line in (f"link add to-{name} type bridge", f"link set to-{name} up")),
        )
        for host in hosts:
            self._plug_in(host)

    def address(self, host: str, network: str) -> str:
        return f"127.77.{NETWORKS.index(network) + 1}.{self._hosts.index(host) + 1}"

    @contextmanager
    def inside(self, host: str) -> Generator[None]:
        """Have this thread, and whatever process or thread it starts, be on the host."""
        before = _open_own()
        _enter(self._of[host])
        try:
            yield
        finally:
            _enter(before)
            os.close(before)

    def cut(self, host: str, network: str, how: Cut) -> None:
        """Break the host's link to a network. ONE_WAY needs a server of the network's name."""
        link = self._link(host, network)
        if how is Cut.ONE_WAY:
            self._ip(self._of[network], f"route add blackhole {self.address(host, network)}/32")
        else:
            self._ip(self._switch, f"link set {link} " + ("nomaster" if how is Cut.SILENT else "down"))

    def heal(self, host: str, network: str, how: Cut) -> None:
        """Make good what `cut` did."""
        link = self._link(host, network)
        if how is Cut.ONE_WAY:
            self._ip(self._of[network], f"route del blackhole {self.address(host, network)}/32")
        else:
            self._ip(self._switch, f"link set {link} " + (f"master to-{network}" if how is Cut.SILENT else "up"))

    def close(self) -> None:
        for namespace in (*self._of.values(), self._switch, self._own):
            os.close(namespace)

    def _link(self, host: str, network: str) -> str:
        return f"{network}-{self._hosts.index(host)}"

    def _plug_in(self, host: str) -> None:
        namespace = self._of[host]
        place = f"/proc/{os.getpid()}/fd/{namespace}"
        for network in NETWORKS:
            link = self._link(host, network)
            self._ip(
                self._switch,
                f"link add {link} type veth peer name {network} netns {place}",
                f"link set {link} master to-{network} up",
            )
        with self.inside(host):
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1", encoding="ascii")
        self._ip(namespace, "link set lo up", "addr del 127.0.0.1/8 dev lo", "addr add 127.0.0.1/32 dev lo")
        for network in NETWORKS:
            self._ip(namespace, f"addr add {self.address(host, network)}/24 dev {network}", f"link set {network} up")

    def _namespace(self) -> int:
        """Make a namespace and return what keeps it: an open file."""
        _check(_LIBC.unshare(CLONE_NEWNET))
        try:
            return _open_own()
        finally:
            _enter(self._own)

    def _ip(self, namespace: int, *lines: str) -> None:
        before = _open_own()
        _enter(namespace)
        try:
            subprocess.run(
                ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True, timeout=60
            )
        finally:
            _enter(before)
            os.close(before)


@functools.cache
def why_not() -> str | None:
    """Return why there can be no namespaces here, None when there can."""
    if shutil.which("ip") is None:
        return "there is no `ip` (Debian: iproute2)"
    try:
        network = Network(("one", "postgres"))
    except OSError as error:
        return f"network namespaces are not permitted ({error.strerror}); root may make them"
    except subprocess.CalledProcessError as error:
        return f"`ip` could not make a link: {error.stderr.strip()}"
    network.close()
    return None


def _open_own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(namespace: int) -> None:
    _check(_LIBC.setns(namespace, CLONE_NEWNET))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
