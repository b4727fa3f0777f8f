"""A reference to a spell: `owner/name`, with `@latest`, `@1`, `@1.2`, `@1.2.0` or `@sha256:<64 hex>` behind it."""

import re
from typing import Final

import msgspec

from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.versions import Version, VersionRange, parse

# The same forms as the CHECKs of accounts.handle and spells.name.
_HANDLE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,37}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_RANGE: Final = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.(0|[1-9][0-9]{0,8}))?")
REFERENCE_CHARACTERS_MAX: Final = 200


class ModuleDigest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the version whose module has this SHA-256."""

    sha256: bytes


class SpellReference(msgspec.Struct, frozen=True, kw_only=True):
    """A reference taken apart."""

    owner: str
    name: str
    wanted: Version | VersionRange | ModuleDigest


def parse_reference(text: str) -> SpellReference:
    """Return the parts of `text`; RefusedError (validation) says which part is wrong and how to write it."""
    path, at, selector = text.partition("@")
    owner, slash, name = path.partition("/")
    if len(text) > REFERENCE_CHARACTERS_MAX or not slash or not is_handle(owner) or not is_spell_name(name):
        raise _refused(
            message="it is not owner/name", fix="Write owner/name, in lower case letters, digits and hyphens."
        )
    wanted = parse_selector(selector) if at else VersionRange()
    if wanted is None:
        raise _refused(
            message="the part behind @ names no version", fix="Write @latest, @1, @1.2, @1.2.0 or @sha256:<64 hex>."
        )
    return SpellReference(owner=owner, name=name, wanted=wanted)


def parse_selector(text: str) -> Version | VersionRange | ModuleDigest | None:
    """Return what the part behind `@` asks for, or None when it is none of the forms."""
    if text == "latest":
        return VersionRange()
    if (digest := _DIGEST.fullmatch(text)) is not None:
        return ModuleDigest(sha256=bytes.fromhex(digest[1]))
    if (span := _RANGE.fullmatch(text)) is not None:
        return VersionRange(major=int(span[1]), minor=None if span[2] is None else int(span[2]))
    return parse(text)


def is_handle(text: str) -> bool:
    """Tell whether an account may have this handle."""
    return _HANDLE.fullmatch(text) is not None


def is_spell_name(text: str) -> bool:
    """Tell whether a spell may have this name."""
    return _NAME.fullmatch(text) is not None


def _refused(*, message: str, fix: str) -> RefusedError:
    fault = Fault(location="spell", message=message, fix=fix)
    return refuse(Code.VALIDATION, f"This is no reference to a spell: {message}.", faults=(fault,))
