"""What an honest worker would say about a job."""

import msgspec

from domain.model.messages import CastJob, Outcome, UsageEvent


def event_of(job: CastJob, outcome: Outcome | None = Outcome.SUCCEEDED, **fields: object) -> UsageEvent:
    claim = UsageEvent(
        cast_id=job.cast_id,
        token=job.token,
        outcome=outcome,
        exit_code=0,
        fuel=1_000_000,
        cpu_us=200,
        wall_us=300,
        started_ms=job.accepted_ms,
        finished_ms=job.accepted_ms + 1,
        output=b'{"words":3}',
    )
    return msgspec.structs.replace(claim, **fields)
