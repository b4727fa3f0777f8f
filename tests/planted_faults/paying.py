"""Mistakes in what Stripe tells, and in what follows from it for an account's casts."""

from tests.planted_faults.fault import fault

SIGNATURE = "tests/gateways/test_stripe_signature.py::"
WEBHOOK = "tests/api/test_stripe_webhook.py::"
KEPT = "tests/domain/flow/test_stripe_inbox.py::"
WORKED_ON = "tests/scheduler/test_inbox.py::"
PLANS = "tests/domain/model/test_plans.py::"
FOLLOWED = "tests/domain/flow/test_follow_stripe.py::"
BILLING = "tests/api/test_billing.py::"
FAILURES = "tests/gateways/test_stripe_failures.py::"

FAULTS = (
    # What is taken for Stripe's
    fault(
        "stripe-signature-not-checked",
        "Anybody on the internet tells the platform that an order is paid.",
        (
            "gateways/stripe/signature.py",
            "if not any(hmac.compare_digest(one, each.encode()) for one in expected for each in signatures):",
            "if not expected:",
        ),
        tests=(
            f"{SIGNATURE}test_every_byte_counts",
            f"{WEBHOOK}test_what_is_not_signed_by_stripe_now_is_not_kept",
        ),
    ),
    fault(
        "stripe-webhook-of-any-age",
        "Who recorded a webhook once can send it again for ever.",
        (
            "gateways/stripe/signature.py",
            "if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():",
            "if int(seconds) - now.timestamp() > TOLERANCE.total_seconds():",
        ),
        tests=(
            f"{SIGNATURE}test_old_or_of_the_future",
            f"{WEBHOOK}test_what_is_not_signed_by_stripe_now_is_not_kept",
        ),
    ),
    fault(
        "stripe-signature-of-the-first-alone",
        "While the webhook's secret is rolled at Stripe, every event is refused.",
        ("gateways/stripe/signature.py", "SIGNATURES_MAX: Final = 8", "SIGNATURES_MAX: Final = 1"),
        tests=(f"{SIGNATURE}test_one_of_several_signatures_suffices",),
    ),
    fault(
        "stripe-event-twice",
        "An event that comes again is applied again, weeks later.",
        (
            "domain/store/stripe_events.sql",
            "ON CONFLICT (id) DO NOTHING",
            "ON CONFLICT (id) DO UPDATE SET status = 'pending', finished_at = NULL",
        ),
        tests=(
            f"{KEPT}test_an_event_is_kept_once",
            f"{KEPT}test_what_is_done_stays_done",
            f"{WEBHOOK}test_a_duplicate_is_answered_alike_and_kept_once",
        ),
    ),
    # What is done with it
    fault(
        "stripe-event-believed",
        "An event that came late ends a subscription that somebody pays for.",
        (
            "scheduler/inbox/subscriptions.py",
            "    return await look_at(shop, asked.subject_id, asked.asked_at)\n",
            (
                "    write = await look_at(shop, asked.subject_id, asked.asked_at)\n"
                '    if "customer.subscription.deleted" in asked.types:\n'
                "        write.keywords.update(found=())\n"
                "    return write\n"
            ),
        ),
        tests=(f"{WORKED_ON}test_the_object_is_fetched_as_it_is_now",),
    ),
    fault(
        "stripe-failure-believed",
        "A failed payment that is told once more after it came begins a grace for nothing.",
        (
            "scheduler/inbox/invoices.py",
            '    if invoice.status in {"paid", "void"}:\n',
            '    if invoice.status in {"paid", "void"} and not failed:\n',
        ),
        tests=(
            f"{WORKED_ON}test_what_an_invoice_says",
            f"{WORKED_ON}test_a_failed_invoice_begins_the_grace_and_a_paid_one_ends_it",
        ),
    ),
    fault(
        "stripe-older-answer-wins",
        "Of two who ask Stripe at once the slower writes what is no longer true, and it stays.",
        (
            "domain/model/plans.py",
            "if before.asked_at is not None and asked_at <= before.asked_at:",
            "if before.asked_at is not None and asked_at == before.asked_at:",
        ),
        tests=(
            f"{PLANS}test_an_older_answer_changes_nothing",
            f"{WORKED_ON}test_two_at_once_end_in_the_state_asked_for_last",
        ),
    ),
    fault(
        "stripe-lease-ignored",
        "Everybody works on every event, and Stripe answers 429.",
        (
            "domain/store/stripe_events.sql",
            "next_attempt_at = instant.now + %(lease)s",
            "next_attempt_at = instant.now + 0 * %(lease)s",
        ),
        tests=(f"{KEPT}test_what_is_taken_is_nobody_elses_until_its_lease_ends",),
    ),
    fault(
        "stripe-outage-parks",
        "Stripe is away for an hour, and every event of it waits for a person.",
        (
            "scheduler/inbox/loop.py",
            'await self._fail(kind, events, f"Stripe is {trouble}: {failure}", counted=False)',
            'await self._fail(kind, events, f"Stripe is {trouble}: {failure}", counted=True)',
        ),
        tests=(f"{WORKED_ON}test_an_outage_is_nobodys_fault",),
    ),
    fault(
        "stripe-bad-event-stops-all",
        "One event that a flow cannot stand ends the process, and the next, for ever.",
        (
            "scheduler/inbox/loop.py",
            "except Exception as error:",
            "except ZeroDivisionError as error:",
        ),
        tests=(f"{WORKED_ON}test_a_fault_of_ours_in_one_flow_stops_no_other",),
    ),
    fault(
        "stripe-5xx-is-a-no",
        "Money that was moved although the answer was lost is moved once more under another key.",
        (
            "gateways/stripe/errors.py",
            "status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:",
            "status is None:",
        ),
        tests=(f"{FAILURES}test_whatever_else_it_answers_leaves_it_in_doubt",),
    ),
    fault(
        "stripe-key-in-errors",
        "The secret key stands in a log.",
        (
            "gateways/stripe/errors.py",
            'return _SECRET.sub(r"\\1_...", text)[:MESSAGE_CHARACTERS_MAX]',
            "return text[:MESSAGE_CHARACTERS_MAX]",
        ),
        tests=(f"{FAILURES}test_a_4xx_is_a_definite_no",),
    ),
    # What it means for casts
    fault(
        "grace-ignored",
        "A card that expired yesterday stops somebody's product at once.",
        (
            "domain/model/plans.py",
            "grace_until=billing.grace_until or now + grace)",
            "grace_until=billing.grace_until or now)",
        ),
        tests=(
            f"{PLANS}test_grace_begins_once_and_is_not_prolonged_by_further_failures",
            f"{FOLLOWED}test_the_way_from_a_failed_payment_to_a_paid_one",
        ),
    ),
    fault(
        "grace-without-end",
        "Who never pays casts for ever.",
        (
            "domain/model/plans.py",
            "self.status in IN_FORCE and (self.grace_until is None or now < self.grace_until)",
            "self.status in IN_FORCE and now is not None",
        ),
        tests=(
            f"{PLANS}test_grace_begins_once_and_is_not_prolonged_by_further_failures",
            f"{FOLLOWED}test_the_way_from_a_failed_payment_to_a_paid_one",
            f"{BILLING}test_a_payment_fails_and_comes_after_all",
        ),
    ),
    fault(
        "grace-prolonged",
        "Each try of Stripe's to collect gives another week.",
        (
            "domain/model/plans.py",
            "grace_until=billing.grace_until or now + grace)",
            "grace_until=now + grace)",
        ),
        tests=(f"{PLANS}test_grace_begins_once_and_is_not_prolonged_by_further_failures",),
    ),
    fault(
        "pause-ignored",
        "Spending that was paused goes on.",
        ("domain/model/admission.py", "if account.spend_paused:", "if account.spend_paused and not account.metered:"),
        tests=(f"{BILLING}test_pausing",),
    ),
    fault(
        "agreed-price-for-everybody",
        "What was agreed on with one customer is what all pay from the next second on.",
        ("domain/store/prices.sql", "FROM price_book WHERE for_everybody ORDER BY", "FROM price_book ORDER BY"),
        tests=("tests/domain/flow/test_account_price.py::test_the_account_alone_pays_it",),
    ),
    fault(
        "agreed-price-without-end",
        "Who went back to the free plan pays the prices of an enterprise.",
        (
            "domain/store/admission.sql",
            "CASE WHEN price_version IS NOT NULL AND plan = 'enterprise' THEN",
            "CASE WHEN price_version IS NOT NULL THEN",
        ),
        tests=("tests/domain/flow/test_account_price.py::test_it_counts_on_plan_enterprise_alone",),
    ),
    fault(
        "two-pages-to-subscribe",
        "Who has two tabs open pays twice a month.",
        (
            "api/billing/routes.py",
            "    if before is None:\n        return\n",
            "    if before != session_id:\n        return\n",
        ),
        tests=(f"{BILLING}test_one_page_is_open_at_a_time",),
    ),
    fault(
        "customers-of-one-account",
        "Each visit makes another customer at Stripe, and the portal shows an empty one.",
        (
            "domain/flow/bill_account.py",
            "    if billing.stripe_customer_id is not None and billing.stripe_customer_id != instead_of:\n",
            "    if billing.stripe_customer_id == customer_id:\n",
        ),
        tests=("tests/domain/flow/test_bill_account.py::test_an_account_has_one_customer",),
    ),
)
