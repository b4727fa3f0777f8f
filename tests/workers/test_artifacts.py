"""The worker's artifact cache against a real HTTP server: fetched once, verified, shared, bounded."""

import base64
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from gateways.signing import Signer, Verifier, generate_key_pair
from workers.artifacts import SIGNATURE_HEADER, ArtifactCache, ArtifactUnavailableError

ENGINE = "wasmtime-1.2.3-test-0000"
TOKEN = "worker-token"


class Api:
    """What the api's internal route answers, and a log of what was asked."""

    def __init__(self) -> None:
        keys = generate_key_pair()
        self.verify_key = keys.verify_key
        self.signer = Signer(keys.signing_key)
        self.artifacts: dict[str, tuple[bytes, str]] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.url = ""

    def add(self, artifact: bytes, *, signature: bytes | None = None) -> bytes:
        digest = hashlib.sha256(b"module of " + artifact).digest()
        statement = artifact_statement(
            digest=digest, engine_key=ENGINE, artifact_sha256=hashlib.sha256(artifact).digest()
        )
        signed = self.signer.sign(statement) if signature is None else signature
        self.artifacts[digest.hex()] = artifact, base64.b64encode(signed).decode()
        return digest


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            digest, engine = url.path.removeprefix("/internal/artifacts/"), parse_qs(url.query).get("engine", [""])[0]
            api.requests.append((digest, engine, self.headers.get("Authorization", "")))
            found = api.artifacts.get(digest) if engine == ENGINE else None
            body, signature = found or (b"", "")
            self.send_response(200 if found else 404)
            self.send_header(SIGNATURE_HEADER, signature)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


def open_cache(api: Api, folder: Path, **options: int) -> ArtifactCache:
    return ArtifactCache(
        folder=folder, base_url=api.url, token=TOKEN, verify_key=api.verify_key, engine_key=ENGINE, **options
    )


@pytest.fixture
def cache(api: Api, tmp_path: Path) -> Iterator[ArtifactCache]:
    cache = open_cache(api, tmp_path / "artifacts")
    yield cache
    cache.close()


def test_fetches_once_with_the_token_and_the_engine(api: Api, cache: ArtifactCache) -> None:
    digest = api.add(b"machine code")
    path = cache.path(digest)
    assert path.read_bytes() == b"machine code"
    assert cache.path(digest) == path
    assert api.requests == [(digest.hex(), ENGINE, f"Bearer {TOKEN}")]
    signature = path.with_name(signature_file_name(digest, ENGINE)).read_bytes()
    statement = artifact_statement(
        digest=digest, engine_key=ENGINE, artifact_sha256=hashlib.sha256(b"machine code").digest()
    )
    assert Verifier(api.verify_key).accepts(signature, statement)


def test_another_process_finds_what_one_fetched(api: Api, cache: ArtifactCache) -> None:
    digest = api.add(b"machine code")
    cache.path(digest)
    other = open_cache(api, cache.folder)
    assert other.path(digest).read_bytes() == b"machine code"
    other.close()
    assert len(api.requests) == 1


def test_many_threads_and_caches_at_once_fetch_few_times(api: Api, cache: ArtifactCache) -> None:
    digests = [api.add(os.urandom(100_000)) for _ in range(4)]
    other = open_cache(api, cache.folder)
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit((cache, other)[n % 2].path, digests[n % 4]) for n in range(64)]
        paths = [job.result() for job in jobs]
    other.close()
    for n, path in enumerate(paths):
        assert path.read_bytes() == api.artifacts[digests[n % 4].hex()][0]
    assert len(api.requests) <= 8, "each cache asks for each module at most once"
    assert [path for path in cache.folder.iterdir() if path.name.endswith(".partial")] == []


def test_files_are_readable_by_the_jailed_user_and_writable_by_nobody(api: Api, cache: ArtifactCache) -> None:
    path = cache.path(api.add(b"machine code"))
    assert path.stat().st_mode & 0o777 == 0o444
    assert cache.folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("signature", [b"", bytes(64), b"short"])
def test_what_is_not_signed_is_not_kept(signature: bytes, api: Api, cache: ArtifactCache) -> None:
    digest = api.add(b"machine code", signature=signature)
    with pytest.raises(ArtifactUnavailableError, match="signature"):
        cache.path(digest)
    assert list(cache.folder.glob("*.cwasm")) == []


def test_a_changed_artifact_is_not_kept(api: Api, cache: ArtifactCache) -> None:
    digest = api.add(b"machine code")
    _, signature = api.artifacts[digest.hex()]
    api.artifacts[digest.hex()] = b"other code!!", signature
    with pytest.raises(ArtifactUnavailableError, match="signature"):
        cache.path(digest)


def test_none_fits_this_engine(api: Api, cache: ArtifactCache) -> None:
    with pytest.raises(ArtifactUnavailableError, match="recompile"):
        cache.path(bytes(32))
    digest = api.add(b"later")
    assert cache.path(digest).exists()


def test_an_api_that_is_away_is_said_so_and_tried_again(api: Api, tmp_path: Path) -> None:
    cache = ArtifactCache(
        folder=tmp_path, base_url="http://127.0.0.1:9", token=TOKEN, verify_key=api.verify_key, engine_key=ENGINE
    )
    with pytest.raises(ArtifactUnavailableError, match="could not be fetched"):
        cache.path(bytes(32))
    cache.close()


def test_a_digest_of_another_length_is_refused(cache: ArtifactCache, api: Api) -> None:
    with pytest.raises(ArtifactUnavailableError, match="32 bytes"):
        cache.path(b"../../etc/passwd")
    assert api.requests == []


def age(cache: ArtifactCache, digest: bytes, seconds: int) -> None:
    path = cache.folder / artifact_file_name(digest, ENGINE)
    stamp = path.stat().st_mtime - seconds
    os.utime(path, (stamp, stamp))


def test_the_folder_is_bounded_and_loses_the_oldest(api: Api, tmp_path: Path) -> None:
    cache = open_cache(api, tmp_path / "artifacts", folder_bytes_max=2_500)
    old, older, fresh, newest = (api.add(bytes([n]) * 1_000) for n in range(4))
    cache.path(old)
    cache.path(older)
    age(cache, old, 1_000)
    age(cache, older, 2_000)
    cache.path(fresh)
    kept = {path.name for path in cache.folder.glob("*")} - {".lock"}
    assert kept == {
        name(digest, ENGINE) for digest in (old, fresh) for name in (artifact_file_name, signature_file_name)
    }
    # What was asked for a moment ago stays even when that is too much: a child may be about to load it.
    cache.path(older)
    assert (cache.folder / artifact_file_name(fresh, ENGINE)).exists()
    cache.path(newest)
    assert (cache.folder / artifact_file_name(fresh, ENGINE)).exists()
    cache.close()


def test_forget_makes_the_next_call_fetch_again(api: Api, cache: ArtifactCache) -> None:
    digest = api.add(b"machine code")
    path = cache.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"bit rot")
    cache.forget(digest)
    assert cache.path(digest).read_bytes() == b"machine code"
    assert len(api.requests) == 2
