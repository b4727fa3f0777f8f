"""Messages nobody will run, for the operator: look, cast once more, or drop.

A cast with a dead letter has ended and holds nothing. Running it again is a new cast with a new hold, for the same
account and key, under the limits of the first.
"""

import contextlib
import re
from typing import Annotated, Final
from uuid import UUID, uuid4

import msgspec
from litestar import delete, get, post
from litestar.params import Parameter
from redis.asyncio import Redis

from api.admission.rate import Caller
from api.operator.admin import require_admin
from api.services import Services
from domain.flow.audit import audit
from domain.flow.create_user import ensure_platform_account
from domain.model.admission import AdmissionRequest, CastSpec, Judged
from domain.model.audit import Action, Actor
from domain.model.creator_price import PriceChange
from domain.model.errors import Code, Refusal, RefusedError, refuse
from domain.model.limits import DEADLINE_MS_DEFAULT, CastLimits
from domain.model.messages import Pool
from domain.store.connection import transaction
from domain.store.ops import CastTerms, cast_terms
from domain.store.spell_prices import prices_latest
from workers import keys
from workers.broker import replies
from workers.broker.async_link import AsyncLink

PAGE_MAX: Final = 100
_ENTRY_ID: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
# The operator's own hand is not limited; the account's budget is.
_OPERATOR: Final = Caller("operator", 1_000_000)


class _Message(msgspec.Struct, frozen=True):
    """The part of a Dramatiq message that says which cast it was for."""

    message_id: str


_decode: Final = msgspec.msgpack.Decoder(_Message).decode


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `cast_id` is null when the message could not be read."""

    pool: str
    id: str
    reason: str
    cast_id: UUID | None


class Requeued(msgspec.Struct, frozen=True, kw_only=True):
    """The new cast that stands in for the dead letter's."""

    cast_id: UUID
    held_micros: int


@get("/admin/dead-letters", tags=["admin"], guards=[require_admin])
async def list_dead_letters(
    services: Services, limit: Annotated[int, Parameter(ge=1, le=PAGE_MAX)] = PAGE_MAX
) -> dict[str, list[DeadLetter]]:
    """List the newest dead letters of every pool."""
    link = AsyncLink(services.redis)
    found: list[DeadLetter] = []
    for pool in Pool:
        reply = await link.call("XREVRANGE", keys.dead(pool), "+", "-", "COUNT", limit)
        found += [_letter(pool, entry) for entry in replies.entries(reply)]
    return {"data": found}


@post("/admin/dead-letters/{pool:str}/{entry_id:str}/requeue", tags=["admin"], guards=[require_admin], status_code=200)
async def requeue_dead_letter(services: Services, admin: Actor, pool: str, entry_id: str) -> Requeued:
    """Cast once more what the letter was for, and drop the letter; refused as any cast may be."""
    letter = await _find(services.redis, pool, entry_id)
    if letter.cast_id is None:
        raise refuse(Code.CONFLICT, "This letter cannot be read, so nobody knows its cast. Drop it.")
    async with transaction(services.engine_pool) as connection:
        terms = await cast_terms(connection, cast_id=letter.cast_id)
        prices = {} if terms is None else await prices_latest(connection, [terms.version_id])
    if terms is None or terms.input is None:
        raise refuse(Code.CONFLICT, "The cast of this letter, or its input, is no longer kept. Drop the letter.")
    again = _again(letter, terms, terms.input, prices.get(terms.version_id))
    admitted = await services.batcher.submit(again, _OPERATOR, waits=False)
    if isinstance(admitted.verdict, Refusal):
        raise RefusedError(admitted.verdict)
    if isinstance(admitted.verdict, Judged):
        result = admitted.verdict.results[0]
        if isinstance(result, Refusal):
            raise RefusedError(result)
        cast_id, held_micros = result.cast_id, result.held_micros
    else:  # this letter was cast once more before, and dropping it failed
        cast_id, held_micros = admitted.verdict.cast_ids[0], 0
    await _note(services, admin, Action.DEAD_LETTER_REQUEUE, letter, new_cast_id=cast_id)
    await _drop(services.redis, letter)
    return Requeued(cast_id=cast_id, held_micros=held_micros)


@delete("/admin/dead-letters/{pool:str}/{entry_id:str}", tags=["admin"], guards=[require_admin], status_code=204)
async def drop_dead_letter(services: Services, admin: Actor, pool: str, entry_id: str) -> None:
    """Drop a letter. Its cast has ended long before."""
    letter = await _find(services.redis, pool, entry_id)
    await _note(services, admin, Action.DEAD_LETTER_DROP, letter)
    await _drop(services.redis, letter)


async def _note(
    services: Services, admin: Actor, action: Action, letter: DeadLetter, *, new_cast_id: UUID | None = None
) -> None:
    """Write down what is about to happen to the letter: it lies in Redis, so that one transaction cannot have both.

    In the log of the cast's account, or of the platform's where nobody can tell whose cast it was.
    """
    now = services.now()
    async with transaction(services.engine_pool) as connection:
        terms = None if letter.cast_id is None else await cast_terms(connection, cast_id=letter.cast_id)
        if terms is None:
            account_id = (await ensure_platform_account(connection, account_id=uuid4(), now=now)).id
        else:
            account_id = terms.account_id
        await audit(
            connection,
            admin,
            action,
            account_id=account_id,
            target_id=f"{letter.pool}/{letter.id}",
            after={"reason": letter.reason, "cast_id": letter.cast_id, "new_cast_id": new_cast_id},
            now=now,
        )


def _again(letter: DeadLetter, terms: CastTerms, stdin: bytes, price: PriceChange | None) -> AdmissionRequest:
    spec = CastSpec(
        spell_id=terms.spell_id,
        version_id=terms.version_id,
        creator_id=terms.creator_id,
        price=price,
        digest=terms.digest,
        pool=Pool(terms.pool),
        limits=CastLimits(
            fuel=terms.fuel_limit,
            wall_ms=terms.wall_ms_limit,
            memory_bytes=terms.memory_bytes_limit,
            output_bytes=terms.output_bytes_limit,
            log_bytes=terms.log_bytes_limit,
        ),
        input=stdin,
        deadline_ms=DEADLINE_MS_DEFAULT,
        metadata=terms.metadata,
        webhook_url=terms.webhook_url,
    )
    assert letter.cast_id is not None
    return AdmissionRequest(
        account_id=terms.account_id,
        key_id=terms.key_id,
        casts=(spec,),
        # Two clicks on one letter are one cast.
        idempotency_key=f"dead-letter:{letter.pool}:{letter.id}",
        request_hash=letter.cast_id.bytes * 2,
    )


async def _find(redis: Redis, pool: str, entry_id: str) -> DeadLetter:
    if pool in {known.value for known in Pool} and _ENTRY_ID.fullmatch(entry_id):
        reply = await AsyncLink(redis).call("XRANGE", keys.dead(pool), entry_id, entry_id)
        for entry in replies.entries(reply):
            return _letter(pool, entry)
    raise refuse(Code.NOT_FOUND, "There is no such dead letter.")


async def _drop(redis: Redis, letter: DeadLetter) -> None:
    await AsyncLink(redis).call("XDEL", keys.dead(letter.pool), letter.id)


def _letter(pool: str, entry: replies.StreamEntry) -> DeadLetter:
    fields = entry.fields or {}
    cast_id = None
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        cast_id = UUID(_decode(fields.get(b"m", b"")).message_id)
    return DeadLetter(
        pool=pool,
        id=entry.entry_id.decode("ascii"),
        reason=fields.get(b"r", b"").decode("utf-8", "replace"),
        cast_id=cast_id,
    )


ROUTES: Final = [list_dead_letters, requeue_dead_letter, drop_dead_letter]
