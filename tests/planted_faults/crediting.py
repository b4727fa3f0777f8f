"""Mistakes with credits."""

from tests.planted_faults.fault import fault

ORDERS = "tests/domain/flow/test_credit_orders.py::"
CREDITS = "tests/domain/flow/test_credits.py::"
TOP_UP = "tests/domain/flow/test_top_up.py::"
HTTP = "tests/api/test_credits.py::"
PURCHASE = "tests/domain/model/test_stripe_purchase.py::"

_LOCK = "    await identity.account_lock(conn, account_id=account_id)\n"
_READ = (
    "    order = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)\n"
    '    assert order is not None, "its owner was just read"\n'
    "    return await apply_facts"
)
_WON = "        await credit_orders.takeback_insert(conn, won, account_id=order.account_id, now=now)\n"
_BACK = '    news_micros = refunded_micros - back_micros(known, "refund")\n'
_FREE = "balance_micros - held_micros >= %(micros)s\n\n-- name: "

FAULTS = (
    fault(
        "granted-before-paid",
        "Whoever opens the page to pay has the credits, and never pays.",
        (
            "domain/model/credit_orders.py",
            '    if order.granted_at is not None or facts.payment != "paid":',
            "    if order.granted_at is not None:",
        ),
        tests=(f"{ORDERS}test_nothing_is_given_before_it_is_paid",),
    ),
    fault(
        "granted-at-each-event",
        "Stripe tells of a payment twice, and the credits are given twice.",
        (
            "domain/model/credit_orders.py",
            '    if order.granted_at is not None or facts.payment != "paid":',
            '    if facts.payment != "paid":',
        ),
        ("domain/flow/apply_order.py", "from uuid import UUID, uuid5\n", "from uuid import UUID, uuid4, uuid5\n"),
        ("domain/flow/apply_order.py", '        id=uuid5(order.id, "grant"),\n', "        id=uuid4(),\n"),
        ("domain/flow/apply_order.py", "        cause=order.id,\n", "        cause=grant.id,\n"),
        (
            "migrations/0012_credits.sql",
            "order_id uuid UNIQUE REFERENCES credit_orders",
            "order_id uuid REFERENCES credit_orders",
        ),
        tests=(
            f"{ORDERS}test_an_order_ends_the_same_under_every_order_of_events_each_also_twice",
            f"{ORDERS}test_two_appliers_at_one_moment_do_it_once",
        ),
    ),
    fault(
        "order-read-before-its-lock",
        "Two who hear of one payment at one moment both find it not granted.",
        ("domain/flow/apply_order.py", _LOCK + _READ, _READ.replace("    return", _LOCK + "    return")),
        tests=(f"{ORDERS}test_two_appliers_at_one_moment_do_it_once",),
    ),
    fault(
        "paid-too-little-and-granted",
        "A payment of a cent buys a package.",
        (
            "domain/model/credit_orders.py",
            "    if facts.paid_micros < order.price_micros:",
            "    if facts.paid_micros < 0:",
        ),
        tests=(f"{ORDERS}test_an_order_that_was_paid_too_little_gives_nothing_and_says_so",),
    ),
    fault(
        "refund-takes-held-credits",
        "A cast that was accepted has no money any more when it ends.",
        ("domain/flow/take_back.py", "free_micros=grant.free_micros", "free_micros=grant.balance_micros"),
        (
            "domain/store/credit_grants.sql",
            f"{_FREE}grant_give_back",
            "balance_micros >= %(micros)s\n\n-- name: grant_give_back",
        ),
        ("migrations/0001_spine.sql", "CHECK (held_micros BETWEEN 0 AND balance_micros)", "CHECK (held_micros >= 0)"),
        tests=(f"{ORDERS}test_a_refund_leaves_what_open_casts_hold",),
    ),
    fault(
        "expiry-takes-held-credits",
        "A cast that was accepted before its credits expired has no money any more when it ends.",
        (
            "domain/flow/expire_credits.py",
            "        micros = grant.free_micros\n",
            "        micros = grant.balance_micros\n",
        ),
        (
            "domain/store/credit_grants.sql",
            "balance_micros - held_micros >= %(micros)s\nRETURNING",
            "balance_micros >= %(micros)s\nRETURNING",
        ),
        ("migrations/0001_spine.sql", "CHECK (held_micros BETWEEN 0 AND balance_micros)", "CHECK (held_micros >= 0)"),
        tests=(f"{CREDITS}test_expiry_leaves_what_open_casts_hold_and_comes_again_for_the_rest",),
    ),
    fault(
        "consume-takes-held-credits",
        "A service takes the money of casts that are running.",
        (
            "domain/store/credit_grants.py",
            "            held_micros=self.held_micros,\n",
            "            held_micros=0,\n",
        ),
        (
            "domain/store/credit_grants.sql",
            "g.balance_micros - g.held_micros >= r.micros",
            "g.balance_micros >= r.micros",
        ),
        ("migrations/0001_spine.sql", "CHECK (held_micros BETWEEN 0 AND balance_micros)", "CHECK (held_micros >= 0)"),
        tests=(f"{CREDITS}test_consuming_leaves_what_open_casts_hold",),
    ),
    fault(
        "consume-not-idempotent",
        "A service that repeats a call whose answer was lost takes the credits twice.",
        (
            "domain/flow/consume_credits.py",
            "        if before is not None:\n",
            "        if before is not None and before.account_id != wanted.account_id:\n",
        ),
        ("domain/flow/consume_credits.py", "    if not remembered:\n", "    if remembered is None:\n"),
        tests=(
            f"{CREDITS}test_the_same_call_consumes_once_and_another_under_its_key_is_refused",
            f"{CREDITS}test_twenty_equal_calls_at_one_moment_consume_once",
            f"{HTTP}test_a_consume_that_is_repeated_takes_once_however_many_at_a_time",
        ),
    ),
    fault(
        "top-up-paid-twice",
        "Each look at a low balance charges the card once more until the first payment has come.",
        ("domain/model/top_up.py", "        and need.open_orders == 0\n", ""),
        (
            "migrations/0012_credits.sql",
            "CREATE UNIQUE INDEX credit_orders_one_top_up",
            "CREATE INDEX credit_orders_one_top_up",
        ),
        tests=(
            f"{TOP_UP}test_a_top_up_is_begun_when_credits_run_low_and_paid_once",
            f"{TOP_UP}test_many_at_one_moment_begin_one_payment",
        ),
    ),
    fault(
        "top-up-over-the-cap",
        "A runaway program empties its owner's bank account.",
        (
            "domain/model/top_up.py",
            "        and need.spent_micros + package.price_cents * MICROS_PER_CENT <= wanted.monthly_cap_micros\n",
            "        and need.spent_micros <= wanted.monthly_cap_micros\n",
        ),
        tests=(f"{TOP_UP}test_top_ups_end_at_the_monthly_cap_and_go_on_next_month",),
    ),
    fault(
        "declined-card-tried-again",
        "A card that was declined is charged again every few seconds.",
        (
            "domain/flow/apply_order.py",
            '        if status != order.status and order.origin == "top_up":',
            '        if status == order.status and order.origin == "top_up":',
        ),
        tests=(f"{TOP_UP}test_a_declined_card_pauses_until_it_is_set_again",),
    ),
    fault(
        "won-dispute-forgotten",
        "News of a dispute that was over when it came takes the credits of a customer who is in the right.",
        (
            "domain/flow/apply_order.py",
            _WON + "        return [*known, won]\n",
            "        return [*known, won]\n",
        ),
        tests=(f"{ORDERS}test_facts_that_are_older_than_what_is_known_undo_nothing",),
    ),
    fault(
        "own-refund-taken-twice",
        "The operator refunds half, Stripe tells of it, and the other half of the credits goes too.",
        (
            "domain/flow/apply_order.py",
            _BACK,
            _BACK.replace("known", '[one for one in known if "stripe-" in one.reference]'),
        ),
        tests=(f"{TOP_UP}test_unused_credits_are_refunded_in_whole_cents_once",),
    ),
    fault(
        "refused-refund-keeps-the-credits",
        "Stripe refuses a refund, and the customer has neither money nor credits.",
        (
            "domain/flow/refund_order.py",
            "    await give_back(conn, order, refund, kind=Kind.REFUND_FAILED, now=now)\n",
            "    assert Kind.REFUND_FAILED, give_back\n",
        ),
        tests=(f"{TOP_UP}test_a_refund_that_stripe_refuses_gives_the_credits_back",),
    ),
    fault(
        "debt-forgotten",
        "Credits that were used before their money went back are nobody's debt, and the ledger has money that is gone.",
        ("domain/model/credits.py", "        Move(receivable_of(account_id), CASH, takeback.owed_micros),\n", ""),
        tests=(f"{ORDERS}test_a_refund_takes_what_is_left_and_books_the_rest_as_owed",),
    ),
    fault(
        "casts-missing-in-the-history",
        "A balance falls and its history does not say why.",
        (
            "domain/store/settlement.py",
            "    if bookings.credits:\n",
            "    if len(bookings.credits) > len(bookings.grants):\n",
        ),
        tests=(f"{ORDERS}test_casts_in_one_batch_are_one_line_of_each_history",),
    ),
    fault(
        "inquiry-taken-for-a-dispute",
        "A bank's question costs a customer his credits.",
        (
            "domain/model/stripe_purchase.py",
            "            if dispute.status in _MONEY_TAKEN\n",
            '            if dispute.status in _MONEY_TAKEN or dispute.status.startswith("warning")\n',
        ),
        tests=(f"{PURCHASE}test_an_inquiry_is_no_dispute_yet",),
    ),
    fault(
        "anybody-asks-about-others",
        "Whoever knows an id sees what somebody else can spend.",
        (
            "api/credits/consuming.py",
            "    if principal.key_id is None or KeyScope.SERVICE not in principal.scopes:\n",
            "    if account_id is None and KeyScope.SERVICE not in principal.scopes:\n",
        ),
        tests=(f"{HTTP}test_only_services_ask_about_others",),
    ),
    fault(
        "payer-led-to-a-stranger",
        "A link of ours ends on a page that asks for the card once more.",
        (
            "api/credits/checkout.py",
            "        if url is not None and _origin(url) not in known\n",
            "        if url == known\n",
        ),
        tests=("tests/api/test_credit_checkout.py::test_what_cannot_be_bought_is_said_with_its_place",),
    ),
)
