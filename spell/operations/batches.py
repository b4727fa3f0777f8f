"""Many casts at once, in as many requests as the platform needs them in."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from spell.core.exchange import JSON, Plan, Request, Session, Steps
from spell.core.operation import Operation, checked_key, decoded
from spell.core.refusals import error_of_problem
from spell.errors import OutcomeUnknown, Problem, SpellError
from spell.models.casts import BatchVerdict, Cast, CastRequest

# The platform takes no more in one request.
BATCH_CASTS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
_FRAME: Final = b'{"casts":[%b]}'
# Checking and admitting 1,000 casts takes longer than one.
_PATIENCE_S: Final = 30.0


_NO_ERROR: Final = msgspec.Raw()


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    cast: Cast | None = None
    error: msgspec.Raw = _NO_ERROR


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    results: tuple[_Result, ...]


_answer: Final = decoded(_Answer)


def batch(requests: Iterable[CastRequest], *, idempotency_key: str | None = None) -> Plan[list[BatchVerdict]]:
    """Cast many spells at once and return a verdict for each, in order: accepted (and queued), or why not.

    More than the platform takes in one request go in several. When the first of them is refused as a whole, that is
    raised; when a later one is, its casts and those behind it have that error as their verdict, because others are
    accepted by then.
    """
    bodies = [request.body() for request in requests]

    def steps(session: Session) -> Steps[list[BatchVerdict]]:
        key = checked_key(idempotency_key) or session.new_key()
        verdicts: list[BatchVerdict] = []
        for number, part in enumerate(_parts(bodies)):
            try:
                answer = yield from _create(part, f"{key}/{number}").steps(session)
                verdicts += _verdicts(answer, len(part), f"{key}/{number}")
            except SpellError as error:
                if not verdicts:
                    raise
                verdicts += [BatchVerdict(error=error)] * (len(bodies) - len(verdicts))
                break
        return verdicts

    return Plan(steps)


def _parts(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size_bytes = len(_FRAME)
    for body in bodies:
        if part and (len(part) == BATCH_CASTS_MAX or size_bytes + len(body) + 1 > BATCH_BYTES_MAX):
            yield part
            part, size_bytes = [], len(_FRAME)
        part.append(body)
        size_bytes += len(body) + 1
    if part:
        yield part


def _create(part: Sequence[bytes], idempotency_key: str) -> Operation[_Answer]:
    return Operation(
        request=Request(
            method="POST", path="/v1/casts/batch", headers={"content-type": JSON}, body=_FRAME % b",".join(part)
        ),
        decode=_answer,
        creates=True,
        idempotency_key=idempotency_key,
        patience_s=_PATIENCE_S,
    )


def _verdicts(answer: _Answer, asked: int, idempotency_key: str) -> list[BatchVerdict]:
    """Read the verdicts. An older platform repeats the accepted casts alone, so which were refused is unknown."""
    if len(answer.results) != asked:
        ids = tuple(result.cast.id for result in answer.results if result.cast is not None)
        error = OutcomeUnknown(
            Problem(
                status=200,
                error="outcome_unknown",
                detail=f"{len(ids)} of {asked} casts were accepted, and the answer that said which was lost on the way",
                cast_ids=ids,
            )
        )
        error.idempotency_key = idempotency_key
        raise error
    return [_verdict(result) for result in answer.results]


def _verdict(result: _Result) -> BatchVerdict:
    raw = bytes(result.error)
    return BatchVerdict(cast=result.cast, error=error_of_problem(result.status, raw) if raw else None)
