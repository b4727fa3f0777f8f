"""Logins: what proves who somebody is, the secrets of a login under way, and the mail with a link. Pure."""

import base64
import hashlib
import hmac
import re
from typing import Final, Literal
from uuid import UUID, uuid5

import msgspec

from domain.model.events import Letter
from domain.model.spell_ref import is_handle

STATE_BYTES: Final = 32
LINK_SEED_BYTES: Final = 32
# Enough to type a password and a second factor at somebody else's page.
FLOW_S: Final = 600
LINK_S: Final = 900
# Of one address, whoever asks: nobody's mailbox is filled through us, and three are enough for who lost two.
LINKS_PER_ADDRESS_MAX: Final = 3
# Finished logins are dropped a piece at a time by those that begin, so that a storm leaves nothing behind.
DROPPED_PER_LOGIN: Final = 100
ADDRESS_CHARACTERS_MAX: Final = 254
SUBJECT_CHARACTERS_MAX: Final = 255
NAME_CHARACTERS_MAX: Final = 100
HANDLE_ENTROPY_BYTES: Final = 16
# Who says so, where a mailed link was followed; its subject is the address.
MAIL_ISSUER: Final = "email"
LINK_EVENT: Final = "login.link"

Provider = Literal["github", "oidc"]

_HANDLE_CHARACTERS_MAX: Final = 39
_HANDLE_ALPHABET: Final = "bcdfghjkmnpqrstvwxz23456789"
_TAIL_CHARACTERS: Final = 6
_RANDOM_CHARACTERS: Final = 10
_NOT_IN_HANDLES: Final = re.compile(r"[^a-z0-9]+")
# Handles that would be read as ours: who casts `admin/...` thinks that the operator made it.
_SOUNDS_LIKE_US: Final = frozenset(
    {"admin", "administrator", "api", "billing", "help", "operator", "root", "security", "spell", "spells", "staff"}
    | {"support", "system", "www", "local", "runtime"}
)
# What mail servers take without extensions; quoted local parts and address literals are nobody's login.
_ADDRESS: Final = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# The mails to an address without an account: a name that is the same each time, and no account's.
_STRANGERS: Final = UUID("3f0c9a52-6d55-5c0e-9a43-0f4b0a7f2f6d")
_VERIFIER: Final = b"spell login: PKCE verifier\0"
_NONCE: Final = b"spell login: OpenID nonce\0"
_LINK: Final = b"spell login: mailed link\0"


class ProvenIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A person as an issuer knows it; whoever made this has checked it."""

    issuer: str
    subject: str
    """Never given to another person by this issuer."""
    email: str | None
    email_verified: bool
    """The issuer says that the address is this person's."""
    name: str = ""
    handle_hint: str = ""
    """What the person is called there; free or not, fitting or not."""


class LoginUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed in."""

    user_id: UUID
    account_id: UUID
    handle: str
    made: bool
    """This was the first login: the account is new."""


class LinkPayload(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of a link's row: what the courier derives the link from. Nobody can without the signing key."""

    seed: str
    """LINK_SEED_BYTES random bytes in hex."""


def hash_of(text: str) -> bytes:
    """Return what is stored of a state or a link: 256 random bits need no slower hash."""
    return hashlib.sha256(text.encode()).digest()


def browser_hash(binding: bytes) -> bytes:
    """Return what is stored of the browser that begins a login."""
    return hashlib.sha256(binding).digest()


def is_token(text: str) -> bool:
    """Tell whether `text` has the form of a state or of a link's token."""
    return _TOKEN.fullmatch(text) is not None


def mint_state(entropy: bytes) -> str:
    """Return the `state` of a login that goes elsewhere and comes back; `entropy` is STATE_BYTES random bytes."""
    assert len(entropy) == STATE_BYTES
    return _text(entropy)


def verifier_of(state: str, binding: bytes) -> str:
    """Return the PKCE verifier (RFC 7636) of a login: known to this browser and to us while it asks, stored nowhere."""
    return _text(hmac.digest(binding, _VERIFIER + state.encode(), "sha256"))


def nonce_of(state: str, binding: bytes) -> str:
    """Return the nonce of an OpenID login: a token made for another login or another browser carries another one."""
    return _text(hmac.digest(binding, _NONCE + state.encode(), "sha256"))


def link_token(seed: bytes, signing_key: bytes) -> str:
    """Return the token of a mailed link. What is stored, seed and hash, opens nothing without `signing_key`."""
    assert len(seed) == LINK_SEED_BYTES
    return _text(hmac.digest(signing_key, _LINK + seed, "sha256"))


def link_letter(payload: LinkPayload, signing_key: bytes, *, public_url: str) -> Letter:
    """Return the mail with the link. Raises ValueError when the payload is none of ours."""
    seed = bytes.fromhex(payload.seed)
    if len(seed) != LINK_SEED_BYTES:
        message = "the seed of a link has another length"
        raise ValueError(message)
    host = public_url.partition("://")[2]
    return Letter(
        subject=f"Sign in to {host}",
        text=(
            f"Somebody, most likely you, wants to sign in to {host} with this address.\n"
            f"Open this link in the browser where you asked for it, and press the button there:\n\n"
            f"{public_url}/auth/verify?token={link_token(seed, signing_key)}\n\n"
            f"It works once, for {LINK_S // 60} minutes. If it was not you, do nothing: nobody gets in without it.\n"
        ),
    )


def read_address(text: str) -> str | None:
    """Return a mail address as it is stored, in lower case; None for what no mail can be sent to.

    ASCII only, looked at before case: the lower case of some letters (the Kelvin sign) is another person's address.
    """
    address = text.strip().lower() if text.isascii() else ""
    fits = len(address) <= ADDRESS_CHARACTERS_MAX and _ADDRESS.fullmatch(address) is not None
    local = address.partition("@")[0]
    return address if fits and ".." not in local and not local.startswith(".") and not local.endswith(".") else None


def stranger_id(address: str) -> UUID:
    """Return the id that mail to an address has instead of an account's, where there is none."""
    return uuid5(_STRANGERS, address)


def handles_for(hint: str, entropy: bytes) -> tuple[str, ...]:
    """Return handles for a new account, the best first; the last is taken by nobody. `entropy` is random.

    A handle is public, so none is made of a mail address.
    """
    assert len(entropy) == HANDLE_ENTROPY_BYTES
    number, letters = int.from_bytes(entropy, "big"), ""
    for _ in range(_TAIL_CHARACTERS + _RANDOM_CHARACTERS):
        number, letter = divmod(number, len(_HANDLE_ALPHABET))
        letters += _HANDLE_ALPHABET[letter]
    tail, random = letters[:_TAIL_CHARACTERS], f"user-{letters[_TAIL_CHARACTERS:]}"
    wanted = _NOT_IN_HANDLES.sub("-", hint.lower()).strip("-")[:_HANDLE_CHARACTERS_MAX].strip("-")
    if not is_handle(wanted):
        return (random,)
    shorter = wanted[: _HANDLE_CHARACTERS_MAX - _TAIL_CHARACTERS - 1].strip("-")
    own = () if wanted in _SOUNDS_LIKE_US else (wanted,)
    return (*own, f"{shorter}-{tail}", random)


def printable(text: str, characters_max: int) -> str:
    """Return text of somebody else's as it may be stored and shown."""
    return "".join(character for character in text if character.isprintable())[:characters_max].strip()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
