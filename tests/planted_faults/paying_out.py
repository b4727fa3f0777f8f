"""Mistakes in payouts: who is paid twice, or more than is owed, or is told so and never paid."""

from tests.planted_faults.fault import fault

FLOW = "tests/domain/flow/test_payouts.py::"
ONBOARD = "tests/domain/flow/test_onboard_creator.py::"
FAULTY = "tests/scheduler/test_payout_faults.py::"
RUNS = "tests/scheduler/test_payout_runs.py::"
API = "tests/api/test_payouts.py::"
MODEL = "tests/domain/model/test_payouts.py::"

FAULTS = (
    fault(
        "two-payouts-a-month",
        "A run that two make at once, or that is started again, pays a creator twice in a month.",
        ("migrations/0021_payouts.sql", "  UNIQUE (account_id, period),\n", ""),
        (
            "domain/flow/freeze_payout.py",
            "    if await payouts.payout_exists(conn, account_id, period=period):\n",
            "    if period is None:\n",
        ),
        tests=(f"{FLOW}test_a_month_is_frozen_once_whatever_the_program_believes",),
    ),
    fault(
        "paid-out-without-the-lock",
        "The runs of two months see the same balance, and each pays it.",
        (
            "domain/store/payouts.sql",
            "SELECT status FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE\n",
            "SELECT status FROM accounts WHERE id = %(account_id)s\n",
        ),
        tests=(f"{FLOW}test_two_months_at_once_pay_no_more_than_is_owed",),
    ),
    fault(
        "paid-more-than-payable",
        "What was taken back of what a creator earned is paid to him all the same.",
        (
            "domain/store/payouts.sql",
            "     WHERE debit = %(payable)s AND debit LIKE 'payable:%%') AS payable_micros,\n",
            "     WHERE debit = %(payable)s AND debit LIKE 'payable:%%' AND kind LIKE 'payout%%') AS payable_micros,\n",
        ),
        (
            "migrations/0021_payouts.sql",
            "  CHECK (amount_cents * 10000 <= payable_micros - held_back_micros),\n",
            "",
        ),
        tests=(
            f"{FLOW}test_a_debt_is_netted_and_pays_nobody",
            f"{FAULTY}test_a_stripe_that_fails_and_processes_that_die_pay_everybody_once",
        ),
    ),
    fault(
        "nothing-held-back",
        "What became payable a minute ago is paid, and disputed the day after.",
        ("domain/model/payouts.py", "(owed.payable_micros - owed.fresh_micros) //", "owed.payable_micros //"),
        tests=(
            f"{MODEL}test_who_is_paid_and_how_much",
            f"{FLOW}test_what_became_payable_lately_waits",
        ),
    ),
    fault(
        "payout-sent-again-without-a-look",
        "A transfer nobody heard of is made again when Stripe has forgotten the key: the creator has it twice.",
        ("scheduler/outbox/payout.py", '{"pay": Step(send=_send, look=_look)}', '{"pay": Step(send=_send)}'),
        tests=(f"{FAULTY}test_killed_and_gone_on_with_after_stripe_forgot_the_key",),
    ),
    fault(
        "epoch-of-a-payout-raised-without-a-look",
        "The next key is taken for a transfer that is there already.",
        (
            "scheduler/outbox/payout.py",
            "            matches=lambda found: is_marked(found.metadata, row),\n",
            '            matches=lambda found: found.metadata == {"payout": str(row.id)},\n',
        ),
        tests=(
            f"{FAULTY}test_killed_and_gone_on_with_after_stripe_forgot_the_key",
            f"{FAULTY}test_an_attempt_nobody_heard_of_is_looked_for_before_a_refusal_is_believed",
        ),
    ),
    fault(
        "refusal-believed-without-a-look",
        "Paid by an attempt nobody heard of, and owed again because the next one is refused: paid twice.",
        (
            "scheduler/outbox/payout.py",
            "        found = await _look(stripe, row) if _is_final(refusal) else None\n",
            "        found = None\n",
        ),
        tests=(f"{FAULTY}test_an_attempt_nobody_heard_of_is_looked_for_before_a_refusal_is_believed",),
    ),
    fault(
        "too-little-money-is-a-refusal",
        "An empty balance at Stripe fails every payout of the month.",
        ("scheduler/outbox/payout.py", "    return refusal.code in FINAL_CODES\n", "    return bool(FINAL_CODES)\n"),
        tests=(f"{FAULTY}test_too_little_money_waits_and_is_told",),
    ),
    fault(
        "refused-and-forgotten",
        "What Stripe refuses to pay is owed to nobody any more.",
        (
            "domain/flow/end_payout.py",
            "[Move(debit=paying, credit=payable_of(account_id), micros=micros)]",
            "[Move(debit=paying, credit=CASH, micros=micros)]",
        ),
        tests=(
            f"{FLOW}test_refused_is_owed_again_and_told_once",
            f"{FAULTY}test_a_stripe_that_fails_and_processes_that_die_pay_everybody_once",
        ),
    ),
    fault(
        "taken-back-twice",
        "An event that comes again has a creator owed again what he was owed again already.",
        ("domain/store/payouts.sql", " AND reversed_cents < %(reversed_cents)s\n", "\n"),
        (
            "domain/flow/follow_transfer.py",
            "    micros = (reversed_cents - before.reversed_cents) * MICROS_PER_CENT\n",
            "    micros = reversed_cents * MICROS_PER_CENT\n",
        ),
        (
            "domain/flow/follow_transfer.py",
            '        cause=uuid5(payout_id, f"reversed {reversed_cents}"),\n',
            '        cause=uuid5(payout_id, f"reversed {now} {before.reversed_cents}"),\n',
        ),
        tests=(f"{RUNS}test_what_is_taken_back_at_stripe_is_owed_again",),
    ),
    fault(
        "payouts-before-their-day",
        "On the 1st, before anything of the month was collected, the month's one payout is gone.",
        ("domain/model/payouts.py", ".day >= PAYS_ON_DAY", ".day >= 1"),
        tests=(f"{RUNS}test_the_clock_pays_out_the_month_that_is_over_once_its_day_has_come",),
    ),
    fault(
        "frozen-payouts-may-be-changed",
        "Whoever gets into a process has payouts sent to his own account.",
        (
            "migrations/0021_payouts.sql",
            "GRANT UPDATE (status, stripe_transfer_id,",
            "GRANT UPDATE (stripe_account_id, status, stripe_transfer_id,",
        ),
        tests=(f"{FLOW}test_the_program_may_not_change_what_is_frozen",),
    ),
    fault(
        "onboarded-twice",
        "A creator whose first account nobody heard of gets a second one, and is paid to the wrong one.",
        (
            "api/payouts/connecting.py",
            "        made = await accounts.find(name, since=account.created_at - SINCE)\n",
            "        made = None\n",
        ),
        tests=(f"{API}test_an_account_nobody_heard_of_is_found_and_not_made_again",),
    ),
    fault(
        "key-opens-onboarding",
        "A leaked key is enough to have a creator's money sent to another bank account.",
        (
            "api/payouts/routes.py",
            '@post("/v1/payouts/onboarding", status_code=200, access=SESSION_ONLY,',
            '@post("/v1/payouts/onboarding", status_code=200, access=_READ,',
        ),
        tests=(f"{API}test_a_key_opens_no_page_of_stripes",),
    ),
    fault(
        "old-news-of-an-account",
        "An answer that was overtaken says a creator can be paid who cannot, or the other way round.",
        (
            "domain/store/payout_accounts.sql",
            "  AND (asked_at IS NULL OR asked_at < %(asked_at)s)\n",
            "  AND (asked_at IS NULL OR asked_at <> %(asked_at)s)\n",
        ),
        tests=(f"{ONBOARD}test_an_old_answer_changes_nothing",),
    ),
)
