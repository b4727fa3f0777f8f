"""What proves where a job came from is HMAC-SHA-256, however its hashes are kept."""

import hmac
from uuid import UUID

import pytest

from domain.model.limits import CastLimits
from domain.model.messages import cast_token

CAST = UUID(int=7)
DIGEST = b"d" * 32
LIMITS = CastLimits(fuel=1, wall_ms=2, memory_bytes=3, output_bytes=4, log_bytes=5)
SAID = CAST.bytes + DIGEST + b"".join(bound.to_bytes(8, "big") for bound in range(1, 6))


@pytest.mark.parametrize("length", [1, 32, 64, 65, 200])
def test_a_token_is_the_first_half_of_a_hmac(length: int) -> None:
    key = bytes(range(length))
    for _ in range(2):
        token = cast_token(key, cast_id=CAST, digest=DIGEST, limits=LIMITS)
        assert token == hmac.digest(key, SAID, "sha256")[:16]


def test_each_key_and_each_cast_has_another() -> None:
    tokens = {
        cast_token(bytes([key]), cast_id=UUID(int=number), digest=DIGEST, limits=LIMITS)
        for key in range(9)
        for number in range(9)
    }
    assert len(tokens) == 81
