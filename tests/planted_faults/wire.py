"""Mistakes on the wire, in the ledger and in the clock."""

from tests.planted_faults.fault import fault

WIRE = "tests/workers/broker/test_wire.py::"
ACKNOWLEDGE = "tests/workers/broker/test_acknowledgement.py::"
DELIVERY = "tests/workers/broker/test_delivery.py::"
LEDGER = "tests/workers/test_ledger.py::"
CLOCK = "tests/scheduler/test_jobs.py::"
PUT = "workers/broker/scripts/put.lua"

_PUT_ONCE = "  if known[i - 1] == 0 and not new[ARGV[i]] then\n"
_PUT_ALWAYS = "  if true then\n"

FAULTS = (
    fault(
        "put-without-the-open-set",
        "A late api and an early resend both add a cast, and it runs twice.",
        (PUT, _PUT_ONCE, _PUT_ALWAYS),
        tests=(f"{WIRE}test_put_twice_adds_once", f"{WIRE}test_racing_puts_add_once"),
    ),
    fault(
        "resend-without-the-open-set",
        "Every resend adds all that waits, until Redis is full.",
        (PUT, _PUT_ONCE, _PUT_ALWAYS),
        (
            "workers/broker/wire.py",
            "zip(cast_ids, members, strict=True) if not member]",
            "zip(cast_ids, members, strict=True) if member in {0, 1}]",
        ),
        tests=(f"{CLOCK}test_resend_puts_back_what_a_flushed_redis_lost_and_adds_nothing_twice",),
    ),
    fault(
        "acknowledged-without-usage-event",
        "A cast that was skipped or failed stays open, and its money held, until its deadline.",
        (
            "workers/broker/ending.py",
            "        _add_lost_event(completion, message, _reason(entry, failed=failed))\n",
            "        pass\n",
        ),
        tests=(f"{ACKNOWLEDGE}test_each_end_without_a_report_has_its_event",),
    ),
    fault(
        "report-not-in-the-transaction",
        "A worker acknowledges casts whose results nobody hears of.",
        (
            "workers/broker/flusher.py",
            "        if completion.usage is not None:\n",
            "        if completion.usage is not None and completion.dead_reason:\n",
        ),
        tests=(
            f"{ACKNOWLEDGE}test_event_output_and_acknowledgement_are_one_transaction",
            f"{ACKNOWLEDGE}test_unacknowledged_survive_a_consumer_restart",
        ),
    ),
    fault(
        "failed-flush-forgotten",
        "A hiccup of Redis loses results that were computed.",
        ("workers/broker/flusher.py", "        self._waiting.extendleft(reversed(batch))\n", ""),
        tests=(f"{ACKNOWLEDGE}test_failed_flush_is_kept_repeated_and_surfaces",),
    ),
    fault(
        "acknowledged-but-not-deleted",
        "The stream of jobs grows until Redis is full.",
        ("workers/broker/flusher.py", '*ids), ("XDEL", names.jobs, *ids)]\n', "*ids)]\n"),
        tests=(f"{ACKNOWLEDGE}test_event_output_and_acknowledgement_are_one_transaction",),
    ),
    fault(
        "paused-worker-steals-back",
        "A worker that was asleep takes back what another is running.",
        ("workers/broker/scripts/renew.lua", " or pending[1][2] ~= ARGV[2] then", " then"),
        tests=(f"{DELIVERY}test_paused_worker_neither_steals_back_nor_starts",),
    ),
    fault(
        "nothing-is-a-suspect",
        "A module that kills workers kills them for ever.",
        ("workers/broker/consumer.py", "if row.deliveries + 1 < SUSPECT_DELIVERIES)", "if row.deliveries > 0)"),
        ("workers/broker/consumer.py", "if row.deliveries + 1 >= SUSPECT_DELIVERIES)", "if row.deliveries < 0)"),
        tests=("tests/workers/broker/test_suspects.py::test_what_kills_every_worker_is_poison_after_four_attempts",),
    ),
    fault(
        "every-delivery-is-an-attempt",
        "What a dying worker had prefetched is called poison with it.",
        (
            "workers/broker/streams.py",
            '        return replies.integer(self.link.call("HGET", entry.queue.keys.starts,',
            '        return entry.suspect or replies.integer(self.link.call("HGET", entry.queue.keys.starts,',
        ),
        tests=(
            "tests/workers/broker/test_suspects.py::test_prefetched_entries_of_a_worker_killed_thrice_are_not_poison",
        ),
    ),
    fault(
        "canceled-cast-runs",
        "A cast that was canceled in line runs and is paid for.",
        ("workers/broker/hooks.py", "        if entry.lost or entry.canceled:\n", "        if entry.lost:\n"),
        tests=("tests/workers/broker/test_cancel.py::test_queued_cast_that_is_canceled_is_skipped_with_its_event",),
    ),
    fault(
        "reading-goes-on-under-pressure",
        "Workers fill Redis with results until nothing can finish.",
        ("workers/broker/consumer.py", "        return self._pressed\n", "        return False\n"),
        tests=(f"{DELIVERY}test_reading_stops_while_the_ledger_is_behind",),
    ),
    fault(
        "finished-before-settled",
        "A ledger that dies in between has lost its events for good.",
        (
            "workers/ledger.py",
            "        events = [_event(entry) for entry in entries]\n",
            "        events = [_event(entry) for entry in entries]\n        await self._reader.finish(entries)\n",
        ),
        tests=(f"{LEDGER}test_a_ledger_that_died_after_commit_leaves_strays_and_no_second_charge",),
    ),
    fault(
        "one-bad-row-fails-its-neighbours",
        "One worker's nonsense ends five hundred casts as our own error.",
        ("workers/ledger.py", "            if len(entries) == 1:\n", "            if entries:\n"),
        tests=(f"{LEDGER}test_one_event_postgres_refuses_ends_as_platform_error_and_its_neighbours_settle",),
    ),
    fault(
        "held-account-stops-the-ledger",
        "One account somebody has locked stops every other's results.",
        ("workers/ledger.py", "                skip_locked = True\n", "                skip_locked = False\n"),
        tests=(f"{LEDGER}test_an_account_somebody_holds_is_settled_later_and_stops_no_other",),
    ),
    fault(
        "settled-cast-stays-on-the-wire",
        "The wire looks full although it is empty, and nothing more is accepted.",
        ("workers/broker/usage.py", '            ("SREM", keys.open_set(self._pool, self._shard), *ids),\n', ""),
        tests=(
            f"{WIRE}test_finish_takes_the_cast_off_the_wire_and_wakes",
            f"{LEDGER}test_a_batch_is_settled_acknowledged_and_its_waiters_are_woken",
        ),
    ),
    fault(
        "entry-leaves-with-its-first-event",
        "Events that shared an entry with one that was settled, and were not settled with it, are lost.",
        ("workers/broker/usage.py", " if self._left.get(entry_id, done) <= done]\n", "]\n"),
        tests=(f"{WIRE}test_an_entry_stays_until_each_of_its_events_is_finished_or_parked",),
    ),
    fault(
        "nobody-is-woken",
        "Every waiting caller waits for the next look at the database.",
        ("workers/broker/usage.py", "        if wake:\n", "        if not wake:\n"),
        tests=(f"{LEDGER}test_a_batch_is_settled_acknowledged_and_its_waiters_are_woken",),
    ),
    fault(
        "told-row-believed-unsealed",
        "Whoever reaches Redis tells callers results that no ledger has stored.",
        ("workers/broker/waking.py", "    if not hmac.compare_digest(", "    if None is hmac.compare_digest("),
        tests=("tests/api/test_waiting.py::test_a_row_is_believed_when_a_ledger_sealed_it",),
    ),
    fault(
        "lost-hint-is-lost",
        "A caller whose wake-up was lost with Redis waits to the end of its patience.",
        (
            "api/admission/waiting.py",
            "                    self._due[cast_id] = None\n                    news += 1\n",
            "                    news += 1\n",
        ),
        tests=("tests/api/test_waiting.py::test_a_lost_hint_costs_a_quarter_of_a_second",),
    ),
    fault(
        "free-place-goes-to-nobody",
        "Casts that wait in Postgres for a place on the wire wait for ever.",
        (
            "domain/flow/close.py",
            "    freed = await store.name_next(connection, waiting) if waiting else []\n",
            "    freed = await store.name_next(connection, waiting) if not waiting else []\n",
        ),
        tests=(f"{LEDGER}test_the_place_of_a_settled_cast_goes_to_one_that_waits",),
    ),
    fault(
        "slot-run-by-everybody",
        "Ten schedulers run each job ten times.",
        (
            "domain/store/schedule.sql",
            "\nWHERE run.finished_at IS NULL AND run.started_at < clock_timestamp() - %(lease)s::interval",
            "\nWHERE %(lease)s::interval IS NOT NULL",
        ),
        tests=(f"{CLOCK}test_of_ten_schedulers_one_runs_each_slot",),
    ),
    fault(
        "expired-while-the-ledger-is-behind",
        "A cast that succeeded is called expired, because its report still waits.",
        (
            "scheduler/jobs.py",
            "        if state.usage_length > USAGE_CURRENT_MAX:\n",
            "        if state.usage_length < 0:\n",
        ),
        tests=(f"{CLOCK}test_expire_waits_for_a_ledger_that_is_behind",),
    ),
    fault(
        "expired-without-grace",
        "A cast that a worker took a moment before its deadline ends under its hands.",
        ("domain/flow/expire.py", "before=now - GRACE, limit", "before=now, limit"),
        tests=("tests/domain/flow/test_settle.py::test_expire_ends_only_what_is_past_deadline_and_grace",),
    ),
    fault(
        "resend-of-what-was-just-accepted",
        "Each cast is put on the wire twice, by the api and by the clock.",
        ("domain/flow/resend.py", "AGE_MIN: Final = timedelta(seconds=2)", "AGE_MIN: Final = timedelta(seconds=-9)"),
        tests=(f"{CLOCK}test_resend_leaves_alone_what_was_accepted_a_moment_ago",),
    ),
    fault(
        "rate-script-counts-nothing",
        "The rate limit limits nothing while Redis lives.",
        ("api/admission/rate.lua", "  back = back + passed * interval\n", ""),
        tests=("tests/api/test_rate.py::test_a_minutes_requests_pass_at_once_and_no_more",),
    ),
    fault(
        "own-limiter-counts-nothing",
        "The rate limit limits nothing while Redis is away.",
        ("api/admission/rate.py", "            back_us += passed * interval_us\n", ""),
        tests=("tests/api/test_rate.py::test_a_minutes_requests_pass_at_once_and_no_more",),
    ),
)
