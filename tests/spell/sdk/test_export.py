"""An archive goes to a file as it comes: refused, cut off or whole."""

import io
from http.server import BaseHTTPRequestHandler

import pytest

from spell.errors import Conflict, ConnectionFailed, NotFound
from tests.spell.sdk.clients import Do
from tests.spell.sdk.servers import Scripted, answer, refusal

ARCHIVE = b"PK" + bytes(3_000_000)
EXPORT = {"id": "e1", "status": "pending", "progress_percent": 0, "created_at": "2026-11-20T15:00:00Z"}


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than comes, as a server does that dies."""
    handler.send_response(200)
    handler.send_header("content-length", str(len(ARCHIVE)))
    handler.end_headers()
    handler.wfile.write(ARCHIVE[:1_000])
    handler.close_connection = True


def test_it_is_written_as_it_comes(server: Scripted, do: Do) -> None:
    server.will(answer(200, ARCHIVE))
    file = io.BytesIO()
    assert do(server.url, lambda client: client.account.download_export("e1", file)) == len(ARCHIVE)
    assert file.getvalue() == ARCHIVE
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/v1/privacy/export/e1/download")
    assert server.seen[0].headers["authorization"] == "Bearer k"


def test_what_ends_early_is_no_success(server: Scripted, do: Do) -> None:
    server.will(cut)
    with pytest.raises(ConnectionFailed):
        do(server.url, lambda client: client.account.download_export("e1", io.BytesIO()))


@pytest.mark.parametrize(("status", "code", "error"), [(409, "conflict", Conflict), (404, "not_found", NotFound)])
def test_a_refusal_is_raised_and_nothing_written(
    server: Scripted, do: Do, status: int, code: str, error: type[Exception]
) -> None:
    server.will(refusal(status, code))
    file = io.BytesIO()
    with pytest.raises(error, match="why"):
        do(server.url, lambda client: client.account.download_export("e1", file))
    assert file.getvalue() == b""


def test_asking_is_tried_again_under_one_key(server: Scripted, do: Do) -> None:
    server.will(refusal(503, "overloaded"), answer(202, EXPORT), answer(200, {**EXPORT, "status": "ready"}))
    asked = do(server.url, lambda client: client.account.export())
    assert (asked.id, asked.status, asked.is_final) == ("e1", "pending", False)
    keys = {seen.headers["idempotency-key"] for seen in server.seen}
    assert len(keys) == 1
    assert do(server.url, lambda client: client.account.get_export("e1")).is_final
