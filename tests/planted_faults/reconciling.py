"""Mistakes in what is compared, and in what is never billed: a difference that nobody is told of."""

from tests.planted_faults.fault import fault

FREEZE = "tests/domain/flow/test_freeze_invoice.py::"

FAULTS = (
    fault(
        "unbilled-usage-billed-later",
        "Who turns billing on finds everything on the first invoice that was for nothing until then.",
        (
            "domain/model/booking.py",
            "unbilled_of(cast.account_id) if cast.funding is Funding.UNBILLED else receivable_of(cast.account_id)",
            "receivable_of(cast.account_id)",
        ),
        tests=(f"{FREEZE}test_what_is_used_while_billing_is_off_is_never_billed",),
    ),
)
