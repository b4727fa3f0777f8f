"""Mistakes in what is compared, and in what is never billed: a difference that nobody is told of."""

from tests.planted_faults.fault import fault

FREEZE = "tests/domain/flow/test_freeze_invoice.py::"

BOOKS = "tests/domain/flow/test_reconcile_billing.py::"
STRIPE = "tests/scheduler/test_compare_stripe.py::"
NAMED = f"{BOOKS}test_a_difference_is_named_and_nothing_is_mended"

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
    fault(
        "late-usage-is-a-drift",
        "Every cast that settles behind the freeze is an alarm, and soon nobody looks.",
        ("domain/store/books.sql", "  WHERE o.created_at <= f.at\n", "  WHERE o.created_at IS NOT NULL\n"),
        tests=(f"{BOOKS}test_what_came_late_does_not_differ_before_it_is_billed",),
    ),
    fault(
        "lines-not-compared",
        "A line that says more than the ledger is collected, and nobody is told.",
        (
            "domain/store/books.py",
            '"""Every comparison, in the order',
            '"""Every comparison but one, in the order',
        ),
        ("domain/store/books.py", "    lines_drift,\n    invoices_drift,\n", "    invoices_drift,\n"),
        tests=(NAMED,),
    ),
    fault(
        "payments-not-compared",
        "An invoice is paid twice in the ledger, or never, and the books are said to be equal.",
        (
            "domain/store/books.sql",
            "  FROM invoices WHERE status IN ('paid', 'void')\n",
            "  FROM invoices WHERE false\n",
        ),
        tests=(NAMED, f"{BOOKS}test_months_of_everything_do_not_differ"),
    ),
    fault(
        "debts-not-expected",
        "A refund of credits that were used is an alarm for ever.",
        ("domain/store/books.sql", " + coalesce(d.micros, 0))::bigint", ")::bigint"),
        (
            "domain/store/books.sql",
            " + coalesce(d.micros, 0) <> coalesce(b.micros, 0)",
            " <> coalesce(b.micros, 0)",
        ),
        tests=(f"{BOOKS}test_a_debt_of_a_refund_is_owed_beside_the_invoices",),
    ),
    fault(
        "statuses-at-stripe-not-compared",
        "An invoice that was paid stays open here for ever, because the event that said so was lost.",
        (
            "domain/store/stripe_listing.sql",
            "  WHERE t.status <> CASE o.status WHEN 'pending' THEN 'draft' ELSE o.status END\n",
            "  WHERE t.status IS NULL\n",
        ),
        tests=(f"{STRIPE}test_an_invoice_that_differs_is_named_and_left_as_it_is",),
    ),
    fault(
        "second-invoices-not-noticed",
        "A customer is billed twice for a month, and the books are said to be equal.",
        (
            "domain/store/stripe_listing.sql",
            "  WHERE t.status <> 'void' AND coalesce(o.stripe_id <> t.stripe_id, t.alike > 1)\n",
            "  WHERE t.status IS NULL\n",
        ),
        tests=(f"{STRIPE}test_an_invoice_that_differs_is_named_and_left_as_it_is",),
    ),
    fault(
        "news-on-its-way-reported",
        "Every invoice that is paid while the lists are read is an alarm.",
        (
            "scheduler/compare_stripe.py",
            "for listed in await _look(stripe, book.book, row)]\n",
            "for listed in await _look(stripe, book.book, row)][:0]\n",
        ),
        tests=(f"{STRIPE}test_stripe_that_changes_between_the_looks_is_asked_again",),
    ),
    fault(
        "stripe-away-is-balanced",
        "Nobody is told that nothing was compared.",
        (
            "domain/flow/compare_stripe.py",
            "    balanced = report.compared and not any(report.differing.values())\n",
            "    balanced = not any(report.differing.values())\n",
        ),
        tests=(f"{STRIPE}test_stripe_away_is_said_and_is_no_failure",),
    ),
    fault(
        "pages-read-once",
        "Of a thousand invoices a hundred are compared, and the others are missing.",
        (
            "domain/model/stripe_listing.py",
            "    if page.last_id is not None:\n",
            "    if page.last_id is not None and comparison.last_id is None:\n",
        ),
        (
            "gateways/stripe/listing.py",
            "last_id=objects[-1].stripe_id if objects and found.has_more else None)",
            "last_id=None)",
        ),
        tests=(f"{STRIPE}test_pages_are_read_one_behind_the_other_and_killed_it_goes_on",),
    ),
    fault(
        "shares-not-compared",
        "Creators are paid what no customer ever paid, and the books are said to be equal.",
        ("domain/store/books.sql", "WHERE m.micros > coalesce(c.micros, 0)\n", "WHERE m.micros < 0\n"),
        tests=(NAMED,),
    ),
    fault(
        "last-month-not-compared",
        "What goes wrong on the last day of a month is never looked at.",
        (
            "domain/flow/reconcile.py",
            "    months = [last_month(now), month_of(now)]\n",
            "    months = [month_of(now), month_of(now)]\n",
        ),
        tests=(f"{BOOKS}test_months_of_everything_do_not_differ",),
    ),
)
