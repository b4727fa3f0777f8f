"""What asking GitHub and OpenID issuers has in common: one bounded, patient-for-so-long OAuth client, one error."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, cast

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client

# One call; a person waits in front of an empty page meanwhile.
CALL_SECONDS_MAX: Final = 5.0
# All calls of one login.
LOGIN_SECONDS_MAX: Final = 15.0
# A user, a list of addresses, a key set: each a few KiB. Nobody fills our memory with one.
ANSWER_BYTES_MAX: Final = 512 * 1024
USER_AGENT: Final = "Spell-Platform-Login/1"

_OK: Final = 200
# It writes a line for each request, at the level of our own.
logging.getLogger("httpx2").setLevel(logging.WARNING)


class ProviderError(Exception):
    """A login could not be finished there. The message is for the log: it holds no secret and no text of theirs."""


class OauthClient(Protocol):
    """What is used of Authlib's client, which has no types of its own."""

    def create_authorization_url(self, url: str, state: str, code_verifier: str, **more: str) -> tuple[str, str]:
        """Return the address a browser is sent to."""
        ...

    async def fetch_token(self, url: str, **fields: str) -> Mapping[str, object]:
        """Exchange a code for a token, and use the token from then on."""
        ...

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], withhold_token: bool = False
    ) -> httpx2.Response:
        """Ask, with the token unless it is withheld."""
        ...


@asynccontextmanager
async def oauth_client(
    *, client_id: str, client_secret: str, redirect_uri: str, scope: str, secret_in: str
) -> AsyncGenerator[OauthClient]:
    """Yield a client for one login. Whatever fails in the block is a ProviderError.

    It follows no redirect, takes nothing from the environment, and keeps no connection that another login could
    inherit. `secret_in` is how the token endpoint wants the client's secret, by its name in RFC 7591.
    """
    make = cast("Any", AsyncOAuth2Client)  # without types; OauthClient says what is used of it
    try:
        async with make(
            client_id,
            client_secret,
            token_endpoint_auth_method=secret_in,
            scope=scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            transport=_BoundedTransport(trust_env=False),
            timeout=httpx2.Timeout(CALL_SECONDS_MAX),
            trust_env=False,
            headers={"user-agent": USER_AGENT},
        ) as client:
            yield cast("OauthClient", client)
    except AuthlibBaseError as error:
        # `error` is one of a few words (RFC 6749, 5.2); the description beside it may say anything.
        message = f"refused: {_word(cast('object', error.error))}"
        raise ProviderError(message) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        message = f"cannot be used: {type(error).__name__}"
        raise ProviderError(message) from error


async def exchange(client: OauthClient, url: str, *, code: str, verifier: str) -> Mapping[str, object]:
    """Return the answer of the token endpoint to a code; `client` has the token then. Raises ProviderError."""
    try:
        return await client.fetch_token(url, code=code, code_verifier=verifier, grant_type="authorization_code")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # Authlib reads answers trustingly; one that is no token, or no JSON, ends in one of these.
        message = f"answered what nobody understands: {type(error).__name__}"
        raise ProviderError(message) from error


async def read_json(
    client: OauthClient, url: str, shape: type[Any], *, accept: str = "application/json", withhold_token: bool = False
) -> Any:  # an instance of `shape`
    """Return what `url` answers. Raises ProviderError unless it is 200 and fits."""
    answer = await client.request("GET", url, headers={"accept": accept}, withhold_token=withhold_token)
    if answer.status_code != _OK:
        message = f"answered {answer.status_code}"
        raise ProviderError(message)
    return decoded(answer.content, shape)


def decoded(content: bytes, shape: type[Any]) -> Any:  # an instance of `shape`
    """Return JSON as `shape`. Raises ProviderError."""
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = "answered JSON of another shape"
        raise ProviderError(message) from None


def _word(text: object) -> str:
    return "".join(character for character in str(text)[:60] if character.isalnum() or character in "_-")


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Ends an answer that is longer than anything a login needs."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super().handle_async_request(request)
        stream = answer.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        answer.stream = _BoundedStream(stream)
        return answer


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in self._stream:
            size_bytes += len(chunk)
            if size_bytes > ANSWER_BYTES_MAX:
                message = "the answer is too long"
                raise httpx2.ReadError(message)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
