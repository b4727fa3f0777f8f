"""Live and test: what a key is for. A test key casts for real, and no money moves. Pure."""

import enum
from typing import Final

from domain.model.errors import Code, Fault, Refusal, refuse
from domain.model.funding import Funding
from domain.model.key_rules import KeyScope


class Mode(enum.StrEnum):
    """Chosen when a key is made, for good; its text begins with `sk_live_` or `sk_test_`."""

    LIVE = "live"
    TEST = "test"


def mode_of_funding(funding: str) -> Mode:
    """Return the mode of a cast: what a test key casts is funded as `test`, and nothing else is."""
    return Mode.TEST if funding == Funding.TEST else Mode.LIVE


# What a test key may be given: to cast and to see what became of it. It governs nothing of the account, so that one
# that lies in a repository of tests opens neither money nor live data.
TEST_SCOPES: Final[frozenset[str]] = frozenset({KeyScope.CASTS_WRITE, KeyScope.CASTS_READ})
# Results of test casts are real, so that without a bound they would be a free tier without end. Ten times the free
# casts of a month: thirty runs a day of a suite with one cast, or a suite of a thousand once.
TEST_CASTS_PER_MONTH_MAX: Final = 1_000
# As much as the free allowance gives a cast: at the default price a month of test casts is worth $2.50 at most.
TEST_FUEL_MAX: Final = 1_000_000_000


def check_test_scopes(mode: Mode, scopes: frozenset[str]) -> None:
    """Raise RefusedError (validation) when a test key would get a power that concerns more than test casts."""
    above = sorted(scopes - TEST_SCOPES)
    if mode is Mode.LIVE or not above:
        return
    fix = f"Use {' and '.join(sorted(TEST_SCOPES))}, or make a live key."
    fault = Fault(location="scopes", message=f"a test key cannot have {above[0]!r}", fix=fix)
    raise refuse(Code.VALIDATION, f"The key cannot be so: {fault.message}.", faults=(fault,))


def refuse_test_cast(*, is_priced: bool, fuel_limit: int, test_casts: int) -> Refusal | None:
    """Return why a test cast is not accepted. `test_casts` were in the account's month so far.

    `is_priced`: the creator asks something of this caller, and nobody's work is given away for a test.
    """
    if is_priced:
        return Refusal(
            code=Code.FORBIDDEN,
            detail=(
                "The creator of this spell asks a price, and test casts pay nothing."
                " Test with a spell of your own or one without a price, or use a live key."
            ),
        )
    if fuel_limit > TEST_FUEL_MAX:
        return Refusal(
            code=Code.TEST_ALLOWANCE_EXHAUSTED,
            detail=(
                f"A test cast may use {TEST_FUEL_MAX} fuel, and this one asks for {fuel_limit}."
                " Lower limits.fuel, or use a live key."
            ),
        )
    if test_casts >= TEST_CASTS_PER_MONTH_MAX:
        return Refusal(
            code=Code.TEST_ALLOWANCE_EXHAUSTED,
            detail=(
                f"The {TEST_CASTS_PER_MONTH_MAX} test casts of this month are used up. Use a live key, or wait for the"
                " next month."
            ),
        )
    return None
