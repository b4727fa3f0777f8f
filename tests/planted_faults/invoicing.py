"""Mistakes in outgoing money and monthly billing: who pays twice, or never, or for whom."""

from tests.planted_faults.fault import fault

OUTBOX = "tests/scheduler/test_outbox.py::"
FAULTY = "tests/scheduler/test_billing_faults.py::"
RUNS = "tests/scheduler/test_billing_runs.py::"
FREEZE = "tests/domain/flow/test_freeze_invoice.py::"
FOLLOW = "tests/domain/flow/test_follow_usage_invoice.py::"
MODEL = "tests/domain/model/test_invoicing.py::"

_FROM_LEDGER = """\
  SELECT month, spell_id, casts AS calls, amount_micros AS micros,
    CASE kind WHEN 'creator_share' THEN amount_micros ELSE 0 END AS share
  FROM ledger_transfers
  WHERE account_id = %(account_id)s AND month <= %(period)s AND spell_id IS NOT NULL AND debit = %(receivable)s
"""
_FROM_COUNTERS = """\
  SELECT date_trunc('month', starts_on)::date AS month, subject_id AS spell_id, casts AS calls, cost_micros AS micros,
    0 AS share
  FROM usage_counters
  WHERE account_id = %(account_id)s AND dimension = 'account_spell' AND funding = 'metered'
    AND starts_on < %(period)s::date + interval '1 month' AND %(receivable)s::text IS NOT NULL
"""

FAULTS = (
    # The outbox
    fault(
        "key-without-epoch",
        "A 500 that Stripe stored is its answer for ever, and the invoice is never made.",
        ("domain/model/outbox.py", 'return f"{self.id}:{self.step}:{self.epoch}"', 'return f"{self.id}:{self.step}"'),
        tests=(f"{OUTBOX}test_a_stored_500_of_nothing_done_is_answered_under_the_next_epoch",),
    ),
    fault(
        "retried-without-a-look",
        "What was done although nobody answered is done again: two invoices, two refunds.",
        (
            "scheduler/outbox/loop.py",
            "                done = await step.look(self._stripe, row)\n",
            "                done = None\n",
        ),
        tests=(
            f"{OUTBOX}test_killed_at_a_step_and_found_after_the_key_is_forgotten",
            f"{FAULTY}test_killed_at_each_step_and_gone_on_with_after_stripe_forgot_the_keys",
        ),
    ),
    fault(
        "keys-believed-for-ever",
        "Stripe forgets keys after a day: the same request under the same key makes a second invoice then.",
        ("domain/model/outbox.py", "KEY_LASTS: Final = timedelta(hours=20)", "KEY_LASTS: Final = timedelta(hours=48)"),
        tests=(f"{FAULTY}test_killed_at_each_step_and_gone_on_with_after_stripe_forgot_the_keys",),
    ),
    fault(
        "stored-500-not-noticed",
        "The key that has a 500 for an answer is asked again and again.",
        ("scheduler/outbox/loop.py", "spends_key=failure.is_replayed", "spends_key=False"),
        tests=(f"{OUTBOX}test_a_stored_500_of_nothing_done_is_answered_under_the_next_epoch",),
    ),
    fault(
        "frozen-intents-may-be-changed",
        "Whoever gets into a process changes how much is refunded while it is under way.",
        ("migrations/0010_outbox.sql", "GRANT UPDATE (step, epoch,", "GRANT UPDATE (frozen, step, epoch,"),
        tests=(f"{OUTBOX}test_nobody_changes_what_was_frozen",),
    ),
    fault(
        "row-taken-by-two",
        "Two workers ask Stripe for the same at the same moment.",
        ("domain/store/outbox.sql", " LIMIT %(limit)s FOR UPDATE SKIP LOCKED)", " LIMIT %(limit)s)"),
        tests=(f"{OUTBOX}test_only_one_of_many_workers_takes_a_row",),
    ),
    # Billing
    fault(
        "totals-from-the-counters",
        "Numbers that are for showing are collected.",
        (
            "domain/store/invoices.sql",
            _FROM_LEDGER,
            _FROM_COUNTERS,
        ),
        tests=(f"{FREEZE}test_totals_come_from_the_ledger_and_not_from_the_counters",),
    ),
    fault(
        "payments-taken-for-usage",
        "Who pays an invoice gets the amount off the next.",
        (
            "domain/store/invoices.sql",
            "AND spell_id IS NOT NULL AND credit = %(receivable)s",
            "AND credit = %(receivable)s",
        ),
        tests=(f"{FOLLOW}test_what_was_paid_is_no_usage_and_not_billed_again",),
    ),
    fault(
        "carry-lost",
        "Up to a cent a month, and whatever is below fifty, is never billed.",
        (
            "domain/model/invoicing.py",
            "    return freezes[0].carry_out_micros if freezes else 0\n",
            "    return 0 if freezes else 0\n",
        ),
        tests=(
            f"{FREEZE}test_what_is_carried_opens_the_next_invoice_to_the_micro",
            f"{FAULTY}test_a_stripe_that_fails_and_processes_that_die_bill_everybody_once",
        ),
    ),
    fault(
        "each-item-rounded-down",
        "The items do not add up to the total, and Stripe collects less than is owed.",
        (
            "domain/model/invoicing.py",
            "        cents = sum_micros // MICROS_PER_CENT - sum_cents\n",
            "        cents = sum(one.amount_micros for one in differences if one.month == month) // MICROS_PER_CENT\n",
        ),
        tests=(f"{MODEL}test_over_any_number_of_invoices_not_a_micro_is_lost",),
    ),
    fault(
        "finalized-and-never-collected",
        "Stripe leaves every invoice lying there.",
        (
            "gateways/stripe/invoices.py",
            'params: stripe.params.InvoiceFinalizeInvoiceParams = {"auto_advance": True}',
            'params: stripe.params.InvoiceFinalizeInvoiceParams = {"auto_advance": False}',
        ),
        tests=(f"{RUNS}test_the_clock_bills_the_month_that_is_over_and_says_what_it_always_said",),
    ),
    fault(
        "two-invoices-a-month",
        "A run that is started again bills what came meanwhile a second time for the month.",
        ("migrations/0017_invoices.sql", "  UNIQUE (account_id, period),\n", ""),
        (
            "domain/flow/freeze_invoice.py",
            "    if await invoices.invoice_exists(conn, account_id, period=period):\n        return Judged",
            "    if period is None:\n        return Judged",
        ),
        (
            "domain/store/billing_runs.sql",
            "WHERE r.outcome IN ('nothing', 'no_customer', 'billing_off')",
            "WHERE r.outcome <> 'waiting'",
        ),
        tests=(f"{RUNS}test_usage_that_comes_while_a_run_is_under_way_is_the_next_ones",),
    ),
    fault(
        "frozen-without-the-lock",
        "A cast that settles at that moment is in no invoice, or its line opens without it.",
        (
            "domain/store/invoices.sql",
            "WHERE id = %(account_id)s FOR NO KEY UPDATE)",
            "WHERE id = %(account_id)s)",
        ),
        tests=(f"{FREEZE}test_a_settlement_under_way_is_waited_for",),
    ),
    fault(
        "open-casts-not-waited-for",
        "Whatever runs over midnight is late usage, a month later.",
        ("domain/flow/freeze_invoice.py", "account.open_casts > 0 and now <", "account.open_casts > 0 and now >"),
        tests=(
            f"{FREEZE}test_a_cast_of_the_last_tenth_of_a_second_is_waited_for_until_six_and_late_afterwards",
            f"{FREEZE}test_a_cast_that_ends_in_time_is_billed_with_its_month",
        ),
    ),
    fault(
        "casts-behind-a-line-since-any-freeze",
        "A line opens fewer casts than it counts: those of the new month before the old one was billed are missing.",
        ("domain/model/invoicing.py", "for freeze in freezes if freeze.period >= month)", "for freeze in freezes)"),
        tests=(f"{FREEZE}test_casts_of_the_new_month_do_not_wait_for_the_old_ones_invoice",),
    ),
    fault(
        "totals-not-compared",
        "What somebody put on the draft at Stripe by mistake is collected.",
        ("scheduler/outbox/invoice.py", "    if invoice.total_cents != intent.total_cents or", "    if"),
        tests=(f"{RUNS}test_what_stripe_adds_up_differently_is_not_finalized",),
    ),
    fault(
        "mailed-twice",
        "The same invoice comes by mail again.",
        (
            "domain/store/invoices.sql",
            "AND account_id = %(account_id)s AND finalized_at IS NULL\n",
            "AND account_id = %(account_id)s\n",
        ),
        tests=(f"{FOLLOW}test_in_whatever_order_it_is_told_it_is_paid_once_and_told_once",),
    ),
    fault(
        "paid-and-then-void",
        "A late event gives away what was paid.",
        (
            "domain/flow/follow_usage_invoice.py",
            '    "open": frozenset({"paid", "uncollectible", "void"}),\n',
            '    "open": frozenset({"paid", "uncollectible", "void"}),\n    "paid": frozenset({"void"}),\n',
        ),
        tests=(f"{FOLLOW}test_in_whatever_order_it_is_told_it_is_paid_once_and_told_once",),
    ),
    fault(
        "one-account-stops-the-run",
        "A customer that is gone at Stripe keeps everybody behind it from being billed.",
        (
            "scheduler/outbox/loop.py",
            "        except (StripeFailure, StepError) as failure:\n",
            "        except StripeFailure as failure:\n",
        ),
        (
            "scheduler/outbox/loop.py",
            "        except Exception:  # a fault of ours in one row must not stop the money of everybody else\n",
            "        except ZeroDivisionError:\n",
        ),
        tests=(f"{RUNS}test_one_users_failure_stops_no_other_and_is_made_up_for",),
    ),
)
