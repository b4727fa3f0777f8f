"""Which cast came of each place of a batch, as it is remembered under the batch's Idempotency-Key."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

# Stands at the place of a cast that was refused; no cast has this id.
NO_CAST: Final = UUID(int=0)


def placed(ids: Sequence[UUID], places: Sequence[int], sent_count: int) -> tuple[UUID, ...]:
    """Return `ids` at their `places` among all that was sent, NO_CAST elsewhere; without places they are all of it."""
    if not places:
        return tuple(ids)
    sent = [NO_CAST] * sent_count
    for place, one in zip(places, ids, strict=True):
        sent[place] = one
    return tuple(sent)
