"""Tokens and codes: what they look like, that they differ, and that nothing shows them."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from domain.model.device_login import ENTROPY_BYTES as CODE_ENTROPY_BYTES
from domain.model.device_login import hash_of_device_code, mint_codes, read_user_code
from domain.model.session import (
    ENTROPY_BYTES,
    SESSION_DAYS_MAX,
    UNKNOWN_DEVICE,
    device_of,
    hash_of_token,
    is_token,
    mint_session,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_token_holds_all_its_entropy_and_its_id_tells_none_of_it() -> None:
    zeros, ones = (mint_session(byte * ENTROPY_BYTES, NOW) for byte in (b"\0", b"\xff"))
    assert zeros.token == "ss_" + "A" * 43
    assert ones.token == "ss_" + "_" * 42 + "8"
    assert zeros.session_id != ones.session_id
    assert zeros.session_id.bytes not in {hash_of_token(zeros.token)[:16], bytes(16)}
    assert zeros.expires_at == NOW + timedelta(days=SESSION_DAYS_MAX)
    assert zeros.token not in repr(zeros)
    assert mint_session(bytes(ENTROPY_BYTES), NOW) == zeros
    last_bits = {mint_session(bytes(ENTROPY_BYTES - 1) + bytes([number]), NOW).token for number in range(256)}
    assert len(last_bits) == 256


@pytest.mark.parametrize(
    "text", ["", "ss_", "ss_" + "A" * 42, "ss_" + "A" * 44, "ss_" + "=" * 43, "sk_" + "A" * 43, "ss_" + "é" * 43]
)
def test_other_texts_are_no_tokens(text: str) -> None:
    assert not is_token(text)
    assert is_token("ss_" + "A" * 43)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("something (Macintosh)", "macOS"),
        ("", UNKNOWN_DEVICE),
        ("<script>alert(1)</script>", UNKNOWN_DEVICE),
    ],
)
def test_a_device_is_named_in_words(said: str, shown: str) -> None:
    assert device_of(said) == shown


def test_codes_are_read_as_people_type_them() -> None:
    codes = mint_codes(bytes(32) + (20**8 - 1).to_bytes(8, "big"))
    assert codes.user_code == "ZZZZ-ZZZZ"
    assert codes.device_code == "A" * 43
    assert codes.user_code not in repr(codes)
    assert codes.device_code not in repr(codes)
    for typed in ("ZZZZ-ZZZZ", "zzzzzzzz", " zzzz zzzz ", "z-z-z-z-z-z-z-z"):
        assert read_user_code(typed) == "ZZZZ-ZZZZ"
    for wrong in ("", "ZZZZ-ZZZ", "ZZZZ-ZZZZZ", "AAAA-AAAA", "ZZZZ_ZZZZ"):
        assert read_user_code(wrong) is None
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", mint_codes(b"x" * 40).user_code)
    assert CODE_ENTROPY_BYTES == 40


def test_a_device_code_is_stored_as_its_hash() -> None:
    first, second = (hash_of_device_code(letter * 43) for letter in "AB")
    assert first is not None
    assert len(first) == 32
    assert first != second
    assert hash_of_device_code("A" * 42) is None
    assert hash_of_device_code("é" * 43) is None
