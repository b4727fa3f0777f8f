"""What a client is made of: its settings, its methods, what it sends, what it reads, what it never shows."""

import inspect
import logging
import math
import pickle
from typing import Any

import httpx
import msgspec
import pytest

import spell
from spell import (
    ApiError,
    AsyncClient,
    Cast,
    CastNotFinished,
    CastRequest,
    Client,
    MissingApiKey,
    MoneyError,
    NotFound,
    OutputMissing,
    ServerBusy,
    SpellError,
    UnexpectedAnswer,
    WaitTimedOut,
)
from spell.awaiting import AsyncResource
from spell.blocking import Resource
from tests.spell.sdk.answers import CAST, DONE
from tests.spell.sdk.clients import Do, Time
from tests.spell.sdk.servers import Scripted, answer, refusal

KEY = "sk_live_abcdefgh_secret"


def parts(client: object, kind: type) -> dict[str, dict[str, Any]]:
    """Return the methods of each part of a client."""
    resources = {name: value for name, value in vars(client).items() if isinstance(value, kind)}
    return {
        name: {
            method: getattr(part, method) for method in dir(part) if not method.startswith("_") and method != "client"
        }
        for name, part in resources.items()
    }


def test_both_clients_offer_the_same_with_the_same_arguments_and_words() -> None:
    blocking, awaiting = parts(Client(api_key="k"), Resource), parts(AsyncClient(api_key="k"), AsyncResource)
    assert {name: set(methods) for name, methods in blocking.items()} == {
        name: set(methods) for name, methods in awaiting.items()
    }
    assert sum(len(methods) for methods in blocking.values()) > 40
    for name, methods in blocking.items():
        for method, function in methods.items():
            other = awaiting[name][method]
            assert function.__doc__ == other.__doc__
            assert len(function.__doc__) > 20
            assert inspect.signature(function).parameters == inspect.signature(other).parameters
    assert inspect.signature(Client).parameters.keys() == inspect.signature(AsyncClient).parameters.keys()


def test_a_methods_signature_reads_as_it_is_called() -> None:
    client = Client(api_key="k")
    assert (
        str(inspect.signature(client.casts.get)) == "(cast: spell.models.casts.Cast | str) -> 'spell.models.casts.Cast'"
    )
    assert inspect.signature(client.cast) == inspect.signature(client.casts.cast)


def test_settings_come_from_the_environment_when_they_are_not_given(
    monkeypatch: pytest.MonkeyPatch, server: Scripted
) -> None:
    monkeypatch.setenv("SPELL_URL", f"{server.url}/")
    monkeypatch.setenv("SPELL_API_KEY", f" {KEY}\n")
    server.will(answer(200, CAST), answer(200, CAST))
    with httpx.Client(trust_env=False) as http:
        Client(http_client=http).casts.get("c")
        Client(http_client=http, api_key="other", base_url=f"{server.url}/behind/a/path").casts.get("c")
    assert [(seen.path, seen.headers["authorization"]) for seen in server.seen] == [
        ("/v1/casts/c", f"Bearer {KEY}"),
        ("/behind/a/path/v1/casts/c", "Bearer other"),
    ]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_without_a_key_or_with_nonsense_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, kind: type[Client]
) -> None:
    monkeypatch.delenv("SPELL_API_KEY", raising=False)
    for empty in (None, "", " "):
        with pytest.raises(MissingApiKey, match="SPELL_API_KEY"):
            kind(api_key=empty)
    with pytest.raises(SpellError, match="copy it again") as caught:
        kind(api_key="sk_live\nx: y")
    assert "x: y" not in str(caught.value)
    for url in (
        "spell.example",
        "ftp://spell.example",
        "http://",
        "https://spell.example?a=1",
        "http://u:p@host",
        "http://h:99999",
        "http://a b",
    ):
        with pytest.raises(SpellError, match="SPELL_URL") as caught:
            kind(api_key="k", base_url=url)
        assert "u:p" not in str(caught.value)


def test_nothing_that_is_printed_has_the_key(server: Scripted, do: Do, caplog: pytest.LogCaptureFixture) -> None:
    shown: list[str] = []

    def look(client: Any) -> Any:
        shown.extend([repr(client), repr(client.casts), repr(client.with_options(timeout=1)._settings)])
        return client.casts.get("c")

    server.will(answer(503), refusal(404, "not_found"))
    with caplog.at_level(logging.DEBUG, logger="spell"), pytest.raises(NotFound) as caught:
        do(server.url, look, key=KEY)
    shown += [str(caught.value), repr(caught.value), caplog.text]
    assert "tried again in" in caplog.text
    assert all("secret" not in text for text in shown)


def test_every_request_says_who_asks(server: Scripted, do: Do) -> None:
    server.will(answer(200, CAST))
    do(server.url, lambda client: client.casts.get("c"))
    assert server.seen[0].headers["user-agent"].startswith("spell-platform/")


def test_options_change_for_some_calls_over_the_same_connections(server: Scripted) -> None:
    server.will(answer(503), answer(200, CAST))
    with httpx.Client(trust_env=False) as http, Client(api_key="k", base_url=server.url, http_client=http) as client:
        impatient = client.with_options(retries_max=0)
        with pytest.raises(ServerBusy):
            impatient.casts.get("c")
        impatient.close()
        assert client.casts.get("c").id == CAST["id"]
        client.close()
        assert not http.is_closed


def test_a_client_closes_the_connections_it_made() -> None:
    client = Client(api_key="k")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.casts.get("c")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b/c", "a", "a@1/b", "/b", "a/", "../../admin"])
def test_a_name_never_leads_to_another_place(do: Do, name: str) -> None:
    with pytest.raises(ValueError, match=r"names nothing|is no spell"):
        do("http://spell.example", lambda client: client.spells.get(name))


def test_names_are_quoted(server: Scripted, do: Do) -> None:
    server.will(refusal(404, "not_found"))
    with pytest.raises(NotFound):
        do(server.url, lambda client: client.casts.get("../keys?x#y"))
    assert server.seen[0].path == "/v1/casts/..%2Fkeys%3Fx%23y"


def test_a_redirect_is_not_followed_with_the_key(server: Scripted, do: Do) -> None:
    server.will(answer(302, b"", location="/elsewhere"), answer(200, CAST))
    with pytest.raises(ApiError, match="302"):
        do(server.url, lambda client: client.casts.get("c"))
    assert [seen.path for seen in server.seen] == ["/v1/casts/c"]
    server.script.clear()
    server.will(answer(307, b"", location="/elsewhere"), answer(200, b"", content_type="text/event-stream"))
    with pytest.raises(ApiError, match="307"):
        do(server.url, lambda client: client.casts.events("c"))
    assert [seen.path for seen in server.seen] == ["/v1/casts/c", "/v1/casts/c/events"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_an_answer_of_something_else_is_told_plainly(server: Scripted, do: Do, body: bytes) -> None:
    server.will(answer(200, body))
    with pytest.raises(UnexpectedAnswer, match="base URL"):
        do(server.url, lambda client: client.casts.get("c"))


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[]", b'{"error": 1}', b'"x"', b"\xff", b"[" * 100_000])
def test_a_refusal_of_something_else_is_an_error_of_its_status(server: Scripted, do: Do, body: bytes) -> None:
    server.will(answer(402, body), answer(404, body), answer(418, body))
    for kind, code in ((MoneyError, "http_402"), (NotFound, "http_404"), (ApiError, "http_418")):
        with pytest.raises(kind, match=code):
            do(server.url, lambda client: client.casts.get("c"))


def test_what_a_newer_platform_says_is_kept_or_passed_over(server: Scripted, do: Do) -> None:
    newer = {**CAST, "status": "paused", "color": {"deep": [1]}, "usage": {"fuel": 1, "gpu_ms": 2}}
    server.will(answer(200, newer), refusal(451, "a_new_code", novelty=[1], limit={"id": 1}))
    cast = do(server.url, lambda client: client.casts.get("c"))
    assert (cast.status, cast.is_final) == ("paused", False)
    with pytest.raises(ApiError) as caught:
        do(server.url, lambda client: client.casts.get("c"))
    assert (caught.value.code, caught.value.problem["novelty"]) == ("a_new_code", [1])


def test_an_output_python_cannot_hold_breaks_only_itself(server: Scripted, do: Do) -> None:
    raw = msgspec.json.encode({**DONE, "output": 0}).replace(b'"output":0', b'"output":1e400000')
    server.will(answer(200, raw))
    cast = do(server.url, lambda client: client.casts.get("c"))
    assert (cast.status, bytes(cast.output_raw)) == ("succeeded", b"1e400000")
    with pytest.raises(UnexpectedAnswer, match="output_raw"):
        cast.result()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"data_expired": True, "data_expires_at": "2026-10-01T00:00:00Z"}, "kept until 2026-10-01"),
        ({"data_omitted": True}, "ask for it with casts.get"),
        ({}, "ask for it with casts.get"),
    ],
)
def test_an_output_that_is_not_there_is_not_taken_for_none(members: dict[str, Any], words: str) -> None:
    raw = msgspec.json.encode({**DONE, "output": None, "output_encoding": None, **members})
    cast = msgspec.json.decode(raw, type=Cast)
    assert cast.output is None
    with pytest.raises(OutputMissing, match=words):
        cast.result()


def test_errors_survive_being_sent_between_processes(server: Scripted, do: Do) -> None:
    server.will(refusal(404, "not_found"))
    with pytest.raises(NotFound) as caught:
        do(server.url, lambda client: client.casts.get("c"))
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own
    assert (str(again), again.code) == (str(caught.value), "not_found")
    failed = spell.CastFailed(msgspec.json.decode(msgspec.json.encode({**DONE, "status": "canceled"}), type=Cast))
    assert pickle.loads(pickle.dumps(failed)).code == "canceled"  # noqa: S301  # our own


def test_what_cannot_be_sent_is_not_tried_again(do: Do) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    with pytest.raises(TypeError, match="object"):
        do("http://spell.example", lambda client: client.cast("a/b", object()), transport=httpx.MockTransport(serve))


@pytest.mark.parametrize("key", ["", "a\nb: c", "ü", "x" * 256, "a b"])
def test_an_idempotency_key_no_header_can_carry_is_the_callers_mistake(do: Do, key: str) -> None:
    for call in (
        lambda client: client.cast("a/b", idempotency_key=key),
        lambda client: client.casts.batch([CastRequest("a/b")], idempotency_key=key),
    ):
        with pytest.raises(ValueError, match="255 visible ASCII"):
            do("http://127.0.0.1:1", call)


@pytest.mark.parametrize(("wait_s", "asked"), [(-1, "wait=0"), (0, "wait=0"), (0.5, "wait=1"), (math.inf, "wait=30")])
def test_how_long_to_wait_is_asked_in_whole_seconds(server: Scripted, do: Do, wait_s: float, asked: str) -> None:
    server.will(answer(200, DONE))
    do(server.url, lambda client: client.cast("a/b", wait_s=wait_s))
    assert server.seen[0].headers["prefer"] == asked


def test_a_platform_behind_something_that_lets_no_answer_wait_is_asked_now_and_then(
    server: Scripted, do: Do, time: Time
) -> None:
    server.will(*[answer(202, CAST)] * 4, answer(200, DONE))
    assert do(server.url, lambda client: client.cast("a/b"), time=time).result() == {"n": 1}
    assert time.slept == [0.5, 0.5, 0.5]
    assert [seen.path for seen in server.seen[1:]] == [f"/v1/casts/{CAST['id']}"] * 4
    server.will(*[answer(200, CAST)] * 4)
    with pytest.raises(WaitTimedOut, match="is still queued; wait again") as caught:
        do(server.url, lambda client: client.casts.wait(CAST["id"], timeout_s=1.2))
    with pytest.raises(CastNotFinished, match="wait for it"):
        caught.value.cast.result()


def test_a_request_that_no_connection_can_carry_is_not_tried_again(do: Do, time: Time) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        message = "illegal header"
        raise httpx.LocalProtocolError(message, request=request)

    with pytest.raises(SpellError, match="GET /v1/casts/c cannot be sent: illegal header"):
        do("http://a.example", lambda client: client.casts.get("c"), time=time, transport=httpx.MockTransport(serve))
    assert time.slept == []


def test_every_public_name_is_there() -> None:
    assert sorted(spell.__all__) == spell.__all__
    assert all(hasattr(spell, name) for name in spell.__all__)
