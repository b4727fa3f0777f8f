"""The api's end of the wire when Redis was away: what may have been resent meanwhile is not put there again."""

from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from api.admission.wire import LEFT_TO_RESEND_S, Wire
from api.operator.metrics import Metrics
from domain.model.admission import Accepted, AdmissionRequest, CastSpec
from domain.model.creator_price import NO_PRICE
from domain.model.funding import Funding
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from tests.api.platform import DEAD_REDIS_URL
from workers import keys


def accepted(cast_id: UUID) -> Accepted:
    spec = CastSpec(
        spell_id=uuid4(),
        version_id=uuid4(),
        creator_id=uuid4(),
        digest=bytes(32),
        pool=Pool.DEFAULT,
        limits=CastLimits(),
        input=b"1",
        deadline_ms=60_000,
        metadata="{}",
    )
    return Accepted(
        cast_id=cast_id,
        request=AdmissionRequest(account_id=uuid4(), key_id=None, casts=(spec,)),
        spec=spec,
        accepted_ms=1_700_000_000_000,
        price_version=1,
        creator_price=NO_PRICE,
        held_micros=2_500,
        funding=Funding.METERED,
        window_ids=(),
        grants=(),
        on_wire=True,
        budget=None,
        open_casts=1,
        open_casts_max=1,
    )


async def test_what_waited_long_for_redis_is_left_to_resend(redis_url: str) -> None:
    now = [0.0]
    old, fresh = uuid4(), uuid4()
    async with Redis.from_url(redis_url) as redis:
        wire = Wire(redis, token_key=b"k" * 32, clock=lambda: now[0], metrics=Metrics())
        wire.add(accepted(old))
        now[0] += LEFT_TO_RESEND_S + 0.1
        wire.add(accepted(fresh))
        assert await wire.run_once() == 2
        assert await redis.smembers(keys.open_set(Pool.DEFAULT)) == {fresh.bytes}
        assert await redis.xlen(keys.jobs(Pool.DEFAULT)) == 1


async def test_while_redis_is_silent_nothing_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length is what stops accepting on trust."""
    monkeypatch.setattr("api.admission.wire.UNSENT_MAX", 1)
    now = [0.0]
    async with Redis.from_url(DEAD_REDIS_URL) as redis:
        wire = Wire(redis, token_key=b"k" * 32, clock=lambda: now[0], metrics=Metrics())
        wire.add(accepted(uuid4()))
        now[0] += LEFT_TO_RESEND_S + 0.1
        assert await wire.run_once() == 0
        assert wire.full_pools == frozenset(Pool)
