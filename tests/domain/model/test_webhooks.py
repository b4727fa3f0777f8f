"""Secrets, signatures against the Standard Webhooks library, types and addresses."""

import base64
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from uuid import UUID

import msgspec
import pytest
from standardwebhooks import Webhook

from domain.model.errors import RefusedError
from domain.model.webhook_rules import EndpointTerms, check_endpoint
from domain.model.webhook_url import URL_CHARACTERS_MAX, is_allowed, is_public, parse_networks, url_fault
from domain.model.webhooks import (
    PATTERNS,
    EventType,
    derive_secret,
    event_body,
    matches,
    message_id,
    secret_text,
    sign,
)

KEY = bytes(range(32))
OWNER = UUID(int=7)
LOOPBACK = parse_networks(("127.0.0.0/8", "::1/128"))
BODY = b'{"type":"cast.succeeded"}'


def test_a_secret_belongs_to_one_owner_version_and_key() -> None:
    secrets = {
        derive_secret(key, owner, version)
        for key in (KEY, b"k" * 32)
        for owner in (OWNER, UUID(int=8))
        for version in (1, 2, 256)
    }
    assert len(secrets) == 12
    assert {len(secret) for secret in secrets} == {32}
    assert derive_secret(KEY, OWNER, 1) == derive_secret(KEY, OWNER, 1)
    assert base64.b64decode(secret_text(derive_secret(KEY, OWNER, 1)).removeprefix("whsec_"))


def test_the_library_of_the_standard_verifies_what_we_sign() -> None:
    now_s = int(datetime.now(UTC).timestamp())
    old, new = derive_secret(KEY, OWNER, 1), derive_secret(KEY, OWNER, 2)
    headers = {
        "webhook-id": message_id(OWNER),
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign([new, old], message_id=message_id(OWNER), timestamp_s=now_s, body=BODY),
    }
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret_text(secret)).verify(BODY, headers) == {"type": "cast.succeeded"}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret_text(derive_secret(KEY, OWNER, 3))).verify(BODY, headers)
    later = {**headers, "webhook-timestamp": str(now_s + 1)}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret_text(new)).verify(BODY, later)


def test_the_vector_of_the_standard() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = sign(
        [secret],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_body_keeps_the_bytes_of_its_data() -> None:
    body = event_body("cast.succeeded", created_at=datetime(2026, 11, 20, tzinfo=UTC), data=b'{"n":1e400000}')
    assert body == b'{"type":"cast.succeeded","timestamp":"2026-11-20T00:00:00Z","data":{"n":1e400000}}'


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (["*"], set(EventType)),
        (["cast.*"], {kind for kind in EventType if kind.startswith("cast.")}),
        (["cast.failed", "spell.*"], {EventType.CAST_FAILED, EventType.SPELL_SUSPENDED}),
        (["cas", "cast", "*.failed", ""], set()),
    ],
)
def test_an_endpoint_is_told_of_what_it_subscribes_to(patterns: list[str], told: set[EventType]) -> None:
    assert {kind for kind in EventType if matches(patterns, kind)} == told


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com", "https://example.com:8443/a/b?c=d", "https://8.8.8.8/", "https://[2606:4700::1111]/"),
        *("https://xn--bcher-kva.example/%20", "https://example.com./"),
    ],
)
def test_a_public_https_address_is_fine(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "ftp://example.com", "https://", "https:///path", "//example.com", "https://exa mple.com"),
        *("http://example.com", "https://user@example.com", "https://user:secret@example.com", "https://@example.com"),
        *("https://example.com/#part", "https://example.com:0/", "https://example.com:99999/", "https://example.com:x/"),
        *("https://localhost/", "https://printer.local", "https://db.internal", "https://intranet", "https://LOCALHOST"),
        *("https://127.0.0.1/", "https://10.1.2.3/", "https://192.168.0.1", "https://172.16.0.1", "https://0.0.0.0"),
        *("https://169.254.169.254/latest", "https://100.64.0.1", "https://224.0.0.1", "https://255.255.255.255"),
        *("https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/", "https://1.2.3.4.5/"),
        *("https://[::1]/", "https://[::]/", "https://[fe80::1]/", "https://[fc00::1]/", "https://[fec0::1]/", "https://[ff02::1]/"),
        *("https://[::ffff:127.0.0.1]/", "https://[::ffff:a00:1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/"),
        *("https://bücher.example/", "https://example.com\\@evil.example", "https://example.com\n", "https://[::1"),
        f"https://example.com/{'a' * URL_CHARACTERS_MAX}",
    ],
)  # fmt: skip
def test_any_other_address_is_refused_with_words(url: str) -> None:
    assert url_fault(url)


def test_the_operator_may_allow_networks_and_then_http_to_them_alone() -> None:
    assert url_fault("http://127.0.0.1:9000/hook", private_allowed=LOOPBACK) is None
    assert url_fault("https://[::1]/hook", private_allowed=LOOPBACK) is None
    assert url_fault("http://localhost:9000/hook", private_allowed=LOOPBACK) is None
    assert url_fault("http://10.0.0.1/", private_allowed=LOOPBACK)
    assert url_fault("http://8.8.8.8/", private_allowed=LOOPBACK)
    assert url_fault("https://[::ffff:127.0.0.1]/", private_allowed=LOOPBACK)
    assert not is_allowed(ip_address("10.0.0.1"), (ip_network("127.0.0.0/8"),))
    assert not is_public(ip_address("2001:0:4136:e378:8000:63bf:f5ff:fffe"))  # Teredo of 10.0.0.1


def test_what_does_not_fit_is_named_all_at_once() -> None:
    terms = EndpointTerms(url="http://10.0.0.1", event_types=["cast.exploded", "cast.*"], description="")
    with pytest.raises(RefusedError) as refused:
        check_endpoint(terms, ())
    assert [fault.location for fault in refused.value.refusal.faults] == ["url", "event_types"]
    check_endpoint(msgspec.structs.replace(terms, url="https://example.com", event_types=sorted(PATTERNS)), ())
    with pytest.raises(RefusedError):
        check_endpoint(EndpointTerms(url="https://example.com", event_types=[], description=""), ())
