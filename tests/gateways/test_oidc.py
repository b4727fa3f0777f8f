"""What an ID token must be before anybody is signed in by it, and what an issuer may do wrong."""

import base64
import json
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from domain.environment import Secret
from domain.vendor_settings import OidcSettings
from gateways.identity_provider import ANSWER_BYTES_MAX, ProviderError
from gateways.oidc import DISCOVERED_S, OidcProvider
from tests.gateways.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, elliptic, rsa, symmetric

STATE, VERIFIER, NONCE = "s" * 43, "v" * 43, "n" * 43
REDIRECT = "https://spells.test/auth/oidc/callback"


class Ticking:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def issuer() -> Generator[Issuer]:
    with Issuer() as running:
        running.nonce = NONCE
        yield running


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def provider(issuer: Issuer, clock: Ticking) -> OidcProvider:
    settings = OidcSettings(issuer=issuer.url, client_id=CLIENT_ID, client_secret=Secret(CLIENT_SECRET))
    return OidcProvider(settings, redirect_uri=REDIRECT, clock=clock, now=lambda: datetime.now(UTC))


async def identify(provider: OidcProvider, issuer: str | None = None) -> Any:
    return await provider.identify(code="code", verifier=VERIFIER, nonce=NONCE, issuer=issuer)


async def refused(provider: OidcProvider, issuer: str | None = None) -> str:
    with pytest.raises(ProviderError) as found:
        await identify(provider, issuer)
    return str(found.value)


async def test_the_browser_is_sent_with_challenge_state_and_nonce(provider: OidcProvider, issuer: Issuer) -> None:
    address = urlsplit(await provider.authorization_url(state=STATE, verifier=VERIFIER, nonce=NONCE))
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{issuer.url}/authorize"
    query = dict(parse_qsl(address.query))
    challenge = query.pop("code_challenge")
    assert len(challenge) == 43
    assert challenge != VERIFIER
    assert query == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": "openid email profile",
        "state": STATE,
        "nonce": NONCE,
        "code_challenge_method": "S256",
    }


async def test_a_good_token_says_who_it_is(provider: OidcProvider, issuer: Issuer) -> None:
    identity = await identify(provider, issuer.url)
    assert (identity.issuer, identity.subject) == (issuer.url, "person-1")
    assert (identity.email, identity.email_verified) == ("ada@example.com", True)
    assert (identity.name, identity.handle_hint) == ("Ada", "ada")
    assert issuer.sent["code_verifier"] == VERIFIER
    basic = base64.b64decode(issuer.authorization.removeprefix("Basic ")).decode()
    assert basic == f"{CLIENT_ID}:{CLIENT_SECRET}"


Change = Callable[[dict[str, Any]], dict[str, Any]]


def but(**changed: Any) -> Change:
    """Return the claims with some changed; None takes one out."""
    return lambda claims: {name: value for name, value in {**claims, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (but(iss="https://evil.example"), "iss"),
        (but(iss=None), "iss"),
        (but(aud="another"), "aud"),
        (but(aud=["another", "third"]), "aud"),
        (but(aud=None), "aud"),
        (but(aud=[CLIENT_ID, "another"]), "azp"),
        (but(azp="another"), "azp"),
        (but(exp=1), "exp"),
        (but(exp=None), "exp"),
        (but(exp="tomorrow"), "exp"),
        (but(iat=4_102_444_800), "iat"),
        (but(iat=None), "iat"),
        (but(iat=1_600_000_000), "iat"),
        (but(nbf=4_102_444_800), "nbf"),
        (but(nonce="m" * 43), "nonce"),
        (but(nonce=None), "nonce"),
        (but(nonce=[NONCE]), "nonce"),
        (but(sub=None), "sub"),
        (but(sub=""), "sub"),
        (but(sub="x" * 256), "sub"),
        (but(sub=7), "sub"),
    ],
)
async def test_a_token_that_does_not_fit_is_refused(
    provider: OidcProvider, issuer: Issuer, change: Change, why: str
) -> None:
    issuer.change = change
    assert why in await refused(provider)
    issuer.change = lambda claims: claims
    assert (await identify(provider)).subject == "person-1"


async def test_a_clock_that_is_a_little_off_is_forgiven(provider: OidcProvider, issuer: Issuer) -> None:
    now_s = int(time.time())
    issuer.change = but(iat=now_s + 30, exp=now_s - 20)
    assert (await identify(provider)).subject == "person-1"


async def test_several_audiences_are_good_when_the_token_was_made_for_us(
    provider: OidcProvider, issuer: Issuer
) -> None:
    issuer.change = but(aud=[CLIENT_ID, "another"], azp=CLIENT_ID)
    assert (await identify(provider)).subject == "person-1"


def unsigned(claims: dict[str, Any]) -> str:
    parts = [{"alg": "none", "kid": "one"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


async def test_nobody_signs_with_nothing_or_with_what_others_know(provider: OidcProvider, issuer: Issuer) -> None:
    """`none`; HS256 with the client's secret, and with the public key as the secret: all are signatures of anybody."""
    issuer.id_token = unsigned(issuer.claims())
    assert "signature" in await refused(provider)
    issuer.id_token = None
    issuer.key, issuer.algorithm, issuer.kid = symmetric(), "HS256", "shared"
    assert "signature" in await refused(provider)
    issuer.keys.append(symmetric())  # even where the issuer publishes it
    assert "signature" in await refused(provider)


async def test_a_key_of_another_is_not_the_issuers(provider: OidcProvider, issuer: Issuer) -> None:
    issuer.key = rsa("one")
    assert "signature" in await refused(provider)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.b", "." * 9, 7, None, {"a": 1}])
async def test_what_is_no_token_is_refused(provider: OidcProvider, issuer: Issuer, token: Any) -> None:
    body = {"access_token": "at", "token_type": "Bearer", "id_token": token}
    issuer.answers["/token"] = (200, json.dumps(body).encode())
    assert await refused(provider)


async def test_keys_are_kept_and_asked_for_once_when_one_is_new(
    provider: OidcProvider, issuer: Issuer, clock: Ticking
) -> None:
    for _ in range(3):
        await identify(provider)
    assert issuer.asked.count("/keys") == 1
    issuer.keys = [rsa("two")]
    issuer.key, issuer.kid = issuer.keys[0], "two"
    assert (await identify(provider)).subject == "person-1"
    assert issuer.asked.count("/keys") == 2
    # A token of nobody's key makes one request more, and leaves what is known as it is.
    issuer.key, issuer.kid = rsa("three"), "three"
    await refused(provider)
    assert issuer.asked.count("/keys") == 3
    issuer.key, issuer.kid = issuer.keys[0], "two"
    await identify(provider)
    assert issuer.asked.count("/keys") == 3
    clock.seconds += DISCOVERED_S
    await identify(provider)
    assert issuer.asked.count("/keys") == 4


async def test_a_key_that_was_withdrawn_signs_nobody_in(provider: OidcProvider, issuer: Issuer, clock: Ticking) -> None:
    await identify(provider)
    issuer.keys = [elliptic("two")]
    clock.seconds += DISCOVERED_S
    assert "signature" in await refused(provider)
    issuer.key, issuer.kid, issuer.algorithm = issuer.keys[0], "two", "ES256"
    assert (await identify(provider)).subject == "person-1"


async def test_a_key_is_used_for_its_own_algorithm_alone(provider: OidcProvider, issuer: Issuer) -> None:
    issuer.keys = [elliptic("one")]
    assert "signature" in await refused(provider)


async def test_the_address_may_come_from_userinfo_of_the_same_person(provider: OidcProvider, issuer: Issuer) -> None:
    issuer.change = but(email=None, email_verified=None)
    issuer.userinfo = {"sub": "person-1", "email": "ada@example.com", "email_verified": True}
    identity = await identify(provider)
    assert (identity.email, identity.email_verified) == ("ada@example.com", True)
    issuer.userinfo = {"sub": "person-2", "email": "eve@example.com", "email_verified": True}
    assert "another subject" in await refused(provider)


@pytest.mark.parametrize("said", ["true", 1, "yes", None, {}])
async def test_only_true_is_verified(provider: OidcProvider, issuer: Issuer, said: object) -> None:
    issuer.change = but(email_verified=said)
    assert (await identify(provider)).email_verified is False


async def test_an_answer_of_another_issuer_is_not_taken(provider: OidcProvider) -> None:
    """RFC 9207: with two issuers, a code of one must not be sent to the other."""
    assert "another issuer" in await refused(provider, "https://evil.example")


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "http://evil.example/keys"},
        {"userinfo_endpoint": "ftp://evil.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
    ],
)
async def test_a_discovery_document_that_leads_elsewhere_is_refused(
    provider: OidcProvider, issuer: Issuer, discovery: dict[str, Any]
) -> None:
    issuer.discovery = discovery
    with pytest.raises(ProviderError):
        await provider.authorization_url(state=STATE, verifier=VERIFIER, nonce=NONCE)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (500, b"")),
        ("/.well-known/openid-configuration", (302, b"")),
        ("/.well-known/openid-configuration", (200, b"<html>")),
        ("/.well-known/openid-configuration", (200, b"\xff\xfe")),
        ("/keys", (200, b'{"keys": 7}')),
        ("/keys", (200, b'{"keys": []}')),
        ("/keys", (200, b'{"keys": [{"kty": "RSA"}]}')),
        ("/token", (500, b"down")),
        ("/token", (200, b"[]")),
        ("/token", (200, b"null")),
        ("/token", (400, b'{"error": "invalid_grant", "error_description": "<script>"}')),
        ("/token", (200, b"{}")),
        ("/token", (200, b" " * (ANSWER_BYTES_MAX + 1))),
        ("/userinfo", (401, b"")),
    ],
)
async def test_whatever_an_issuer_answers_ends_as_one_error(
    provider: OidcProvider, issuer: Issuer, path: str, answer: tuple[int, bytes]
) -> None:
    issuer.change = but(email=None)
    issuer.answers[path] = answer
    assert "<script>" not in await refused(provider)


async def test_an_issuer_that_is_away_is_an_error_that_says_so(provider: OidcProvider, issuer: Issuer) -> None:
    issuer.server.shutdown()
    issuer.server.server_close()
    assert "cannot be used" in await refused(provider)
