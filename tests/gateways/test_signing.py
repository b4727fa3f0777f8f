"""Ed25519 keys in base64: what one half signs the other accepts, and nothing else."""

import base64

import pytest

from gateways.signing import Signer, Verifier, generate_key_pair


def test_a_signature_is_accepted_for_its_statement_and_key_alone() -> None:
    keys, others = generate_key_pair(), generate_key_pair()
    signature = Signer(keys.signing_key).sign(b"statement")
    assert len(signature) == 64
    assert Verifier(keys.verify_key).accepts(signature, b"statement")
    assert not Verifier(keys.verify_key).accepts(signature, b"statement ")
    assert not Verifier(keys.verify_key).accepts(signature[:-1], b"statement")
    assert not Verifier(keys.verify_key).accepts(b"", b"statement")
    assert not Verifier(others.verify_key).accepts(signature, b"statement")


def test_the_signer_knows_its_public_half() -> None:
    keys = generate_key_pair()
    assert Signer(keys.signing_key).verify_key == keys.verify_key != keys.signing_key


@pytest.mark.parametrize("key", ["", "not base64!", "bm8=", base64.b64encode(bytes(33)).decode()])
def test_a_wrong_key_is_named_without_being_shown(key: str) -> None:
    for make in (Signer, Verifier):
        with pytest.raises(ValueError, match=r"(signing|verify) key") as caught:
            make(key)
        assert not key or key not in str(caught.value)


def test_every_pair_is_new() -> None:
    assert len({generate_key_pair().signing_key for _ in range(10)}) == 10
