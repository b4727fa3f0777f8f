"""What whoever casts a spell should know about the version it got: warnings, never refusals."""

from typing import Final

import msgspec

DEPRECATION_CHARACTERS_MAX: Final = 500


class CastWarning(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know. `code` is `yanked`, `spell_deprecated` or `version_deprecated`; `message` is for a person."""

    code: str
    message: str


def warnings_of(
    *, reference: str, yanked: bool, spell_deprecation: str | None, version_deprecation: str | None
) -> tuple[CastWarning, ...]:
    """Return what to tell of the version `reference` (owner/name@version), in order; empty for nearly all."""
    found: list[CastWarning] = []
    if yanked:
        message = f"{reference} was yanked by its creator. It still runs because you named it; move to another version."
        found.append(CastWarning(code="yanked", message=message))
    if spell_deprecation is not None:
        message = f"{reference.partition('@')[0]} is deprecated: {spell_deprecation}"
        found.append(CastWarning(code="spell_deprecated", message=message))
    if version_deprecation is not None:
        found.append(
            CastWarning(code="version_deprecated", message=f"{reference} is deprecated: {version_deprecation}")
        )
    return tuple(found)
