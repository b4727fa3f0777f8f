"""Receipts as a user verifies them: with what was saved, and with keys from the platform or from before."""

import base64
from typing import Any

import msgspec
import pytest

from gateways.jose import JwsSigner, public_key
from spell import receipts
from spell.errors import ReceiptInvalid

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
TYP = "spell-receipt+jws"
SAID: dict[str, Any] = {
    "v": 1,
    "issuer": "https://spells.example",
    "cast_id": "0199",
    "account": "ada",
    "spell": "ada/words",
    "version": "1.0.0",
    "digest": "sha256:00",
    "status": "succeeded",
    "outcome": "succeeded",
    "accepted_at": "2026-11-29T10:00:00Z",
    "lines": [{"what": "fee", "quantity": 1, "rate_micros": 1000, "amount_micros": 1000, "charged": True}],
    "hold": {
        "held_micros": 2500,
        "captured_micros": 1000,
        "released_micros": 1500,
        "waived_micros": 0,
        "pays_for": "everything",
        "reason": "…",
    },
    "platform_micros": 1000,
    "creator_micros": 0,
    "funding": "metered",
}


def keys(*seeds: bytes, purpose: str = "receipts") -> bytes:
    return msgspec.json.encode({"keys": [public_key(seed, purpose=purpose) for seed in seeds]})


def document(said: dict[str, Any] | None = None, *, seed: bytes = SEED, typ: str = TYP) -> dict[str, Any]:
    payload = msgspec.json.encode(SAID)
    return {"receipt": SAID if said is None else said, "jws": JwsSigner(seed).sign(payload, typ=typ), "jwks_url": "x"}


def test_a_receipt_is_what_was_signed() -> None:
    saved = document()
    for given in (msgspec.json.encode(saved), msgspec.json.encode(saved).decode(), saved["jws"], f" {saved['jws']}\n"):
        found = receipts.verify(given, keys(OTHER, SEED))
        assert (found.cast_id, found.hold.captured_micros, found.lines[0].what) == ("0199", 1000, "fee")


def test_a_field_that_was_changed_or_added_is_noticed() -> None:
    cheaper = {**SAID, "hold": {**SAID["hold"], "captured_micros": 1}}
    for changed in (cheaper, {**SAID, "note": "unsigned"}, {}):
        with pytest.raises(ReceiptInvalid, match="the readable part was changed"):
            receipts.verify(msgspec.json.encode(document(changed)), keys(SEED))


def test_what_was_signed_cannot_be_changed() -> None:
    saved = document()
    head, _, signature = saved["jws"].split(".")
    payload = base64.urlsafe_b64encode(msgspec.json.encode({**SAID, "creator_micros": 1})).rstrip(b"=").decode()
    with pytest.raises(ReceiptInvalid, match="does not fit"):
        receipts.verify(f"{head}.{payload}.{signature}", keys(SEED))


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        (document(seed=OTHER), keys(SEED), "none of the platform's receipt keys"),
        (document(), keys(SEED, purpose="artifacts"), "none of the platform's receipt keys"),
        (document(typ="spell-quote+jws"), keys(SEED), "not as a receipt"),
        ({**document(), "jws": None}, keys(SEED), "is not signed"),
        ({**document(), "jws": "a.b"}, keys(SEED), "three parts"),
        ({**document(), "jws": "é.b.c"}, keys(SEED), "base64url"),
        ({**document(), "jws": "e30.e30.e30"}, keys(SEED), "header"),
        ({"receipt": 1}, keys(SEED), "is not signed"),
        ({"jws": "x"}, keys(SEED), "it is no receipt"),
        (document(), b"{}", "no JSON Web Key Set"),
    ],
)
def test_everything_else_is_refused_in_words(given: dict[str, Any], known: bytes, said: str) -> None:
    with pytest.raises(ReceiptInvalid, match=said):
        receipts.verify(msgspec.json.encode(given), known)


def test_a_signature_without_an_algorithm_is_none() -> None:
    header = {"alg": "none", "typ": TYP, "kid": msgspec.json.decode(keys(SEED))["keys"][0]["kid"]}
    parts = [base64.urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=").decode() for part in (header, SAID)]
    with pytest.raises(ReceiptInvalid, match="with none"):
        receipts.verify(".".join([*parts, ""]), keys(SEED))
