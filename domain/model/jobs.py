"""From an accepted cast to the message a worker gets."""

from domain.model.admission import Accepted
from domain.model.messages import CastJob, cast_token


def job_of(accepted: Accepted, token_key: bytes) -> CastJob:
    """Return the job of a cast that was just accepted, with its whole input; the wire lays a long one beside it."""
    spec = accepted.spec
    return CastJob(
        cast_id=accepted.cast_id,
        token=cast_token(token_key, cast_id=accepted.cast_id, digest=spec.digest, limits=spec.limits),
        digest=spec.digest,
        limits=spec.limits,
        input=spec.input,
        accepted_ms=accepted.accepted_ms,
        deadline_ms=accepted.accepted_ms + spec.deadline_ms,
        traceparent=spec.traceparent,
    )
