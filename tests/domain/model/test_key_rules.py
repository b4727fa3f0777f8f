from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from domain.model.api_key import ENTROPY_BYTES, find_keys, mint
from domain.model.errors import Code, RefusedError
from domain.model.key_rules import (
    ORIGINS_PER_KEY_MAX,
    KeyChange,
    KeyTerms,
    changed,
    check_changed_by_key,
    check_given,
    check_taken_by_key,
    check_terms,
    excess,
    inherited,
)
from domain.model.origins import ORIGIN_CHARACTERS_MAX, is_origin

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
BOUND = KeyTerms(
    scopes=frozenset({"casts:read", "keys:write"}),
    rate_limit_rpm=60,
    open_casts_max=5,
    expires_at=LATER,
    allowed_origins=("https://a.example.com", "https://b.example.com"),
)


def bound(**fields: object) -> KeyTerms:
    return msgspec.structs.replace(BOUND, **fields)


@dataclass(frozen=True)
class Case:
    field: str
    less: object
    more: tuple[object, ...]


CASES = (
    Case("scopes", frozenset({"casts:read"}), (BOUND.scopes | {"casts:write"}, frozenset({"admin"}))),
    Case("rate_limit_rpm", 59, (61, None)),
    Case("open_casts_max", 0, (6, None)),
    Case("expires_at", NOW, (LATER + timedelta(seconds=1), None)),
    Case(
        "allowed_origins",
        ("https://b.example.com",),
        ((), ("https://a.example.com", "https://c.example.com")),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.field)
def test_each_bound_is_seen_to_be_passed_and_to_be_kept(case: Case) -> None:
    assert excess(BOUND, BOUND) == excess(bound(**{case.field: case.less}), BOUND) == []
    for more in case.more:
        assert excess(bound(**{case.field: more}), BOUND) == [case.field]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.field)
def test_a_key_makes_another_more_only_up_to_itself_and_never_itself(case: Case) -> None:
    weak = bound(**{case.field: case.less})
    check_changed_by_key(weak, BOUND, BOUND)
    check_changed_by_key(BOUND, weak, weak)
    for more in case.more:
        for changer in (BOUND, weak):
            with pytest.raises(RefusedError) as caught:
                check_changed_by_key(BOUND, bound(**{case.field: more}), changer)
            assert caught.value.refusal.code is Code.FORBIDDEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.field)
def test_a_key_gets_the_secret_of_no_key_that_may_more(case: Case) -> None:
    check_taken_by_key(BOUND, BOUND, taker_has_budget=False)
    weak = bound(**{case.field: case.less})
    check_taken_by_key(weak, BOUND, taker_has_budget=False)
    with pytest.raises(RefusedError):
        check_taken_by_key(BOUND, weak, taker_has_budget=False)
    with pytest.raises(RefusedError):
        check_taken_by_key(weak, BOUND, taker_has_budget=True)


def test_a_key_made_by_a_key_gets_the_lesser_of_both() -> None:
    nothing = KeyTerms(scopes=frozenset(), rate_limit_rpm=None, open_casts_max=None, expires_at=None)
    assert inherited(nothing, BOUND, maker_has_budget=False) == bound(scopes=frozenset())
    assert inherited(BOUND, bound(rate_limit_rpm=None, allowed_origins=()), maker_has_budget=False) == BOUND
    for asked, has_budget in ((BOUND, True), (bound(allowed_origins=("https://c.example.com",)), False)):
        with pytest.raises(RefusedError):
            inherited(asked, BOUND, maker_has_budget=has_budget)


def test_scopes_are_given_by_whoever_has_them() -> None:
    check_given(frozenset(), frozenset())
    check_given(frozenset({"casts:read"}), BOUND.scopes)
    for scope, words in (("admin", "operator"), ("casts:write", "You lack")):
        with pytest.raises(RefusedError, match=words):
            check_given(frozenset({scope}), BOUND.scopes)


def test_a_change_leaves_what_it_does_not_name() -> None:
    assert changed(BOUND, KeyChange()) == BOUND
    assert changed(BOUND, KeyChange(rate_limit_rpm=None, name="x")) == bound(rate_limit_rpm=None)


def test_terms_are_checked_place_by_place() -> None:
    check_terms(BOUND, NOW)
    too_many = tuple(f"https://n{number}.example.com" for number in range(ORIGINS_PER_KEY_MAX + 1))
    for terms, place in (
        (bound(scopes=frozenset({"root"})), "scopes"),
        (bound(expires_at=NOW), "expires_at"),
        (bound(allowed_origins=("https://a.example.com", "https://a.example.com/")), "allowed_origins.1"),
        (bound(allowed_origins=too_many), "allowed_origins"),
    ):
        with pytest.raises(RefusedError) as caught:
            check_terms(terms, NOW)
        assert [fault.location for fault in caught.value.refusal.faults] == [place]


@pytest.mark.parametrize(
    "text",
    [
        "https://app.example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
    ],
)
def test_an_origin_is_what_a_browser_sends(text: str) -> None:
    assert is_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        *("*", "null", "", "example.com", "//example.com", "ftp://example.com", "https://", "https://exa mple.com"),
        *("https://example.com/", "https://example.com/a", "https://example.com?a", "https://example.com#a"),
        *("https://Example.com", "HTTPS://example.com", "https://bücher.example", "https://example.com."),
        *("https://example.com:443", "http://example.com:80", "https://example.com:0", "https://example.com:65536"),
        *("https://user@example.com", "https://*.example.com", "http://[::1", "http://[0:0::1]", "http://[1.2.3.4]"),
        *("https://example.com\n", "https://-a.example.com", "https://" + "a." * ORIGIN_CHARACTERS_MAX + "com"),
    ],
)
def test_what_no_browser_sends_is_no_origin(text: str) -> None:
    assert not is_origin(text)


def test_keys_are_found_in_any_text_and_nothing_else_is() -> None:
    first, second = (mint(bytes([number]) * ENTROPY_BYTES).text for number in (1, 2))
    mistyped = first[:-1] + ("0" if first[-1] != "0" else "1")
    text = f'KEY="{first}"\nGET /x?key={second}&a=1 {mistyped} {first}{second} sk_live_ sk_live_12345678_ é{first}'
    assert find_keys(text) == [first, second]
    assert find_keys(f"{mistyped} sk_live_nothing") == find_keys("") == []
    assert find_keys(f"sk_live_{second}") == [second]
