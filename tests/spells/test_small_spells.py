"""Echo, hello, checksums and the probes."""

import hashlib
import zlib

import msgspec
import pytest

from .conftest import Cast


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    realtime_before_ns: int
    realtime_after_ns: int
    monotonic_elapsed_ns: int
    random_hex: str


@pytest.mark.parametrize("data", [b"", b"\0\xff", b'{"a": [1, 2]}', bytes(range(256)) * 4096])
def test_echo_gives_back_every_byte(cast: Cast, data: bytes) -> None:
    ending = cast("echo", data)
    assert (ending.exit_code, ending.output, ending.log) == (0, data, "")


@pytest.mark.parametrize(
    ("data", "greeting"),
    [
        (b'"Ada"', "Hello, Ada!"),
        (b'{"name": "Ada"}', "Hello, Ada!"),
        (b"Ada\n", "Hello, Ada!"),
        (b"", "Hello, world!"),
        (b'"\\"\\ud83d\\ude00\\n\\u0000x"', 'Hello, "\U0001f600\n\0x!'),
    ],
)
def test_hello(cast: Cast, data: bytes, greeting: str) -> None:
    ending = cast("hello", data)
    assert ending.exit_code == 0, ending.log
    assert msgspec.json.decode(ending.output) == greeting


@pytest.mark.parametrize("data", [b"\xff", b"x" * 201, b'{"nam": "Ada"}'])
def test_hello_explains_bad_input(cast: Cast, data: bytes) -> None:
    ending = cast("hello", data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert ending.log


@pytest.mark.parametrize("name", ["probe-c", "probe-go"])
def test_a_probe_sees_time_pass_and_chance(cast: Cast, name: str) -> None:
    first, second = (msgspec.json.decode(cast(name, b"20").output, type=Probe) for _ in range(2))
    assert first.monotonic_elapsed_ns >= 20_000_000
    assert first.realtime_after_ns > first.realtime_before_ns
    assert first.random_hex != second.random_hex
    assert len(bytes.fromhex(first.random_hex)) == 16


@pytest.mark.parametrize("name", ["probe-c", "probe-go"])
@pytest.mark.parametrize("data", [b"-1", b"abc", b"99999999999999999999", b"3600001"])
def test_a_probe_refuses_what_is_no_time(cast: Cast, name: str, data: bytes) -> None:
    ending = cast(name, data)
    assert (ending.exit_code, ending.output) == (1, b"")
    assert "a whole number of milliseconds" in ending.log


@pytest.mark.parametrize(
    "data", [b"", b"abc", b"x" * 55, b"x" * 56, b"x" * 63, b"x" * 64, b"\xff" * 100_000, bytes(range(256)) * 70]
)
def test_checksums_are_those_of_everybody(cast: Cast, data: bytes) -> None:
    ending = cast("checksums", data)
    assert (ending.exit_code, ending.log) == (0, "")
    assert msgspec.json.decode(ending.output) == {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "crc32": f"{zlib.crc32(data):08x}",
        "adler32": f"{zlib.adler32(data):08x}",
    }
