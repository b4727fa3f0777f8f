from workers.broker.bundle import BYTES_MAX, EVENTS_MAX, bundled, unbundled
from workers.broker.link import Command


def events_of(command: Command) -> list[bytes]:
    """Return what a reader finds in the entry that a command adds."""
    add, stream, entry_id, name, body = command
    assert (add, stream, entry_id) == ("XADD", "usage", "*")
    assert isinstance(name, str)
    assert isinstance(body, bytes)
    return unbundled({name.encode(): body})


def test_a_lone_event_goes_as_it_is_and_none_not_at_all() -> None:
    assert bundled("usage", [b"one"]) == [("XADD", "usage", "*", "e", b"one")]
    assert bundled("usage", []) == []


def test_events_come_out_in_their_order_as_many_to_an_entry_as_allowed() -> None:
    events = [str(number).encode() for number in range(2 * EVENTS_MAX + 1)]
    entries = [events_of(command) for command in bundled("usage", events)]
    assert [len(entry) for entry in entries] == [EVENTS_MAX, EVENTS_MAX, 1]
    assert [event for entry in entries for event in entry] == events


def test_an_entry_ends_before_the_event_that_would_make_it_too_long() -> None:
    half = b"h" * (BYTES_MAX // 2)
    long = b"l" * (BYTES_MAX + 1)
    entries = [events_of(command) for command in bundled("usage", [half, half, half, long, b"1", b"2"])]
    assert entries == [[half, half], [half], [long], [b"1", b"2"]]


def test_an_entry_without_any_field_is_one_event_of_no_bytes() -> None:
    assert unbundled({}) == [b""]
