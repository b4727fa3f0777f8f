"""POST /v1/casts/batch: up to 1,000 casts in one request, one transaction, a verdict each."""

from typing import Final

import msgspec

from api.auth import Principal
from api.budgets.board import tightest_noted
from api.call import Call
from api.casts.quotes import resolve_cast
from api.casts.request import parse_batch, parse_cast, spec_of
from api.errors import KINDS, Answer, problem
from api.guard import admit_request, caller_of, note_allowance
from api.services import Services
from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged, Replayed, Verdict
from domain.model.advice import CastWarning
from domain.model.cast_view import CastView, VersionName, view_of_accepted, warned
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.places import NO_CAST
from domain.model.webhook_url import parse_networks

_REFUSED_BEFORE: Final = Refusal(
    code=Code.REFUSED_BEFORE,
    detail="This cast of the batch was refused when its Idempotency-Key was first used, and is not tried again.",
)


class BatchResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The verdict on one cast: its status as a request of its own would have had it, and the cast or the problem."""

    status: int
    cast: CastView | None = None
    error: msgspec.Raw | None = None


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts in the order of the request; in a replay the casts as they are now."""

    results: list[BatchResult]


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    spec: CastSpec
    name: VersionName
    warnings: tuple[CastWarning, ...]


async def cast_many(
    services: Services,
    call: Call,
    principal: Principal,
    *,
    body: bytes,
    idempotency_key: str | None,
    request_hash: bytes,
    traceparent: str | None,
    path: str,
) -> Answer:
    """Admit a whole batch. RefusedError when all of it is refused for one reason: its form, the key, or the rate."""
    wanted = [await _wanted(services, principal, one, traceparent) for one in parse_batch(body)]
    good = [one for one in wanted if isinstance(one, _Wanted)]
    judged: list[Accepted | Refusal] = []
    if good:
        request = AdmissionRequest(
            account_id=principal.account_id,
            key_id=principal.key_id,
            key_prefix=principal.key_prefix,
            session_id=principal.session_id,
            casts=tuple(one.spec for one in good),
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            places=tuple(place for place, one in enumerate(wanted) if isinstance(one, _Wanted)),
            sent_count=len(wanted),
        )
        caller = caller_of(principal)
        admitted = await services.batcher.submit(request, caller, waits=False)
        note_allowance(call, caller, admitted.allowance)
        if isinstance(admitted.verdict, Replayed):
            return await _replay(services, call, principal, admitted.verdict, path)
        judged = _results(admitted.verdict)
        _note_standing(services, call, principal, judged)
    else:
        await admit_request(services, call, caller_of(principal))
    verdicts = iter(judged)
    results = [
        _refused(services, call, one, path)
        if isinstance(one, Refusal)
        else _result(services, call, one, next(verdicts), path)
        for one in wanted
    ]
    call.cast_ids = tuple(result.cast.id for result in results if result.cast is not None)
    return _answer(results)


async def _wanted(services: Services, principal: Principal, raw: bytes, traceparent: str | None) -> _Wanted | Refusal:
    try:
        body = parse_cast(raw)
        spell, quote = await resolve_cast(services, body, principal)
        private_allowed = parse_networks(services.settings.webhook_allow_private)
        spec = spec_of(body, spell, traceparent, private_allowed=private_allowed, quote=quote)
    except RefusedError as error:
        return error.refusal
    name = VersionName(
        spell=f"{spell.owner}/{spell.name}",
        version=spell.version,
        digest=spell.digest,
        output_encoding=spell.output_encoding,
    )
    return _Wanted(spec=spec, name=name, warnings=spell.warnings)


def _results(verdict: Verdict) -> list[Accepted | Refusal]:
    if isinstance(verdict, Refusal):
        raise RefusedError(verdict)
    assert isinstance(verdict, Judged)
    first = verdict.results[0]
    over_rate = all(isinstance(result, Refusal) and result.code is Code.RATE_LIMITED for result in verdict.results)
    if over_rate and isinstance(first, Refusal):
        raise RefusedError(first)
    return list(verdict.results)


def _note_standing(services: Services, call: Call, principal: Principal, judged: list[Accepted | Refusal]) -> None:
    """Have the answer carry the tightest budget as it stands after the last hold."""
    said = [one.budget if isinstance(one, Accepted) else one.limit for one in judged]
    tightest = tightest_noted(standing for standing in said if standing is not None)
    if tightest is not None:
        call.budget = services.budget_board.note(principal.budgeted_id, tightest)


def _result(services: Services, call: Call, wanted: _Wanted, verdict: Accepted | Refusal, path: str) -> BatchResult:
    if isinstance(verdict, Refusal):
        return _refused(services, call, verdict, path)
    view = view_of_accepted(verdict, wanted.name, casts_url=services.casts.casts_url)
    return BatchResult(status=202, cast=warned(view, wanted.warnings))


def _refused(services: Services, call: Call, refusal: Refusal, path: str) -> BatchResult:
    services.metrics.casts_failed.labels(refusal.code).inc()
    return _problem(services, call, refusal, path)


def _problem(services: Services, call: Call, refusal: Refusal, path: str) -> BatchResult:
    answer = problem(refusal, request_id=call.request_id, instance=path, public_url=services.settings.public_url)
    return BatchResult(status=KINDS[refusal.code].status, error=msgspec.Raw(answer.body))


async def _replay(services: Services, call: Call, principal: Principal, replayed: Replayed, path: str) -> Answer:
    """Answer with the casts as they are now. Why others were refused is not kept: they say that they were."""
    call.answer_headers.append((b"idempotent-replayed", b"true"))
    call.cast_ids = tuple(cast_id for cast_id in replayed.cast_ids if cast_id != NO_CAST)
    rows = [await services.casts.row(cast_id, principal) for cast_id in call.cast_ids]
    views = await services.casts.views(rows)
    found = {
        cast_id: BatchResult(status=200 if row.is_final else 202, cast=view)
        for cast_id, row, view in zip(call.cast_ids, rows, views, strict=True)
    }
    found[NO_CAST] = _problem(services, call, _REFUSED_BEFORE, path)
    return _answer([found[cast_id] for cast_id in replayed.cast_ids])


def _answer(results: list[BatchResult]) -> Answer:
    body = msgspec.json.encode(BatchAnswer(results=results))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return Answer(200, headers, body)
