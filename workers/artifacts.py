"""The worker's cache of compiled modules: fetched once from the api, verified, kept on disk for every child.

Threads of several worker processes share one folder. A pair of files (artifact and signature) appears whole under the
folder's lock and is never changed afterwards, so readers need no lock.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from domain.model.artifacts import DIGEST_BYTES, artifact_file_name, artifact_statement, signature_file_name
from domain.model.limits import MIB
from gateways.signing import Verifier

SIGNATURE_HEADER: Final = "X-Artifact-Signature"

# Machine code is a few times its module; CPython's is the largest known, at about 60 MiB.
ARTIFACT_BYTES_MAX: Final = 512 * MIB
# Thousands of ordinary spells; a machine with less disk gets a smaller number.
FOLDER_BYTES_MAX: Final = 4096 * MIB
# Whoever was asked for within this time may be on its way into a child and stays.
_SAFE_SECONDS: Final = 300
_TOUCH_SECONDS: Final = 60
_TIMEOUT: Final = httpx.Timeout(10.0, read=60.0)


class ArtifactUnavailableError(Exception):
    """No verified artifact of this module for this engine can be had; the cast ends as `platform_error`."""


class ArtifactCache:
    """Finds the artifact of a module for one engine. Any thread may call it."""

    def __init__(
        self,
        *,
        folder: Path,
        base_url: str,
        token: str,
        verify_key: str,
        engine_key: str,
        folder_bytes_max: int = FOLDER_BYTES_MAX,
    ) -> None:
        """Make the folder if needed, readable by everybody: jailed children run as other users.

        `base_url` and `token` lead to the api's internal artifact route; `engine_key` is what the executor reported.
        """
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder: Final = folder
        self._engine_key: Final = engine_key
        self._verifier: Final = Verifier(verify_key)
        self._folder_bytes_max: Final = folder_bytes_max
        headers = {"Authorization": f"Bearer {token}"}
        self._client: Final = httpx.Client(base_url=base_url, headers=headers, timeout=_TIMEOUT, trust_env=False)
        self._lock: Final = threading.Lock()
        self._fetching: Final[dict[bytes, threading.Lock]] = {}
        self._touched: Final[dict[bytes, float]] = {}
        self._known: Final[dict[bytes, Path]] = {}

    def path(self, digest: bytes) -> Path:
        """Return the artifact's file, fetching it first when it is not there; ArtifactUnavailableError when it cannot.

        The file was verified when it came; whoever turns it into machine code verifies it again.
        """
        known = self._known.get(digest)
        if known is not None and time.monotonic() - self._touched.get(digest, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return known  # touched so lately that nobody prunes it; a file lost otherwise is `forget`s business
        if len(digest) != DIGEST_BYTES:
            message = f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}"
            raise ArtifactUnavailableError(message)
        path = self.folder / artifact_file_name(digest, self._engine_key)
        if self._touch(digest, path):
            self._known[digest] = path
            return path
        with self._lock:
            fetching = self._fetching.setdefault(digest, threading.Lock())
        with fetching:
            if not self._touch(digest, path):
                self._store(digest, path, *self._fetch(digest))
                self._touch(digest, path)
        with self._lock:
            self._fetching.pop(digest, None)
        return path

    def forget(self, digest: bytes) -> None:
        """Remove a pair that did not verify, so that the next `path` fetches it anew."""
        self._known.pop(digest, None)
        self._touched.pop(digest, None)
        with self._folder_lock():
            self._remove(self.folder / artifact_file_name(digest, self._engine_key))

    def close(self) -> None:
        """Close the connections to the api."""
        self._client.close()

    def _touch(self, digest: bytes, path: Path) -> bool:
        """Tell whether the file is there, and keep it from being pruned."""
        now = time.monotonic()
        try:
            if now - self._touched.get(digest, -_TOUCH_SECONDS) >= _TOUCH_SECONDS:
                os.utime(path)
                self._touched[digest] = now
                return True
            path.stat()
        except FileNotFoundError:
            return False
        return True

    def _fetch(self, digest: bytes) -> tuple[bytes, bytes]:
        """Return artifact and signature from the api, verified."""
        try:
            artifact, signature = self._download(digest)
        except (httpx.HTTPError, binascii.Error, ValueError) as error:
            message = f"the compiled module {digest.hex()} could not be fetched: {type(error).__name__}: {error}"
            raise ArtifactUnavailableError(message) from error
        sha256 = hashlib.sha256(artifact).digest()
        statement = artifact_statement(digest=digest, engine_key=self._engine_key, artifact_sha256=sha256)
        if not self._verifier.accepts(signature, statement):
            message = f"the compiled module {digest.hex()} does not carry the platform's signature"
            raise ArtifactUnavailableError(message)
        return artifact, signature

    def _download(self, digest: bytes) -> tuple[bytes, bytes]:
        route = f"/internal/artifacts/{digest.hex()}"
        with self._client.stream("GET", route, params={"engine": self._engine_key}) as response:
            if response.status_code == HTTPStatus.NOT_FOUND:
                message = f"module {digest.hex()} has no artifact for {self._engine_key}: recompile it (`release` does)"
                raise ArtifactUnavailableError(message)
            response.raise_for_status()
            signature = base64.b64decode(response.headers.get(SIGNATURE_HEADER, ""), validate=True)
            artifact = bytearray()
            for piece in response.iter_bytes():
                artifact += piece
                if len(artifact) > ARTIFACT_BYTES_MAX:
                    message = f"the artifact of {digest.hex()} has more than {ARTIFACT_BYTES_MAX} bytes"
                    raise ArtifactUnavailableError(message)
        return bytes(artifact), signature

    def _store(self, digest: bytes, path: Path, artifact: bytes, signature: bytes) -> None:
        """Put the pair into place, the signature first: who sees the artifact finds its signature."""
        try:
            with self._folder_lock():
                if path.exists():
                    return
                self._prune(len(artifact))
                self._write(self.folder / signature_file_name(digest, self._engine_key), signature)
                self._write(path, artifact)
        except OSError as error:
            message = f"the compiled module {digest.hex()} could not be kept in {self.folder}: {error}"
            raise ArtifactUnavailableError(message) from error

    def _write(self, path: Path, data: bytes) -> None:
        partial = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            partial.write_bytes(data)
            partial.chmod(0o444)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _prune(self, coming_bytes: int) -> None:
        """Remove what was not asked for longest, until the newcomer fits; what is in use stays, come what may."""
        entries = sorted((stat.st_mtime, stat.st_size, path) for path, stat in self._entries())
        excess = sum(size for _, size, _ in entries) + coming_bytes - self._folder_bytes_max
        # File times are the wall clock's, and only compared with one another's.
        newest = max((mtime for mtime, _, _ in entries), default=0.0)
        for mtime, size, path in entries:
            if excess <= 0 or newest - mtime < _SAFE_SECONDS:
                return
            self._remove(path)
            excess -= size

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("*.cwasm"):
            yield path, path.stat()

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        path.with_suffix(".sig").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _folder_lock(self) -> Generator[None]:
        """Keep other threads and processes from writing into the folder."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
