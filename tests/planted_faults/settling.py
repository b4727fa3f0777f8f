"""Mistakes in ending casts and in the books."""

from tests.planted_faults.fault import fault

SETTLE = "tests/domain/flow/test_settle.py::"
CLOSE = "tests/domain/flow/test_close.py::"
BRIEF = "tests/domain/flow/test_brief.py::"
GUARDS = "tests/domain/store/test_guards.py::"
USAGE = "tests/domain/store/test_usage.py::"
BOOK = "tests/domain/model/test_booking.py::"
CLAIMS = "tests/domain/model/test_settlement.py::"

_STATUS_FILTER = "\n  AND c.status NOT IN ('succeeded', 'failed', 'canceled', 'expired') AND"
_ANY_STATUS = "\n  AND"
_ONE_USAGE_EVENT = "%(batch_id)s, clock_timestamp()\nFROM ended\n"
_ANY_USAGE_EVENT = _ONE_USAGE_EVENT + "ON CONFLICT (id) DO NOTHING\n"
_COUNTED = "FROM ended HAVING count(*) > 0"
_OFFERED = (
    "FROM casts JOIN unnest(%(rows.id)b::uuid[]) AS offered(id) USING (id)\n"
    "WHERE id BETWEEN %(first_id)s AND %(last_id)s"
)

FAULTS = (
    fault(
        "second-settle-charged",
        "A usage event that comes twice is paid twice.",
        (
            "domain/flow/settle.py",
            "            elif cast.status not in OPEN or cast.id.int in ending_by_cast:",
            "            elif cast.id.int in ending_by_cast:",
        ),
        ("domain/store/settlement.sql", _STATUS_FILTER, _ANY_STATUS),
        ("domain/store/settlement.sql", _ONE_USAGE_EVENT, _ANY_USAGE_EVENT),
        tests=(f"{SETTLE}test_a_cast_ends_once_and_costs_what_it_used",),
    ),
    fault(
        "gate-open-for-the-final",
        "A cast that has ended ends again, and is booked again.",
        ("domain/store/settlement.sql", _STATUS_FILTER, _ANY_STATUS),
        tests=(f"{CLOSE}test_an_ending_the_gate_does_not_return_moves_nothing",),
    ),
    fault(
        "gate-not-counted",
        "What leaves with its COMMIT is booked although the gate did not return it.",
        ("domain/store/queries.py", "<> %%(%s_rows)s::bigint THEN", "> %%(%s_rows)s::bigint THEN"),
        tests=(
            f"{BRIEF}test_what_the_gate_does_not_return_rolls_everything_back",
            f"{GUARDS}test_a_window_without_room_is_not_raised_and_the_batch_rolls_back",
        ),
    ),
    fault(
        "consequences-of-an-end-forgotten",
        "Casts that wait for the wire wait for the resend, and soft limits are told of to nobody.",
        ("domain/store/queries.py", "for name, so in unlike if name in exact]", "for name, so in unlike if not name]"),
        tests=(
            f"{BRIEF}test_a_cast_that_begins_to_wait_meanwhile_is_given_the_place",
            f"{BRIEF}test_a_soft_limit_is_told_of_by_who_looks_again",
            f"{BRIEF}test_who_begins_to_listen_meanwhile_hears_of_the_cast",
            f"{BRIEF}test_data_is_kept_as_the_account_says_when_the_cast_ends",
        ),
    ),
    fault(
        "waiting-casts-forgotten",
        "Casts that wait for the wire make every settlement fail once before it is done.",
        (
            "domain/store/settlement.sql",
            "  a.open_casts > a.on_wire_default + a.on_wire_large)), '[]')::text",
            "  false)), '[]')::text",
        ),
        tests=(f"{BRIEF}test_a_place_that_comes_free_is_given_to_who_waits",),
    ),
    fault(
        "budget-that-began-meanwhile-overlooked",
        "A new budget holds for ever what a cast held that ended at its beginning.",
        ("domain/store/settlement.sql", " AND cardinality(c.window_ids) = r.windows", ""),
        tests=(f"{BRIEF}test_a_budget_that_begins_meanwhile_counts_the_cast",),
    ),
    fault(
        "locks-forgotten-before-the-gate",
        "What is judged beforehand is booked without the mutex of its account.",
        ("domain/flow/settle.py", "        await store.lock_read(connection, touched)\n", "        pass\n"),
        tests=(
            "tests/domain/store/test_locks.py::test_who_settles_waits_for_an_account_before_anything_of_it_is_locked",
        ),
    ),
    fault(
        "totals-from-input",
        "What the gate did not return is booked all the same.",
        (
            "domain/flow/close.py",
            "    passed = tuple(ending for ending in endings if ending.cast.id.int in final)\n",
            "    passed = tuple(endings)\n",
        ),
        tests=(
            f"{CLOSE}test_an_ending_the_gate_does_not_return_moves_nothing",
            f"{CLOSE}test_of_two_endings_only_the_one_the_gate_returns_is_booked",
        ),
    ),
    fault(
        "counters-from-what-was-offered",
        "Counters follow what was offered to the gate, not what it returned.",
        ("domain/store/settlement.sql", _COUNTED, _OFFERED),
        tests=(f"{CLOSE}test_of_two_endings_only_the_one_the_gate_returns_is_booked",),
    ),
    fault(
        "usage-counted-again-and-again",
        "What a batch used is counted whenever somebody counts.",
        (
            "domain/store/usage.sql",
            "DELETE FROM usage_uncounted WHERE ctid = ANY(",
            "UPDATE usage_uncounted SET cast_ids = cast_ids WHERE ctid = ANY(",
        ),
        tests=(f"{USAGE}test_what_is_not_counted_yet_is_in_every_sum_and_counted_once",),
    ),
    fault(
        "last-of-two-events-wins",
        "Who sends a second event in the same batch chooses what the first one said.",
        (
            "domain/flow/settle.py",
            "            elif cast.status not in OPEN or cast.id.int in ending_by_cast:",
            "            elif cast.status not in OPEN:",
        ),
        tests=(f"{SETTLE}test_two_events_for_one_cast_in_one_batch_settle_the_first",),
    ),
    fault(
        "wrong-token-accepted",
        "Whoever reaches Redis ends any cast.",
        (
            "domain/model/settlement.py",
            "    if not hmac.compare_digest(event.token, expected):",
            "    if len(event.token) != len(expected):",
        ),
        tests=(
            f"{SETTLE}test_a_forged_event_is_parked_and_moves_no_money",
            f"{CLAIMS}test_a_token_of_another_key_is_not_believed",
        ),
    ),
    fault(
        "fuel-believed",
        "A worker that lies about fuel charges more than was held.",
        (
            "domain/model/settlement.py",
            "event.fuel is not None and not 0 <= event.fuel <= cast.fuel_limit:",
            "event.fuel is not None and event.fuel < 0:",
        ),
        tests=(f"{SETTLE}test_a_forged_event_is_parked_and_moves_no_money",),
    ),
    fault(
        "output-believed",
        "A worker that lies fills the database.",
        (
            "domain/model/settlement.py",
            'len(event.output or b"") > cast.output_bytes_limit:',
            'len(event.output or b"") < 0:',
        ),
        tests=(f"{SETTLE}test_a_forged_event_is_parked_and_moves_no_money",),
    ),
    fault(
        "priced-by-todays-book",
        "A cast costs more than was agreed when it was accepted.",
        ("domain/model/settlement.py", "        prices[cast.price_version],", "        prices[max(prices)],"),
        tests=(f"{CLOSE}test_a_cast_is_settled_by_the_price_it_was_accepted_under",),
    ),
    fault(
        "parked-event-moves-money",
        "An event that is not believed is charged all the same.",
        (
            "domain/flow/settle.py",
            "            result.parked.append((event, str(fault)))\n",
            (
                "            result.parked.append((event, str(fault)))\n"
                "            if event.outcome is not None:\n"
                "                ending_by_cast[cast.id.int] = ending_of(event, cast, prices)\n"
            ),
        ),
        tests=(f"{SETTLE}test_a_forged_event_is_parked_and_moves_no_money",),
    ),
    fault(
        "period-of-the-settling-clock",
        "Casts accepted in March are billed in April, in a window that never held them.",
        (
            "domain/model/booking.py",
            "        month = month_of_ms(cast.accepted_ms)\n",
            "        month = month_of_ms(ending.finished_ms or cast.accepted_ms)\n",
        ),
        (
            "domain/model/booking.py",
            "            group = groups[key] = _Group(cast=cast)\n",
            (
                "            at_ms = ending.finished_ms or cast.accepted_ms\n"
                "            group = groups[key] = _Group(cast=msgspec.structs.replace(cast, accepted_ms=at_ms))\n"
            ),
        ),
        tests=(f"{BOOK}test_a_cast_belongs_to_the_day_and_month_of_its_acceptance_whenever_it_ends",),
    ),
    fault(
        "hold-kept-after-cancel",
        "Each canceled cast leaves its hold behind, until nothing fits the budget any more.",
        (
            "domain/model/booking.py",
            "            row.held += group.held\n            row.spent += group.cost\n",
            "            row.held += group.held if group.cost else 0\n            row.spent += group.cost\n",
        ),
        (
            "domain/model/booking.py",
            "        row.held += group.held\n        row.spent += group.cost\n        if group.cast.funding",
            (
                "        row.held += group.held if group.cost else 0\n"
                "        row.spent += group.cost\n        if group.cast.funding"
            ),
        ),
        tests=(
            f"{SETTLE}test_cancel_is_free_before_the_start_and_asks_the_worker_after",
            f"{BOOK}test_what_costs_nothing_gives_back_its_hold_and_books_no_transfer",
        ),
    ),
    fault(
        "failed-cast-uses-free-allowance",
        "A cast that failed by our fault takes one of the free ones.",
        (
            "domain/model/booking.py",
            "            row.free_used += group.charged  #",
            "            row.free_used += group.casts  #",
        ),
        tests=(f"{BOOK}test_free_casts_are_paid_by_the_allowance_and_used_up_only_by_what_costs",),
    ),
    fault(
        "transfer-ids-from-the-cause",
        "The second batch of a day books nothing: its transfers look like those of the first.",
        (
            "domain/model/booking.py",
            "id=_uuid5(batch_id, share)",
            "id=_uuid5(UUID(int=0), share)",
        ),
        (
            "domain/store/settlement.sql",
            "account_id, spell_id, month, casts, source_id)\n",
            "account_id, spell_id, month, casts, source_id)\nON CONFLICT DO NOTHING\n",
        ),
        tests=(f"{CLOSE}test_each_batch_books_its_own_transfers",),
    ),
    fault(
        "ledger-rows-may-be-changed",
        "Whoever gets into a process rewrites the books.",
        (
            "migrations/0001_spine.sql",
            "GRANT SELECT, INSERT ON blobs, blob_pieces, artifacts, price_book,",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON blobs, blob_pieces, artifacts, price_book,",
        ),
        tests=(f"{GUARDS}test_no_process_changes_what_was_booked",),
    ),
    fault(
        "reconciliation-all-instead-of-any",
        "The comparison of the books only speaks when every book differs.",
        ("domain/store/schedule.sql", "coalesce(c.micros, 0) <> ANY (ARRAY[", "coalesce(c.micros, 0) <> ALL (ARRAY["),
        tests=("tests/scheduler/test_jobs.py::test_reconcile_reports_a_difference_and_mends_nothing",),
    ),
    fault(
        "foreign-cast-canceled",
        "Who knows an id cancels a stranger's cast.",
        (
            "domain/store/settlement.sql",
            "ANY(%(cast_ids)b::uuid[]) AND account_id = %(account_id)s",
            "ANY(%(cast_ids)b::uuid[]) AND %(account_id)s IS NOT NULL",
        ),
        tests=(f"{SETTLE}test_cancel_is_free_before_the_start_and_asks_the_worker_after",),
    ),
)
