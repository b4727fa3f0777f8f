"""Sign in with any OpenID Connect issuer, found by discovery: where the browser is sent, and who came back."""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, cast

import msgspec
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import KeySet

from domain.environment import Invalid, safe_web_url
from domain.model.login import SUBJECT_CHARACTERS_MAX, ProvenIdentity
from domain.vendor_settings import OidcSettings
from gateways.identity_provider import LOGIN_SECONDS_MAX, OauthClient, ProviderError, exchange, oauth_client, read_json

SCOPE: Final = "openid email profile"
# Asymmetric only: with `none` anybody signs, and with an HMAC everybody who knows the client's secret.
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
# Endpoints move rarely; keys that are not known are asked for at once, so this is only how long a withdrawn one counts.
DISCOVERED_S: Final = 600.0
# Between two machines' clocks.
LEEWAY_S: Final = 60
# What was signed long ago is no login of now, however long it says it is good.
AGE_S_MAX: Final = 600

_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
_SECRET_DEFAULT: Final = "client_secret_basic"  # OpenID Connect Core 9  # noqa: S105  # the name of a way
_SECRET_WAYS: Final = (_SECRET_DEFAULT, "client_secret_post")


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: [_SECRET_DEFAULT])


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]  # JWKs, whose members differ by type


class _Known(msgspec.Struct, frozen=True):
    """What was last found out about the issuer."""

    at: float
    discovery: _Discovery
    keys: KeySet


class _Person(msgspec.Struct, frozen=True):
    """The claims about a person; an issuer may leave out any but the first, or make it something else."""

    sub: str
    email: Any = None
    email_verified: Any = None
    name: Any = None
    preferred_username: Any = None


class OidcProvider:
    """One issuer. `clock` counts seconds and never goes back; `now` is the wall clock, in UTC."""

    def __init__(
        self, settings: OidcSettings, *, redirect_uri: str, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._settings: Final = settings
        self._redirect_uri: Final = redirect_uri
        self._clock: Final = clock
        self._now: Final = now
        self._known: _Known | None = None

    @property
    def issuer(self) -> str:
        """The issuer as it was set."""
        return self._settings.issuer

    async def authorization_url(self, *, state: str, verifier: str, nonce: str) -> str:
        """Return where the browser is sent to sign in. Raises ProviderError."""
        async with self._client(_SECRET_DEFAULT) as client, asyncio.timeout(LOGIN_SECONDS_MAX):
            known = await self._discover(client)
            endpoint = known.discovery.authorization_endpoint
            url, _ = client.create_authorization_url(endpoint, state, verifier, nonce=nonce)
        return url

    async def identify(self, *, code: str, verifier: str, nonce: str, issuer: str | None) -> ProvenIdentity:
        """Return who came back with `code`; `issuer` is what the answer says of where it comes from (RFC 9207).

        The subject is the issuer's own. Raises ProviderError.
        """
        async with self._client(_SECRET_DEFAULT) as first, asyncio.timeout(LOGIN_SECONDS_MAX):
            known = await self._discover(first)
        discovery = known.discovery
        if issuer is not None and issuer != discovery.issuer:
            message = "the answer comes from another issuer"
            raise ProviderError(message)
        async with self._client(_secret_way(discovery)) as client, asyncio.timeout(LOGIN_SECONDS_MAX):
            token = await exchange(client, discovery.token_endpoint, code=code, verifier=verifier)
            claims = await self._checked(client, known, token.get("id_token"), nonce)
            person = msgspec.convert(claims, _Person)
            if person.email is None and discovery.userinfo_endpoint is not None:
                person = await _with_userinfo(client, discovery.userinfo_endpoint, person)
        return ProvenIdentity(
            issuer=discovery.issuer,
            subject=person.sub,
            email=person.email if isinstance(person.email, str) else None,
            email_verified=person.email_verified is True,
            name=_text(person.name),
            handle_hint=_text(person.preferred_username),
        )

    async def _checked(self, client: OauthClient, known: _Known, id_token: object, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token that is good; keys are asked for anew once, since issuers change them."""
        if not isinstance(id_token, str):
            message = "sent no ID token"
            raise ProviderError(message)
        try:
            claims = _verified(id_token, known.keys)
        except (BadSignatureError, JoseError, ValueError):
            known = await self._discover(client, anew=True)
            try:
                claims = _verified(id_token, known.keys)
            except (JoseError, ValueError) as error:
                message = f"the ID token's signature does not hold: {type(error).__name__}"
                raise ProviderError(message) from None
        _check_claims(
            claims,
            issuer=known.discovery.issuer,
            client_id=self._settings.client_id,
            nonce=nonce,
            now_s=int(self._now().timestamp()),
        )
        return claims

    async def _discover(self, client: OauthClient, *, anew: bool = False) -> _Known:
        known = self._known
        if known is not None and not anew and self._clock() - known.at < DISCOVERED_S:
            return known
        url = f"{self._settings.issuer}/.well-known/openid-configuration"
        discovery: _Discovery = await read_json(client, url, _Discovery, withhold_token=True)
        _check_discovery(discovery, self._settings.issuer)
        found: _Keys = await read_json(client, discovery.jwks_uri, _Keys, withhold_token=True)
        usable = [key for key in found.keys if key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"]
        keys = KeySet.import_key_set(cast("Any", {"keys": usable}))
        self._known = _Known(at=self._clock(), discovery=discovery, keys=keys)
        return self._known

    @asynccontextmanager
    async def _client(self, secret_in: str) -> AsyncGenerator[OauthClient]:
        try:
            async with oauth_client(
                client_id=self._settings.client_id,
                client_secret=self._settings.client_secret.reveal(),
                redirect_uri=self._redirect_uri,
                scope=SCOPE,
                secret_in=secret_in,
            ) as client:
                yield client
        except JoseError as error:
            message = f"its keys cannot be read: {type(error).__name__}"
            raise ProviderError(message) from None


def _secret_way(discovery: _Discovery) -> str:
    offered = discovery.token_endpoint_auth_methods_supported
    return next((way for way in _SECRET_WAYS if way in offered), _SECRET_DEFAULT)


def _check_discovery(discovery: _Discovery, issuer: str) -> None:
    """Raise ProviderError unless the document is the issuer's own and secrets may travel to what it names."""
    # The setting has lost a slash at its end, where the issuer has one.
    if discovery.issuer.removesuffix("/") != issuer:
        message = "its discovery document is another issuer's"
        raise ProviderError(message)
    endpoints = (discovery.authorization_endpoint, discovery.token_endpoint, discovery.jwks_uri)
    try:
        for endpoint in (*endpoints, *filter(None, [discovery.userinfo_endpoint])):
            safe_web_url(endpoint.partition("?")[0])
    except Invalid:
        message = "its discovery document names an endpoint without https"
        raise ProviderError(message) from None


def _verified(id_token: str, keys: KeySet) -> dict[str, Any]:
    return jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims


def _check_claims(claims: dict[str, Any], *, issuer: str, client_id: str, nonce: str, now_s: int) -> None:
    """Raise ProviderError unless the token is for us, from them, of now, and of this very login.

    OpenID Connect Core 3.1.3.7; the signature was checked.
    """
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        registry.validate(claims)
    except JoseError as error:
        message = f"the ID token does not fit: {error.error} {getattr(error, 'claim', '')}"
        raise ProviderError(message) from None
    audience, party, said = claims["aud"], claims.get("azp"), claims.get("nonce")
    faults = {
        "aud has others and no azp": isinstance(audience, list) and audience != [client_id] and party is None,
        "azp is another client": party is not None and party != client_id,
        "iat is long ago": claims["iat"] < now_s - AGE_S_MAX,
        "nonce is not that of this login": not isinstance(said, str)
        or not hmac.compare_digest(said.encode(), nonce.encode()),
        "sub is empty or too long": not 0 < len(claims["sub"]) <= SUBJECT_CHARACTERS_MAX,
    }
    for fault, found in faults.items():
        if found:
            message = f"the ID token does not fit: {fault}"
            raise ProviderError(message)


async def _with_userinfo(client: OauthClient, url: str, person: _Person) -> _Person:
    """Return the person with what the userinfo endpoint says; it must speak of the same one."""
    told: _Person = await read_json(client, url, _Person)
    if told.sub != person.sub:
        message = "userinfo speaks of another subject"
        raise ProviderError(message)
    return told


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
