"""Semantic versions (semver.org 2.0.0) of spells: parsed, ordered, and chosen from by a range."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

# Build metadata is left out of the grammar: it does not order versions, so two of one rank could not be told apart.
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,8})"
_IDENTIFIER: Final = r"(?:0|[1-9][0-9]{0,8}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?")
VERSION_CHARACTERS_MAX: Final = 64


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed version. `prerelease` is empty for a release."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()

    def __str__(self) -> str:
        release = f"{self.major}.{self.minor}.{self.patch}"
        return f"{release}-{'.'.join(self.prerelease)}" if self.prerelease else release

    def rank(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        """Sort key by semver's precedence: a prerelease before its release, numbers before words."""
        parts = tuple((False, int(part), "") if part.isdigit() else (True, 0, part) for part in self.prerelease)
        return (self.major, self.minor, self.patch, not self.prerelease, parts)


class VersionRange(msgspec.Struct, frozen=True, kw_only=True):
    """What `@latest` (both None), `@1` or `@1.2` ask for: the highest release that fits."""

    major: int | None = None
    minor: int | None = None

    def contains(self, version: Version) -> bool:
        """Tell whether `version` is a release that fits. Prereleases are only had by their exact name."""
        return not version.prerelease and self.major in {None, version.major} and self.minor in {None, version.minor}


def parse(text: str) -> Version | None:
    """Return the version that `text` is in full, or None."""
    match = _VERSION.fullmatch(text) if len(text) <= VERSION_CHARACTERS_MAX else None
    if match is None:
        return None
    major, minor, patch, prerelease = match.groups()
    return Version(
        major=int(major),
        minor=int(minor),
        patch=int(patch),
        prerelease=tuple(prerelease.split(".")) if prerelease else (),
    )


def highest(wanted: VersionRange, offered: Iterable[Version]) -> Version | None:
    """Return the highest of `offered` that `wanted` contains, or None when none does."""
    return max((version for version in offered if wanted.contains(version)), key=Version.rank, default=None)
