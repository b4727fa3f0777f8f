"""What the platform signs about an artifact, and how its files are called."""

import pytest

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name

DIGEST, OTHER = bytes(range(32)), bytes(32)


def test_the_statement_holds_module_engine_and_artifact() -> None:
    statement = artifact_statement(digest=DIGEST, engine_key="wasmtime-1", artifact_sha256=OTHER)
    assert statement == b"spell-artifact-v1\0" + DIGEST + b"wasmtime-1" + OTHER


def test_another_module_engine_or_artifact_is_another_statement() -> None:
    statements = {
        artifact_statement(digest=digest, engine_key=key, artifact_sha256=artifact)
        for digest in (DIGEST, OTHER)
        for key in ("a", "b", "ab", "")
        for artifact in (DIGEST, OTHER)
    }
    assert len(statements) == 16


@pytest.mark.parametrize(("digest", "artifact"), [(b"", DIGEST), (DIGEST, b""), (DIGEST + b"x", DIGEST)])
def test_hashes_of_another_length_are_refused(digest: bytes, artifact: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        artifact_statement(digest=digest, engine_key="a", artifact_sha256=artifact)


def test_the_pair_of_files_shares_its_name() -> None:
    assert artifact_file_name(DIGEST, "k") == f"{DIGEST.hex()}.k.cwasm"
    assert signature_file_name(DIGEST, "k") == f"{DIGEST.hex()}.k.sig"
