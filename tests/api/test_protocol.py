"""An answer leaves in one piece, and what an application says is HTTP before it leaves."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.protocol import KEEP_ALIVE_S, WHOLE_ANSWER, LeanProtocol

REQUEST = b"GET /a%20b?c=d HTTP/1.1\r\nhost: x\r\n\r\n"
Message = dict[str, Any]


class RecordingTransport(asyncio.Transport):
    """Takes what is written, a tuple for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.calls.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(text: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": text, "more_body": more}


def length(count: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % count)


class Served:
    """A connection whose application sends `messages` to each request, and notes what it was asked."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.scopes: list[Any] = []
        self.errors: list[Exception] = []
        self.state = ServerState()
        config = uvicorn.Config(
            self.serve, http=LeanProtocol, interface="asgi3", lifespan="off", timeout_keep_alive=KEEP_ALIVE_S
        )
        self.protocol = LeanProtocol(config, self.state, {})
        self.transport = RecordingTransport()
        self.protocol.connection_made(self.transport)

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        self.scopes.append(scope)
        try:
            for message in self.messages:
                await send(message)
        except RuntimeError as error:
            self.errors.append(error)

    async def ask(self, request: bytes = REQUEST) -> list[bytes]:
        """Return what was written, a piece for each system call."""
        if request:
            self.protocol.data_received(request)
        while self.state.tasks:
            await asyncio.gather(*self.state.tasks)
            await asyncio.sleep(0)
        calls, self.transport.calls = self.transport.calls, []
        return calls


async def test_head_and_body_are_one_call() -> None:
    served = Served([start(200, length(4)), body(b"body")])
    assert await served.ask() == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"]
    assert await served.ask() == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"]
    assert not served.transport.closed
    assert served.state.total_requests == 2


async def test_a_body_of_no_known_length_comes_in_chunks_behind_a_head_that_does_not_wait() -> None:
    served = Served([start(), body(b"one", more=True), body(b"", more=True), body(b"two"), body(b"late")])
    assert await served.ask() == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"3\r\none\r\n",
        b"3\r\ntwo\r\n0\r\n\r\n",
    ]
    assert [str(error) for error in served.errors] == [
        "An ASGI message 'http.response.body' came when the answer was not waiting for one."
    ]


async def test_a_body_in_pieces_of_a_known_length() -> None:
    served = Served([start(200, length(6)), body(b"one", more=True), body(b"two")])
    assert await served.ask() == [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none", b"two"]


async def test_an_answer_may_come_whole_in_one_message() -> None:
    whole = {**start(200, length(4)), "body": b"body", "lines": b"\r\nx-fixed: text"}
    served = Served([whole])
    written = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-fixed: text\r\n\r\n"
    assert await served.ask() == [written + b"body"]
    assert WHOLE_ANSWER in served.scopes[0]["extensions"]
    assert await served.ask(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n") == [written]
    assert await Served([whole, body(b"more")]).ask() == [written + b"body"]


async def test_how_long_a_whole_answer_is_the_server_says_where_nobody_did() -> None:
    served = Served([{**start(200), "body": b"body", "lines": b"\r\nx-fixed: text"}])
    written = b"HTTP/1.1 200 OK\r\nx-fixed: text\r\ncontent-length: 4\r\n\r\n"
    assert await served.ask() == [written + b"body"]
    assert await served.ask(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n") == [written]


async def test_a_whole_answer_that_is_not_as_long_as_it_says_ends_the_connection() -> None:
    served = Served([{**start(200, length(4)), "body": b"bo"}])
    await served.ask()
    assert [str(error) for error in served.errors] == [
        "The body of the answer is shorter than its content-length says."
    ]
    assert served.transport.closed


@pytest.mark.parametrize("status", [204, 304])
async def test_where_no_body_can_be_none_is_announced(status: int) -> None:
    (written,) = await Served([start(status), body()]).ask()
    assert b"transfer-encoding" not in written
    assert written.endswith(b"\r\n\r\n")


async def test_head_is_answered_with_the_head_alone() -> None:
    served = Served([start(200, length(4)), body(b"body")])
    assert await served.ask(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n") == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"]


@pytest.mark.parametrize(("text", "written"), [(b"one", b"one"), (b"three", None)], ids=["shorter", "longer"])
async def test_a_body_that_is_not_as_long_as_it_says_ends_the_connection(text: bytes, written: bytes | None) -> None:
    served = Served([start(200, length(4)), body(text)])
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
    assert await served.ask() == ([] if written is None else [head + written])
    assert len(served.errors) == 1
    assert served.transport.closed


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b=c", b"a\nb", b"a\rb", b"a\0b", b"a\x7fb"])
async def test_no_header_can_begin_another(value: bytes) -> None:
    served = Served([start(200, length(0), (b"location", value)), body()])
    assert await served.ask() == []
    assert [str(error) for error in served.errors] == ["A header of the answer has a control character in it."]


async def test_a_tab_is_no_control_character() -> None:
    served = Served([start(200, length(0), (b"x", b"a\tb")), body()])
    assert await served.ask() == [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: a\tb\r\n\r\n"]


async def test_messages_out_of_turn_are_refused() -> None:
    served = Served([body(b"first")])
    (written,) = await served.ask()
    assert written.startswith(b"HTTP/1.1 500")
    assert len(served.errors) == 1


@pytest.mark.parametrize(
    ("request_bytes", "headers"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", ()),
        (b"GET / HTTP/1.0\r\nhost: x\r\n\r\n", ()),
        (REQUEST, ((b"connection", b"Close"),)),
    ],
    ids=["asked for", "an old client", "by the application"],
)
async def test_the_last_answer_says_so_and_closes(request_bytes: bytes, headers: tuple[tuple[bytes, bytes]]) -> None:
    served = Served([start(200, length(0), *headers), body()])
    (written,) = await served.ask(request_bytes)
    assert written.lower().count(b"connection: close") == 1
    assert served.transport.closed


async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    served = Served([start(200, length(2)), body(b"ok")])
    requests = b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(3))
    assert await served.ask(requests) == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] * 3
    assert [scope["path"] for scope in served.scopes] == ["/0", "/1", "/2"]


async def test_what_is_asked_for_reaches_the_application() -> None:
    served = Served([start(200, length(0)), body()])
    for _ in range(2):  # the second time from memory, where that may be
        await served.ask(REQUEST)
        await served.ask(b"GET /a%20b HTTP/1.1\r\nX-Some: Thing\r\n\r\n")
    for scope in served.scopes:
        assert (scope["path"], scope["raw_path"], scope["method"]) == ("/a b", b"/a%20b", "GET")
    assert [scope["query_string"] for scope in served.scopes] == [b"c=d", b""] * 2
    assert served.scopes[1]["headers"] == [(b"x-some", b"Thing")]


async def test_who_asks_first_whether_to_send_the_body_is_told() -> None:
    class Reading(Served):
        async def serve(self, scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["body"] == b"abcd"
            await super().serve(scope, receive, send)

    served = Reading([start(200, length(0)), body()])
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n"
    served.protocol.data_received(head)
    await asyncio.sleep(0)
    assert served.transport.calls == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    assert (await served.ask(b"abcd"))[1:] == [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]


async def test_to_a_connection_that_is_gone_nothing_is_written() -> None:
    class Leaving(Served):
        async def serve(self, scope: Any, receive: Any, send: Any) -> None:
            self.protocol.connection_lost(None)
            await super().serve(scope, receive, send)

    assert await Leaving([start(200, length(4)), body(b"body")]).ask() == []


async def test_a_full_connection_is_waited_for() -> None:
    served = Served([start(200, length(4)), body(b"body")])
    served.protocol.pause_writing()
    served.protocol.data_received(REQUEST)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served.transport.calls == []
    served.protocol.resume_writing()
    assert await served.ask(b"") == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"]
