import re

import pytest

from domain.model.login import (
    HANDLE_ENTROPY_BYTES,
    LINK_SEED_BYTES,
    LinkPayload,
    handles_for,
    hash_of,
    is_token,
    link_letter,
    link_token,
    mint_state,
    nonce_of,
    printable,
    read_address,
    stranger_id,
    verifier_of,
)
from domain.model.spell_ref import is_handle

KEY, SEED = b"k" * 32, bytes(range(LINK_SEED_BYTES))
ENTROPY = bytes(range(HANDLE_ENTROPY_BYTES))


def test_what_a_login_carries_belongs_to_its_state_and_its_browser() -> None:
    state, other = mint_state(b"s" * 32), mint_state(b"t" * 32)
    browser, another = b"b" * 32, b"c" * 32
    made = {
        made_of(text, binding)
        for made_of in (verifier_of, nonce_of)
        for text in (state, other)
        for binding in (browser, another)
    }
    assert len(made) == 8
    # RFC 7636, 4.1: 43 to 128 characters of this alphabet.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", text) for text in made)
    assert verifier_of(state, browser) == verifier_of(state, browser)
    assert state not in {verifier_of(state, browser), nonce_of(state, browser)}


def test_a_link_is_made_of_seed_and_key_and_of_neither_alone() -> None:
    token = link_token(SEED, KEY)
    assert is_token(token)
    assert link_token(SEED, KEY) == token
    assert len({token, link_token(SEED, b"l" * 32), link_token(SEED[::-1], KEY)}) == 3
    assert hash_of(token) != hash_of(link_token(SEED, b"l" * 32))


def test_the_letter_holds_the_link_and_says_how_long_it_works() -> None:
    letter = link_letter(LinkPayload(seed=SEED.hex()), KEY, public_url="https://spells.test")
    assert f"\nhttps://spells.test/auth/verify?token={link_token(SEED, KEY)}\n" in letter.text
    assert "once, for 15 minutes" in letter.text
    assert letter.subject == "Sign in to spells.test"


@pytest.mark.parametrize("seed", ["", "00", "zz" * 32, "00" * 33])
def test_a_payload_that_is_none_of_ours_makes_no_letter(seed: str) -> None:
    with pytest.raises(ValueError, match=r"seed|hexadecimal"):
        link_letter(LinkPayload(seed=seed), KEY, public_url="https://spells.test")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("a.b+c@x-y.example", "a.b+c@x-y.example"),
        ("dev@localhost", "dev@localhost"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("a" * 65 + "@example.com", None),
        ("a@" + "b" * 64 + ".com", None),
        ("a@" + ".".join(["b" * 50] * 5), None),
        ("a@b\n", "a@b"),
        ("a@b\nc", None),
        ("a@b,c@d", None),
        ("a@-b.com", None),
        ("a@b..com", None),
        ("a@b.com.", None),
        ("a..b@c.com", None),
        ("a.@c.com", None),
        ("ä@c.com", None),
        ("\u212a@c.com", None),
        ("<a@b.com>", None),
    ],
)
def test_an_address_is_read_as_it_is_stored(text: str, address: str | None) -> None:
    assert read_address(text) == address


def test_the_mail_of_an_address_without_an_account_has_its_own_lasting_name() -> None:
    assert stranger_id("a@b.c") == stranger_id("a@b.c") != stranger_id("a@b.d")


@pytest.mark.parametrize(
    ("hint", "first"),
    [
        ("ada", "ada"),
        ("Ada_Lovelace!", "ada-lovelace"),
        ("--a--", "a"),
        ("x" * 50, "x" * 39),
        ("", None),
        ("日本", None),
        ("admin", None),
        ("Spell", None),
        ("local", None),
    ],
)
def test_a_handle_is_the_persons_own_where_it_may_be(hint: str, first: str | None) -> None:
    handles = handles_for(hint, ENTROPY)
    assert all(is_handle(handle) for handle in handles)
    assert len(set(handles)) == len(handles)
    assert re.fullmatch(r"user-[a-z0-9]{10}", handles[-1])
    assert (handles[0] if first is not None else None) == first
    if first is None:
        assert all(handle.rpartition("-")[0] for handle in handles)
    assert handles_for(hint, ENTROPY[::-1])[-1] != handles[-1]


def test_what_others_call_a_person_is_shown_without_what_cannot_be_printed() -> None:
    assert printable("A\x00d\x1ba\u202e\n", 10) == "Ada"
    assert printable("  " + "x" * 300, 100) == "x" * 98
