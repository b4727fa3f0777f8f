"""Asking the decision, and taking the answer apart."""

from datetime import UTC, datetime

import msgspec

from domain.model.admission import Accepted, AdmissionRequest, CastSpec, Judged, Verdict, decide
from domain.model.admission_state import AdmissionState, Terms
from domain.model.errors import Refusal
from tests.domain.model.states import TERMS, request, spec

NEXT_MONTH = datetime(2026, 4, 1, tzinfo=UTC)
TOMORROW = datetime(2026, 3, 15, tzinfo=UTC)
RANDOM = bytes(range(256)) * 20


def judge(given: AdmissionState, *requests: AdmissionRequest, terms: Terms = TERMS) -> list[Verdict]:
    return decide(requests, given, terms, RANDOM)


def results(given: AdmissionState, *casts: CastSpec, terms: Terms = TERMS) -> list[Accepted | Refusal]:
    (verdict,) = judge(given, request(*casts), terms=terms)
    assert isinstance(verdict, Judged)
    return list(verdict.results)


def accept(given: AdmissionState, *casts: CastSpec, terms: Terms = TERMS) -> list[Accepted]:
    found = [result for result in results(given, *casts, terms=terms) if isinstance(result, Accepted)]
    assert len(found) == max(1, len(casts))
    return found


def refuse(given: AdmissionState, cast: CastSpec | None = None, *, terms: Terms = TERMS) -> Refusal:
    (result,) = results(given, cast or spec(), terms=terms)
    assert isinstance(result, Refusal)
    return result


def terms(**fields: object) -> Terms:
    return msgspec.structs.replace(TERMS, **fields)
