"""Workers and ledgers of before and after units: a rolling deploy has both, in either order."""

from typing import Any
from uuid import UUID

import msgspec

from domain.model.messages import MESSAGE_VERSION, Outcome, UsageEvent


class OldUsageEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The event as it was before units, with the fields a ledger of then decided by."""

    v: int
    cast_id: UUID
    token: bytes
    outcome: Outcome | None
    fuel: int | None = None
    output: bytes | None = None
    attempts: int = 1


def decoded(kind: Any, event: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=kind)


def test_a_worker_that_knows_no_units_reports_none() -> None:
    old = OldUsageEvent(v=1, cast_id=UUID(int=7), token=b"t", outcome=Outcome.SUCCEEDED, fuel=5, output=b"x")
    event = decoded(UsageEvent, old)
    assert (event.units, event.fuel, event.outcome, event.v) == (0, 5, Outcome.SUCCEEDED, MESSAGE_VERSION)


def test_a_ledger_that_knows_no_units_settles_what_it_knows() -> None:
    new = UsageEvent(cast_id=UUID(int=7), token=b"t", outcome=Outcome.SUCCEEDED, fuel=5, output=b"x", units=9)
    old = decoded(OldUsageEvent, new)
    assert (old.v, old.cast_id, old.fuel, old.output) == (1, UUID(int=7), 5, b"x")
