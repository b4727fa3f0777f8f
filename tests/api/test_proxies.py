"""Whose request it is, however an address is spelled and whatever a caller claims."""

import pytest

from api.proxies import HOPS_MAX, Proxies

PROXY, REAL = "10.0.0.1", "203.0.113.9"
TRUSTED = Proxies(["10.0.0.0/8", "fd00::/8", "::1/128"])


def address(client: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {b"x-forwarded-for": forwarded.encode("latin-1")}
    return TRUSTED.client_address((client, 1), headers)


# What a caller writes himself stands left of what our proxy adds: `203.0.113.9`, whom it got the request from.
CLAIMS = (
    "1.1.1.1",
    "1.1.1.1, 2.2.2.2",
    "10.0.0.7",
    "10.0.0.7, 10.0.0.8",
    "127.0.0.1",
    "localhost",
    "unknown",
    "_hidden",
    "-",
    "",
    ",",
    ", ,",
    " ",
    "\t",
    "0",
    "0x7f.1",
    "017700000001",
    "2130706433",
    "010.000.000.001",
    "1.1.1.1:80",
    "[::1]",
    "[::1]:443",
    "::1",
    "::ffff:1.1.1.1",
    "::ffff:10.0.0.1",
    "fd00::1",
    "fe80::1%eth0",
    "1.1.1.1%eth0",
    "1.1.1.1/32",
    "for=1.1.1.1",
    "1.1.1.1;2.2.2.2",
    "\xef\xbc\x91.1.1.1",  # a full-width digit in UTF-8
    "\xa01.1.1.1",
    "<script>",
    "1.1.1.1, " * 1_000,
)


@pytest.mark.parametrize("claim", CLAIMS)
def test_nobody_gets_another_name_by_what_he_claims(claim: str) -> None:
    assert address(PROXY, f"{claim}, {REAL}") == REAL
    assert address(PROXY, f"{claim},{REAL}, 10.1.1.1") == REAL, "through two proxies of ours"
    assert address(REAL, claim) == REAL, "whoever reaches us directly is who he is"


# What our proxy itself may write for one and the same caller.
@pytest.mark.parametrize(
    "spelling", [REAL, f"{REAL}:4711", f"::ffff:{REAL}", f"[::ffff:{REAL}]:4711", "::ffff:cb00:7109", f" {REAL} "]
)
def test_one_caller_has_one_name(spelling: str) -> None:
    assert address(PROXY, spelling) == REAL
    assert address(f"::ffff:{PROXY}", spelling) == REAL, "a socket for both kinds of addresses shows proxies so"
    assert address("fd00::1", spelling) == REAL


@pytest.mark.parametrize(
    "spelling",
    ["2001:db8::7", "2001:DB8:0:0:ffff::1", "[2001:db8::9]:443", "[2001:db8::9]", "2001:db8::1%eth0", "2001:0db8::"],
)
def test_an_ipv6_caller_is_its_64_bits(spelling: str) -> None:
    assert address(PROXY, spelling) == "2001:db8::"
    assert address(PROXY, "2001:db8:0:1::7") == "2001:db8:0:1::"


@pytest.mark.parametrize("added", ["<script>", "", "unknown", "256.1.1.1", "1.1.1", "[2001:db8::9", "1.1.1.1:port"])
def test_what_our_proxy_wrote_and_is_no_address_is_the_proxys_own(added: str) -> None:
    assert address(PROXY, f"8.8.8.8, {added}") == PROXY


def test_without_a_proxy_or_a_connection() -> None:
    assert address(PROXY) == PROXY
    assert TRUSTED.client_address(None, {b"x-forwarded-for": b"8.8.8.8"}) == "unknown"
    assert Proxies([]).client_address((PROXY, 1), {b"x-forwarded-for": b"8.8.8.8"}) == PROXY
    assert address(PROXY, ", ".join(["8.8.8.8", *["10.0.0.2"] * HOPS_MAX])) == "10.0.0.2", "longer chains are nobody's"
