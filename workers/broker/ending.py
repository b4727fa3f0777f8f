"""How a message ends: what its one transaction carries besides the acknowledgement. Pure, but for a log line."""

import logging
from typing import Final

import msgspec
from dramatiq.common import q_name
from dramatiq.errors import DecodeError

from domain.model.messages import MESSAGE_VERSION
from workers.broker.entries import Completion, Entry, MeteredMessage, StreamMessage, decode_fields

_logger: Final = logging.getLogger(__name__)


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    v: int


_version_decoder: Final = msgspec.msgpack.Decoder(_Versioned)


def ended(message: StreamMessage, *, failed: bool) -> Completion:
    """Return the end of a message a worker is done with.

    On a metered queue that is its report, else its delayed copy, else the event that says why there is neither.
    """
    entry = message.entry
    completion = Completion(entry.queue, entry)
    if failed:
        completion.dead_reason = "failed"
    if entry.report is not None:
        completion.usage, completion.output = entry.report, entry.output
    elif entry.retry is not None:
        completion.retry = entry.retry
    else:
        _add_lost_event(completion, message, _reason(entry, failed=failed))
    return completion


def buried(message: StreamMessage, reason: str) -> Completion:
    """Return the end of a message that must not run again: a dead letter and, where metered, its event."""
    completion = Completion(message.entry.queue, message.entry)
    completion.dead_reason = reason
    _add_lost_event(completion, message, reason)
    return completion


def undecodable(entry: Entry) -> Completion:
    """Return the end of an entry that is no message: a dead letter; its cast, if it is one, ends by its deadline."""
    completion = Completion(entry.queue, entry)
    completion.dead_reason = "undecodable"
    return completion


def understood(entry: Entry) -> StreamMessage | None:
    """Return the entry's message, None when it is none of this queue. Errors are not passed on: they quote the body."""
    try:
        fields = decode_fields(entry.body)
        entry.message_id = fields["message_id"]
        if entry.queue.lost_event is not None:
            entry.cast_id_bytes()
    except (DecodeError, ValueError):
        return None
    queue_name = fields["queue_name"]
    if queue_name != entry.queue.name and q_name(queue_name) != entry.queue.name:
        return None
    return StreamMessage(fields, entry) if entry.queue.lost_event is None else MeteredMessage(fields, entry)


def is_newer(message: StreamMessage) -> bool:
    """Say whether the one argument of a cast message is a job of a version this worker does not know."""
    match message.args:
        case (bytes() as job,):
            try:
                return _version_decoder.decode(job).v > MESSAGE_VERSION
            except (msgspec.DecodeError, UnicodeDecodeError):
                return False
        case _:
            return False


def _add_lost_event(completion: Completion, message: StreamMessage, reason: str) -> None:
    lost_event = message.entry.queue.lost_event
    if lost_event is None:
        return
    # Whatever lies beside it is useless now; deleting a key that does not exist costs nothing.
    message.entry.beside = True
    try:
        completion.usage = lost_event(message.message, reason)
    except Exception as error:  # noqa: BLE001  whatever it is, the entry must end; its cast ends by its deadline
        # Only the error's name: its text may quote what a caller sent.
        _logger.error("No usage event can be made for message %r: %s", message.message_id, type(error).__name__)  # noqa: TRY400
        completion.dead_reason = "undecodable"


def _reason(entry: Entry, *, failed: bool) -> str:
    if entry.canceled:
        return "canceled"
    if entry.skipped:
        return "skipped"
    return "failed" if failed else "lost"
