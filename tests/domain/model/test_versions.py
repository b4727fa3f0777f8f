import random

import pytest

from domain.model.errors import Code, RefusedError
from domain.model.spell_ref import ModuleDigest, SpellReference, parse_reference, parse_selector
from domain.model.versions import Version, VersionRange, highest, parse

# semver.org, section 11: each is lower than the next.
IN_ORDER = [
    "0.9.9",
    "1.0.0-1",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def parsed(text: str) -> Version:
    version = parse(text)
    assert version is not None, text
    return version


def test_versions_are_ordered_as_semver_says() -> None:
    shuffled = IN_ORDER.copy()
    random.Random(7).shuffle(shuffled)
    assert [str(v) for v in sorted(map(parsed, shuffled), key=Version.rank)] == IN_ORDER


@pytest.mark.parametrize("text", IN_ORDER)
def test_a_version_reads_back_as_it_was_written(text: str) -> None:
    assert str(parsed(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0-a..b", "1.0.0+build", "v1.0.0", "1.0.0 ", "1.0.0\n",
     "1.0.0-é", "-1.0.0", "1.0.0.0", "٣.0.0", f"1.0.0-{'a' * 64}", "9999999999.0.0"],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (VersionRange(), "2.0.0"),
        (VersionRange(major=1), "1.10.0"),
        (VersionRange(major=1, minor=0), "1.0.1"),
        (VersionRange(major=0), "0.9.9"),
        (VersionRange(major=3), None),
        (VersionRange(major=1, minor=3), None),
    ],
)
def test_a_range_means_its_highest_release(wanted: VersionRange, expected: str | None) -> None:
    found = highest(wanted, map(parsed, IN_ORDER))
    assert (None if found is None else str(found)) == expected


def test_a_range_never_means_a_prerelease() -> None:
    assert highest(VersionRange(), [parsed("1.0.0-rc.1")]) is None


def test_references() -> None:
    def wanted(selector: str) -> object:
        return parse_reference(f"ada/word-count{selector}").wanted

    assert parse_reference("ada/word-count") == SpellReference(owner="ada", name="word-count", wanted=VersionRange())
    assert wanted("@latest") == VersionRange()
    assert wanted("@1") == VersionRange(major=1)
    assert wanted("@1.2") == VersionRange(major=1, minor=2)
    assert wanted("@1.2.0") == Version(major=1, minor=2, patch=0)
    assert wanted("@1.2.0-rc.1") == Version(major=1, minor=2, patch=0, prerelease=("rc", "1"))
    assert wanted("@sha256:" + "ab" * 32) == ModuleDigest(sha256=b"\xab" * 32)
    assert parse_selector("newest") is None


@pytest.mark.parametrize(
    "text",
    ["", "ada", "ada/", "/name", "ada/name/", "Ada/name", "ada/na me", "ada/name@", "ada/name@x", "ada/name@1.",
     "ada/name@01", "ada/name@sha256:12", "ada/name@sha256:" + "AB" * 32, "ada/name@1@2", "a" * 40 + "/x",
     "ada/" + "n" * 65, "-ada/name", "ada/name-", "ada\x00/name", "ada/name@" + "1" * 300],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_a_fix(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_reference(text)
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults[0].fix
