"""Casts that were accepted, as the jobs a worker would get."""

from domain.model.admission import Accepted, CastSpec, Judged
from domain.model.jobs import job_of
from domain.model.messages import CastJob
from domain.store.connection import Pool
from tests.domain.world import TOKEN_KEY, World, admit


async def accept(world: World, pool: Pool, *specs: CastSpec, key: str | None = None) -> list[CastJob]:
    """Reserve and commit one request of these casts; each must be accepted."""
    (verdict,) = await admit(pool, world.request(*specs, key=key))
    assert isinstance(verdict, Judged)
    accepted = [result for result in verdict.results if isinstance(result, Accepted)]
    assert len(accepted) == len(verdict.results)
    return [job_of(result, TOKEN_KEY) for result in accepted]
