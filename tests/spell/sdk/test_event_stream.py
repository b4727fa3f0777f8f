"""Server-Sent Events: cut anywhere, each comes out once; and what a lost stream does."""

from collections.abc import Iterable

import msgspec
import pytest

from spell import ConnectionFailed, NotFound, ServerBusy, UnexpectedAnswer
from spell.core.event_stream import EventParser, Following
from spell.core.exchange import Broken, Reply, Session
from spell.settings import settings_of
from tests.spell.sdk.answers import CAST, DONE
from tests.spell.sdk.clients import Do, Time
from tests.spell.sdk.servers import Scripted, answer, refusal


def event(status: str) -> bytes:
    cast = msgspec.json.encode({**CAST, "status": status, "metadata": {"name": "größer\u2028"}})
    return b"event: %b\nid: %b\ndata: %b\n\n" % (status.encode(), status.encode(), cast)


STATUSES = ["queued", "running", "succeeded"]
STREAM = b"retry: 1000\n\n" + event("queued") + b": still running\n\n" + event("running") + event("succeeded")


def session(**options: int) -> Session:
    settings = settings_of(
        api_key="k",
        base_url=None,
        timeout=30,
        total_timeout=100,
        retries_max=options.get("retries_max", 4),
        chance=lambda: 0.5,
    )
    return settings.session


def types(following: Following, chunks: Iterable[bytes]) -> list[str]:
    return [event.type for chunk in chunks for event in following.feed(chunk)]


def test_a_stream_reads_the_same_wherever_its_bytes_are_cut() -> None:
    whole = [(event.type, event.id, event.data) for event in EventParser().feed(STREAM)]
    assert [kind for kind, _, _ in whole] == STATUSES
    for ending in (b"\n", b"\r\n", b"\r"):
        stream = STREAM.replace(b"\n", ending)
        for at in range(len(stream)):
            parser = EventParser()
            # A lone CR ends a line only when the next byte is not LF, so the last event waits for one more byte.
            events = [*parser.feed(stream[:at]), *parser.feed(stream[at:] + b":\n")]
            assert [(event.type, event.id, event.data) for event in events] == whole
        one_by_one = EventParser()
        assert len([event for byte in stream + b":\n" for event in one_by_one.feed(bytes([byte]))]) == 3


@pytest.mark.parametrize("resumes", [True, False], ids=["server resumes", "server begins anew"])
def test_a_stream_lost_at_any_byte_loses_and_repeats_no_event(*, resumes: bool) -> None:
    for at in range(len(STREAM)):
        following = Following(CAST["id"], session())
        assert "last-event-id" not in following.connect().headers
        seen = types(following, [STREAM[:at]])
        if following.done:
            continue
        following.lost(None)
        last = following.connect().headers.get("last-event-id")
        assert last == (seen[-1] if seen else None)
        known = STATUSES.index(last) + 1 if last and resumes else 0
        seen += types(following, [b"retry: 1000\n\n", *(event(status) for status in STATUSES[known:])])
        assert seen == STATUSES
        assert following.done


def test_after_the_final_event_nothing_more_comes() -> None:
    following = Following(CAST["id"], session())
    assert types(following, [event("failed") + event("queued")]) == ["failed"]


def test_the_standards_fields_are_read_as_the_standard_says() -> None:
    parser = EventParser()
    events = parser.feed(b": comment\nid: 1\ndata: a\ndata:b\nunknown: x\nretry: soon\n\nid\ndata\n\nevent: only\n\n")
    assert [(event.type, event.data, event.id) for event in events] == [("message", "a\nb", "1"), ("message", "", "")]
    assert parser.retry_ms is None
    parser.feed(b"retry: 250\n")
    assert parser.retry_ms == 250


def test_each_connection_that_brings_an_event_gives_all_retries_back() -> None:
    following = Following(CAST["id"], session(retries_max=1))
    following.connect()
    following.lost(None)
    for _ in range(3):
        types(following, [event("queued")])
        following.lost(None)
        following.connect()
    with pytest.raises(ConnectionFailed, match="the stream ended before the cast did"):
        following.lost(None)


def test_how_long_to_wait_is_what_the_server_asks_and_jitter() -> None:
    following = Following(CAST["id"], session())
    following.connect()
    types(following, [b"retry: 3000\n\n"])
    assert following.lost(None) == 3.25
    following.connect()
    assert following.lost(Reply(status=503, headers={"retry-after": "2"}, body=b"")) == 2.5
    assert following.lost(Reply(status=503, headers={"retry-after": "tomorrow"}, body=b"")) == 1.0
    broken = Broken(error=ConnectionFailed("cut"), cause=OSError(), maybe_done=True)
    assert following.lost(broken) == 2.0
    with pytest.raises(ConnectionFailed, match="cut"):
        following.lost(broken)


def test_both_clients_follow_over_a_lost_stream_and_stop_at_a_refusal(server: Scripted, do: Do, time: Time) -> None:
    head = {"content_type": "text/event-stream"}
    server.will(
        answer(200, event("queued"), **head), refusal(503, "overloaded", retry_after=1), answer(200, STREAM, **head)
    )
    found = do(server.url, lambda client: client.casts.events(CAST["id"]), time=time)
    assert [one.type for one in found] == STATUSES
    assert [seen.headers.get("last-event-id") for seen in server.seen] == [None, "queued", "queued"]
    assert time.slept == [0.25, 1.5]
    server.will(refusal(404, "not_found"))
    with pytest.raises(NotFound):
        do(server.url, lambda client: client.casts.events(CAST["id"]))
    server.will(*[answer(503)] * 3)
    with pytest.raises(ServerBusy):
        do(server.url, lambda client: client.casts.events(CAST["id"]), retries_max=2)


def test_a_stream_that_is_no_casts_is_not_taken_for_one(server: Scripted, do: Do) -> None:
    server.will(answer(200, b'data: {"hello": 1}\n\n', content_type="text/event-stream"))
    with pytest.raises(UnexpectedAnswer, match="cannot be read"):
        do(server.url, lambda client: client.casts.events(DONE["id"]))
