"""Mistakes inside the SQL of holding and of the gate, a clause at a time."""

from tests.planted_faults.fault import fault

SETTLE = "tests/domain/flow/test_settle.py::"
BRIEF = "tests/domain/flow/test_brief.py::"
RESERVE = "tests/domain/flow/test_reserve.py::"
GATE = "domain/store/settlement.sql"
HOLD = "domain/store/admission.sql"
ENDS_ONCE = f"{SETTLE}test_a_cast_ends_once_and_costs_what_it_used"
CREDITS = f"{SETTLE}test_credits_pay_in_the_order_they_were_held"
PLACES = f"{SETTLE}test_the_places_that_come_free_go_to_the_oldest_waiting"
PLANS = "tests/domain/store/test_plans.py::"
CANCEL = f"{SETTLE}test_cancel_is_free_before_the_start_and_asks_the_worker_after"
KEYS = "tests/domain/flow/test_key_rotation.py::"

FAULTS = (
    fault(
        "window-keeps-its-hold",
        "What a cast did not use stays held for ever.",
        (GATE, "UPDATE budget_windows w SET held_micros = w.held_micros - r.held,", "UPDATE budget_windows w SET"),
        tests=(ENDS_ONCE,),
    ),
    fault(
        "window-keeps-its-hold-where-nobody-is-told",
        "What a cast did not use stays held for ever.",
        (
            GATE,
            "SET held_micros = w.held_micros - r.held, spent_micros = w.spent_micros + r.spent\nFROM",
            "SET id = w.id\nFROM",
        ),
        tests=(f"{BRIEF}test_a_cast_is_held_and_settled_in_two_exchanges_each",),
    ),
    fault(
        "window-forgets-what-was-spent",
        "A budget is full again after each settlement.",
        (GATE, " spent_micros = w.spent_micros + r.spent,\n", "\n"),
        tests=(ENDS_ONCE,),
    ),
    fault(
        "month-keeps-its-hold",
        "The default limit is used up by casts that ended.",
        (GATE, "SET held_micros = m.held_micros - r.held, spent", "SET spent"),
        tests=(ENDS_ONCE,),
    ),
    fault(
        "month-of-every-account",
        "One account's settlement moves everybody's month.",
        (GATE, "WHERE m.account_id = r.account_id AND m.month = r.month", "WHERE m.month = r.month"),
        tests=("tests/workers/test_ledger.py::test_an_account_somebody_holds_is_settled_later_and_stops_no_other",),
    ),
    fault(
        "grant-keeps-its-hold",
        "Credits that were held and not used cannot be spent.",
        (GATE, "SET held_micros = g.held_micros - r.held, balance_micros", "SET balance_micros"),
        tests=(CREDITS,),
    ),
    fault(
        "grant-keeps-its-balance",
        "Credits are spent again and again.",
        (GATE, ", balance_micros = g.balance_micros - r.spent\n", "\n"),
        tests=(CREDITS,),
    ),
    fault(
        "key-counts-up-only",
        "A key runs out of open casts for good.",
        (GATE, "SET open_casts = k.open_casts - r.casts", "SET open_casts = k.open_casts"),
        tests=(ENDS_ONCE,),
    ),
    fault(
        "account-counts-up-only",
        "An account runs out of open casts for good.",
        (GATE, "SET open_casts = a.open_casts - r.casts,", "SET open_casts = a.open_casts,"),
        tests=(ENDS_ONCE,),
    ),
    fault(
        "bound-of-a-key-counts-from-nothing",
        "A key that gets a bound on its open casts may have as many again as it has.",
        ("domain/store/identity.sql", "IS NULL THEN 0 ELSE (", "IS NOT NULL THEN 0 ELSE ("),
        tests=(f"{KEYS}test_a_bound_on_open_casts_counts_those_that_are_open_when_it_is_set",),
    ),
    fault(
        "place-on-the-wire-not-given-back",
        "After 256 casts an account's next one waits for ever.",
        (
            GATE,
            "on_wire_default = a.on_wire_default - r.on_wire_default,",
            "on_wire_default = a.on_wire_default,",
        ),
        tests=(ENDS_ONCE, PLACES),
    ),
    fault(
        "counters-overwritten",
        "A day's usage shows the last batch alone.",
        (
            "domain/store/usage.sql",
            "cost_micros = u.cost_micros + excluded.cost_micros",
            "cost_micros = excluded.cost_micros",
        ),
        tests=("tests/domain/store/test_statements.py::test_counters_add_up_batch_by_batch",),
    ),
    fault(
        "newest-waits-least",
        "A full account's oldest cast is the last to run.",
        (GATE, "ORDER BY c.id LIMIT place.free) AS n", "ORDER BY c.id DESC LIMIT place.free) AS n"),
        tests=(PLACES,),
    ),
    fault(
        "final-cast-put-on-the-wire",
        "Casts that ended run once more.",
        (GATE, "AND NOT c.on_wire AND c.status = 'queued'\n", "AND c.status = 'queued'\n"),
        tests=(PLACES,),
    ),
    fault(
        "running-cast-canceled-for-nothing",
        "A running cast is never asked to stop, and runs to its end at the caller's cost.",
        (GATE, "UPDATE casts SET cancel_requested = true WHERE", "UPDATE casts SET cancel_requested = false WHERE"),
        tests=(CANCEL,),
    ),
    fault(
        "plans-by-the-statistics",
        "A plan made while a table was empty reads all of it for hours.",
        ("domain/store/connection.py", '" -c enable_seqscan=off -c', '" -c'),
        tests=(f"{PLANS}test_every_statement_finds_its_rows_by_key",),
    ),
    fault(
        "plans-made-anew",
        "Each batch of one is planned for longer than it runs.",
        ("domain/store/connection.py", " -c plan_cache_mode=force_generic_plan", ""),
        tests=(f"{PLANS}test_sessions_keep_their_plans",),
    ),
    fault(
        "statements-compiled",
        "Where the server compiles what looks dear, a look at a creator's shares takes a quarter of a second.",
        ("domain/store/connection.py", ' -c jit=off"', '"'),
        tests=(f"{PLANS}test_no_statement_is_compiled",),
    ),
    fault(
        "every-month-looked-into",
        "What a cast costs grows with the months that are kept.",
        (
            GATE,
            "WHERE c.id = r.id AND c.id BETWEEN %(first_id)s AND %(last_id)s AND c.status = 'queued'",
            "WHERE c.id = r.id AND %(first_id)s < %(last_id)s AND c.status = 'queued'",
        ),
        tests=(f"{PLANS}test_a_kept_plan_looks_into_the_months_of_the_ids_alone",),
    ),
    fault(
        "gate-compares-all-with-all",
        "Settling a batch looks at every open cast for each of its events.",
        (
            GATE,
            "c.id >= %(first_id)s AND c.id <= ANY(ARRAY[%(last_id)s]::uuid[])",
            "c.id BETWEEN %(first_id)s AND %(last_id)s",
        ),
        tests=(f"{PLANS}test_the_gate_looks_each_cast_up_by_its_key",),
    ),
    fault(
        "start-not-written",
        "A running cast looks queued, and its cancellation is free.",
        (GATE, "UPDATE casts c SET status = 'running', started_at", "UPDATE casts c SET started_at"),
        tests=(CANCEL,),
    ),
    fault(
        "month-overwritten-by-a-hold",
        "The default limit sees the last batch alone.",
        (HOLD, "held_micros = m.held_micros + r.micros", "held_micros = r.micros"),
        tests=("tests/domain/flow/test_budgets.py::test_a_new_budget_starts_at_what_is_spent_and_open",),
    ),
    fault(
        "held-without-a-trace-on-the-account",
        "Open casts are not bounded.",
        (HOLD, "SET open_casts = a.open_casts + r.casts,", "SET open_casts = a.open_casts,"),
        tests=(f"{RESERVE}test_a_cast_holds_its_maximum_price_in_every_window_that_applies",),
    ),
)
