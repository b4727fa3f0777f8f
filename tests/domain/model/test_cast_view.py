"""How a cast is shown, from what admission accepted and from its row."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from domain.model.admission import Accepted, AdmissionRequest, CastSpec
from domain.model.cast_view import (
    CastRow,
    VersionName,
    accepted_json,
    accepted_shape,
    shown,
    view_of_accepted,
    view_of_row,
)
from domain.model.creator_price import NO_PRICE
from domain.model.funding import Funding
from domain.model.limits import CastLimits
from domain.model.manifest import OutputEncoding
from domain.model.messages import Pool

ID = UUID("01a1f899-d466-7000-afbe-f700cd9d9dd0")
ACCEPTED_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
NAME = VersionName(spell="ada/count", version="1.2.0", digest=b"\x01" * 32, output_encoding=None)
URL = "https://spells.example/v1/casts"


def row(**fields: object) -> CastRow:
    open_row = CastRow(
        id=ID,
        account_id=ID,
        key_id=None,
        version_id=ID,
        status="queued",
        accepted_at=ACCEPTED_AT,
        started_at=None,
        finished_at=None,
        data_expires_at=None,
        data_expired=False,
        data_once=False,
        held_micros=2_500,
        cost_micros=None,
        funding="free",
        output=None,
        log=None,
        metadata='{"a":1}',
        error_code=None,
        error_message=None,
        exit_code=None,
        fuel=None,
        cpu_us=None,
        memory_bytes_peak=None,
        wall_us=None,
        attempts=None,
    )
    return msgspec.structs.replace(open_row, **fields)


def accepted() -> Accepted:
    spec = CastSpec(
        spell_id=ID,
        version_id=ID,
        creator_id=ID,
        digest=NAME.digest,
        pool=Pool.DEFAULT,
        limits=CastLimits(),
        input=b"",
        deadline_ms=1,
        metadata='{"a":1}',
    )
    return Accepted(
        cast_id=ID,
        request=AdmissionRequest(account_id=ID, key_id=None, casts=(spec,)),
        spec=spec,
        accepted_ms=int(ACCEPTED_AT.timestamp() * 1000),
        price_version=1,
        creator_price=NO_PRICE,
        held_micros=2_500,
        funding=Funding.FREE,
        window_ids=(),
        grants=(),
        on_wire=True,
        budget=None,
        open_casts=1,
        open_casts_max=2,
    )


def test_a_cast_just_accepted_looks_like_its_row() -> None:
    assert view_of_accepted(accepted(), NAME, casts_url=URL) == view_of_row(row(), NAME, casts_url=URL)


@pytest.mark.parametrize("funding", Funding)
@pytest.mark.parametrize("metadata", ["{}", '{"\\u0001":"%b\\u0000 ä"}'])
@pytest.mark.parametrize("spell", ["ada/count", 'a%b"'])
def test_the_json_of_a_cast_just_accepted_is_what_the_encoder_makes(
    funding: Funding, metadata: str, spell: str
) -> None:
    cast = accepted()
    spec = msgspec.structs.replace(cast.spec, metadata=metadata)
    cast = msgspec.structs.replace(cast, funding=funding, spec=spec, accepted_ms=cast.accepted_ms + 7)
    name = msgspec.structs.replace(NAME, spell=spell)
    view = view_of_accepted(cast, name, casts_url=URL)
    assert accepted_json(accepted_shape(name, casts_url=URL), cast) == msgspec.json.encode(view)


def test_an_ended_cast_shows_what_it_used_and_cost() -> None:
    ended = row(
        status="succeeded",
        started_at=ACCEPTED_AT + timedelta(microseconds=1_900),
        output=b"[1]",
        log=b"warn \xff",
        cost_micros=12_345,
        exit_code=0,
        fuel=184_233,
        cpu_us=210,
        memory_bytes_peak=131_072,
        wall_us=400,
        attempts=1,
    )
    body = msgspec.json.decode(msgspec.json.encode(view_of_row(ended, NAME, casts_url=URL)))
    assert (body["output"], body["output_encoding"], body["log"]) == ([1], "json", "warn \ufffd")
    assert body["usage"] == {
        "fuel": 184_233,
        "cpu_ms": 0.21,
        "memory_bytes_peak": 131_072,
        "duration_ms": 0.4,
        "queued_ms": 1.9,
    }
    assert (body["cost"]["cost_micros"], body["cost"]["cost_cents"]) == (12_345, 1)
    assert body["urls"]["self"] == f"{URL}/{ID}"
    assert ended.is_final
    assert not row().is_final


def test_a_cast_that_failed_says_why_and_a_killed_one_what_is_known() -> None:
    killed = row(status="failed", error_code="sandbox_crashed", cost_micros=0, wall_us=5, attempts=3)
    view = view_of_row(killed, NAME, casts_url=URL)
    assert view.error is not None
    assert (view.error.code, view.error.message) == ("sandbox_crashed", "")
    assert view.usage is not None
    assert (view.usage.fuel, view.usage.cpu_ms, view.usage.queued_ms) == (None, None, None)


def test_a_worker_whose_clock_is_behind_shows_no_negative_wait() -> None:
    view = view_of_row(row(wall_us=1, started_at=ACCEPTED_AT - timedelta(seconds=1)), NAME, casts_url=URL)
    assert view.usage is not None
    assert view.usage.queued_ms == 0.0


@pytest.mark.parametrize(
    ("output", "fixed", "encoding", "raw"),
    [
        (b' {"n":1e400000}\n', None, OutputEncoding.JSON, b'{"n":1e400000}'),
        (b"{", None, OutputEncoding.TEXT, b'"{"'),
        (b"[" * 5_000, None, OutputEncoding.TEXT, b'"' + b"[" * 5_000 + b'"'),
        (b"1", OutputEncoding.TEXT, OutputEncoding.TEXT, b'"1"'),
        (b"1", OutputEncoding.BASE64, OutputEncoding.BASE64, b'"MQ=="'),
        (b'"\xff"', OutputEncoding.JSON, OutputEncoding.BASE64, b'"Iv8i"'),
    ],
)
def test_output_is_passed_on_exactly_or_encoded(
    output: bytes, fixed: OutputEncoding | None, encoding: OutputEncoding, raw: bytes
) -> None:
    found, value = shown(output, fixed)
    assert (found, msgspec.json.encode(value)) == (encoding, raw)
