"""Sign in with GitHub, or a GitHub Enterprise server: where the browser is sent, and who came back."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec

from domain.model.login import ProvenIdentity
from domain.vendor_settings import GithubSettings
from gateways.identity_provider import LOGIN_SECONDS_MAX, OauthClient, decoded, exchange, oauth_client, read_json

# Who it is, and the addresses it proved; nothing of its repositories.
SCOPE: Final = "read:user user:email"

_GITHUB: Final = "https://github.com"
_GITHUB_API: Final = "https://api.github.com"
_JSON: Final = "application/vnd.github+json"
_NO_ADDRESSES: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class _User(msgspec.Struct, frozen=True):
    id: int
    login: str
    name: str | None = None


class _Address(msgspec.Struct, frozen=True):
    email: str
    primary: bool
    verified: bool


class Github:
    """One GitHub. The access token of a login is forgotten as soon as it has said who it is."""

    def __init__(self, settings: GithubSettings) -> None:
        self._settings: Final = settings
        base = settings.base_url
        self._authorize_url: Final = f"{base}/login/oauth/authorize"
        self._token_url: Final = f"{base}/login/oauth/access_token"
        self._api_url: Final = _GITHUB_API if base == _GITHUB else f"{base}/api/v3"

    async def authorization_url(self, *, state: str, verifier: str) -> str:
        """Return where the browser is sent to sign in."""
        async with self._client() as client:
            url, _ = client.create_authorization_url(self._authorize_url, state, verifier)
        return url

    async def identify(self, *, code: str, verifier: str) -> ProvenIdentity:
        """Return who came back with `code`. The subject is GitHub's number, which outlives every rename.

        The address is the primary one, if it is verified. Raises ProviderError.
        """
        async with self._client() as client, asyncio.timeout(LOGIN_SECONDS_MAX):
            await exchange(client, self._token_url, code=code, verifier=verifier)
            user: _User = await read_json(client, f"{self._api_url}/user", _User, accept=_JSON)
            email = await self._address(client)
        return ProvenIdentity(
            issuer=self._settings.base_url,
            subject=str(user.id),
            email=email,
            email_verified=email is not None,
            name=user.name or "",
            handle_hint=user.login,
        )

    async def _address(self, client: OauthClient) -> str | None:
        """Return the primary verified address; None where there is none, or the person did not let us see it."""
        answer = await client.request("GET", f"{self._api_url}/user/emails", headers={"accept": _JSON})
        if answer.status_code in _NO_ADDRESSES:
            return None
        answer.raise_for_status()
        addresses: list[_Address] = decoded(answer.content, list[_Address])
        return next((address.email for address in addresses if address.primary and address.verified), None)

    def _client(self) -> Any:  # an asynchronous context manager of OauthClient
        return oauth_client(
            client_id=self._settings.client_id,
            client_secret=self._settings.client_secret.reveal(),
            redirect_uri=self._settings.redirect_uri,
            scope=SCOPE,
            secret_in="client_secret_post",  # noqa: S106  # the name of a way
        )
