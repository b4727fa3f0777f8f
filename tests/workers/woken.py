"""What a message of the wake channel says, as a test reads it."""

from uuid import UUID

from workers.broker.waking import CAST_ID_BYTES


def wake_ids(message: bytes) -> list[UUID]:
    """Return the ids in a message of ids alone, which is made of whole ones."""
    assert len(message) % CAST_ID_BYTES == 0
    return [UUID(bytes=message[at : at + CAST_ID_BYTES]) for at in range(0, len(message), CAST_ID_BYTES)]
