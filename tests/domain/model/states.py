"""What the pure decisions are asked about, with every field set to something a test can change by name."""

from datetime import UTC, date, datetime
from uuid import UUID

from domain.model.admission import AdmissionRequest, CastSpec
from domain.model.admission_state import AccountState, AdmissionState, KeyState, MonthState, Terms, WindowState
from domain.model.creator_price import NO_PRICE, CreatorPrice, PriceChange
from domain.model.funding import Funding, Grant
from domain.model.limits import CastLimits
from domain.model.messages import Pool
from domain.model.periods import Period
from domain.model.pricing import Price
from domain.model.settlement import HeldCast, Status

ACCOUNT, KEY, SPELL, VERSION, CREATOR = (UUID(int=number) for number in range(1, 6))
OTHER = UUID(int=99)
NOW = datetime(2026, 3, 14, 15, 9, 26, 535_000, tzinfo=UTC)
NOW_MS = 1_773_500_966_535
PRICE = Price(version=7, per_cast_micros=1_000, per_gfuel_micros=1_500, platform_share_percent=20)
TERMS = Terms(price=PRICE, free_casts_per_month=0, billing_enabled=True, metered_limit_default_micros=10**12)
HOLD = 2_500


def account(**fields: object) -> AccountState:
    defaults = {
        "id": ACCOUNT,
        "status": "active",
        "plan": "pro",
        "metered": True,
        "spend_paused": False,
        "credits_ever": False,
        "open_casts": 0,
        "open_casts_max": 1_000,
        "on_wire_default": 0,
        "on_wire_large": 0,
    }
    return AccountState(**{**defaults, **fields})


def key(**fields: object) -> KeyState:
    return KeyState(**{"id": KEY, "alive": True, "open_casts": 0, "open_casts_max": None, **fields})


def window(budget: int, limit: int | None, **fields: object) -> WindowState:
    defaults = {
        "budget_id": UUID(int=budget),
        "account_id": ACCOUNT,
        "scope": "account",
        "scope_id": ACCOUNT,
        "period": Period.MONTHLY,
        "starts_on": date(2026, 3, 1),
        "exists": True,
        "hard_limit_micros": limit,
        "spent_micros": 0,
        "held_micros": 0,
    }
    return WindowState(**{**defaults, **fields})


def grant(number: int, balance: int, **fields: object) -> Grant:
    defaults = {
        "id": UUID(int=number),
        "account_id": ACCOUNT,
        "priority": 1,
        "balance_micros": balance,
        "held_micros": 0,
        "expires_at": None,
    }
    return Grant(**{**defaults, **fields})


def month(**fields: object) -> MonthState:
    return MonthState(account_id=ACCOUNT, **fields)


def state(**fields: object) -> AdmissionState:
    defaults = {
        "now_us": NOW_MS * 1_000 + 999,
        "accounts": [account()],
        "keys": [key()],
        "windows": [],
        "months": [],
        "grants": [],
        "idempotency": [],
    }
    return AdmissionState(**{**defaults, **fields})


def standing(price: CreatorPrice) -> PriceChange:
    """Return a price that has been in force for ever."""
    return PriceChange(version_id=VERSION, number=1, announced_ms=0, effective_ms=0, before=NO_PRICE, after=price)


def spec(*, creator_price_micros: int = 0, **fields: object) -> CastSpec:
    defaults = {
        "spell_id": SPELL,
        "version_id": VERSION,
        "creator_id": CREATOR,
        "digest": b"d" * 32,
        "pool": Pool.DEFAULT,
        "limits": CastLimits(),
        "input": b"{}",
        "deadline_ms": 60_000,
    }
    if creator_price_micros:
        defaults["price"] = standing(CreatorPrice(per_cast_micros=creator_price_micros))
    return CastSpec(**{**defaults, **fields})


def request(*casts: CastSpec, **fields: object) -> AdmissionRequest:
    return AdmissionRequest(**{"account_id": ACCOUNT, "key_id": KEY, "casts": casts or (spec(),), **fields})


def held_cast(number: int = 1, **fields: object) -> HeldCast:
    defaults = {
        "id": UUID(int=number),
        "account_id": ACCOUNT,
        "key_id": KEY,
        "spell_id": SPELL,
        "creator_id": CREATOR,
        "digest": b"d" * 32,
        "status": Status.QUEUED,
        "pool": Pool.DEFAULT,
        "on_wire": True,
        "cancel_requested": False,
        "accepted_ms": NOW_MS,
        "deadline_passed": False,
        "fuel_limit": 10**9,
        "wall_ms_limit": 10_000,
        "memory_bytes_limit": 64 * 2**20,
        "output_bytes_limit": 1_000,
        "log_bytes_limit": 100,
        "price_version": 7,
        "creator_price_micros": 0,
        "held_micros": HOLD,
        "funding": Funding.METERED,
        "window_ids": (),
        "grant_ids": (),
        "grant_micros": (),
        "data_days": 0,
    }
    return HeldCast(**{**defaults, **fields})
