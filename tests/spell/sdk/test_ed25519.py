"""Our own verifying against RFC 8032's vectors and against the library the platform signs with."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from spell.core.ed25519 import verify

ORDER = 2**252 + 27742317777372353535851937790883648493
# RFC 8032, 7.1: public key, message, signature of tests 1, 2, 3 and SHA(abc).
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
            "24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
            "eeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed2"
            "8dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce8"
            "0e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac1"
            "7ad9bef1177331a704"
        ),
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(key: str, message: str, signature: str) -> None:
    raw = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert verify(*raw)
    assert not verify(raw[0], raw[1] + b"x", raw[2])


def theirs(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=200),
    place=st.integers(0, 95),
    bit=st.integers(0, 8),
)
def test_it_says_what_the_library_says(seed: bytes, message: bytes, place: int, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    both = bytearray(key + signature)
    if bit < 8:
        both[place] ^= 1 << bit
    key, signature = bytes(both[:32]), bytes(both[32:])
    assert verify(key, message, signature) is theirs(key, message, signature) is (bit == 8)


def test_a_signature_is_written_in_one_way_alone() -> None:
    key, message, signature = (bytes.fromhex(part) for part in VECTORS[1])
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(key, message, signature[:32] + s.to_bytes(32, "little")), "S is reduced"
    assert not verify(key, message, signature + b"\0")
    assert not verify(key[:31], message, signature)


@pytest.mark.parametrize(
    "point",
    [
        (2**255 - 19 + 1).to_bytes(32, "little"),  # y = 1, written as p + 1
        (1 | 1 << 255).to_bytes(32, "little"),  # x = 0, called odd
        (2).to_bytes(32, "little"),  # not on the curve
        b"\xff" * 32,
    ],
)
def test_what_is_no_point_verifies_nothing(point: bytes) -> None:
    signature = bytes.fromhex(VECTORS[0][2])
    assert not verify(point, b"", signature)
    assert not verify(bytes.fromhex(VECTORS[0][0]), b"", point + signature[32:])
