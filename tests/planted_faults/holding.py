"""Mistakes in deciding who may cast, and in holding the money."""

from tests.planted_faults.fault import fault

RESERVE = "tests/domain/flow/test_reserve.py::"
GUARDS = "tests/domain/store/test_guards.py::"
DECIDE = "tests/domain/model/test_admission.py::"


_LOCK_AND_READ = (
    '    locked, read, *priced = await exchange(connection, (lock, {"account_ids": account_ids}), state, *prices)\n'
    "    found = _decode_state(value(read))\n"
)

FAULTS = (
    fault(
        "one-joined-statement",
        "After a wait for the lock the budgets come from before it, and two batches take the same room.",
        (
            "domain/store/admission.sql",
            "ORDER BY id FOR NO KEY UPDATE\n\n-- name: accounts_lock_free",
            "ORDER BY id\n\n-- name: accounts_lock_free",
        ),
        (
            "domain/store/admission.sql",
            (
                "WITH instant AS MATERIALIZED (\n  SELECT now, (now AT TIME ZONE 'UTC')::date AS day, "
                "date_trunc('month', now AT TIME ZONE 'UTC')::date AS month\n  FROM clock_timestamp() AS now"
            ),
            (
                "WITH locked AS MATERIALIZED (\n"
                "  SELECT id FROM accounts WHERE id = ANY(%(account_ids)b::uuid[]) ORDER BY id FOR NO KEY UPDATE\n"
                "), instant AS MATERIALIZED (\n  SELECT now, (now AT TIME ZONE 'UTC')::date AS day, "
                "date_trunc('month', now AT TIME ZONE 'UTC')::date AS month\n"
                "  FROM (SELECT count(*) FROM locked) AS first, clock_timestamp() AS now"
            ),
        ),
        tests=(f"{RESERVE}test_sixty_concurrent_batches_never_pass_a_budget_for_ten",),
    ),
    fault(
        "read-before-lock",
        "Two batches see the same room in a budget.",
        (
            "domain/store/admission.py",
            _LOCK_AND_READ,
            _LOCK_AND_READ.replace("locked, read,", "read, locked,").replace(
                '(lock, {"account_ids": account_ids}), state', 'state, (lock, {"account_ids": account_ids})'
            ),
        ),
        tests=(f"{RESERVE}test_sixty_concurrent_batches_never_pass_a_budget_for_ten",),
    ),
    fault(
        "idempotency-before-lock",
        "A request that is sent twice at one moment becomes two casts, or an error.",
        (
            "domain/store/admission.py",
            _LOCK_AND_READ,
            (
                "    (before,) = await exchange(connection, state)\n"
                + _LOCK_AND_READ
                + "    found.idempotency = _decode_state(value(before)).idempotency\n"
            ),
        ),
        tests=(f"{RESERVE}test_the_second_of_two_equal_requests_waits_for_the_first_and_is_its_replay",),
    ),
    fault(
        "held-ignored-without-guard",
        "A hard budget is passed by everything that is open.",
        (
            "domain/model/tightest.py",
            "    return window.hard_limit_micros - window.spent_micros - window.held_micros\n",
            "    return window.hard_limit_micros - window.spent_micros\n",
        ),
        (
            "domain/store/admission.sql",
            "\n  AND (w.hard_limit_micros IS NULL OR w.spent_micros + w.held_micros + r.micros <= w.hard_limit_micros)",
            "",
        ),
        tests=(
            f"{RESERVE}test_sixty_concurrent_batches_never_pass_a_budget_for_ten",
            f"{DECIDE}test_what_one_cast_took_the_next_does_not_have",
        ),
    ),
    fault(
        "window-guard-removed",
        "A mistake in the decision would pass a hard budget unseen.",
        (
            "domain/store/admission.sql",
            "\n  AND (w.hard_limit_micros IS NULL OR w.spent_micros + w.held_micros + r.micros <= w.hard_limit_micros)",
            "",
        ),
        tests=(f"{GUARDS}test_a_window_without_room_is_not_raised_and_the_batch_rolls_back",),
    ),
    fault(
        "grant-guard-removed",
        "A mistake in the decision would hold credits that are not there.",
        ("domain/store/admission.sql", " AND g.held_micros + r.micros <= g.balance_micros", ""),
        tests=(f"{GUARDS}test_a_grant_without_that_much_left_is_not_held",),
    ),
    fault(
        "429-before-402",
        "A caller without money is told to wait and tries for ever.",
        (
            "domain/model/admission.py",
            "        if account.spend_paused or spec.quote is not None:\n",
            (
                "        if (early := self._refuse_load(request, spec, account, key)) is not None:\n"
                "            return early\n"
                "        if account.spend_paused or spec.quote is not None:\n"
            ),
        ),
        tests=(
            f"{DECIDE}test_what_is_wrong_is_said_in_one_order",
            "tests/api/test_refusals.py::test_budget_comes_before_rate_and_rate_before_the_queue",
        ),
    ),
    fault(
        "over-rate-accepted",
        "The rate limit limits nothing.",
        (
            "domain/model/admission.py",
            "        if request.retry_after_s is not None:\n",
            "        if request.retry_after_s == -1:\n",
        ),
        tests=(f"{DECIDE}test_over_the_rate_nothing_is_accepted",),
    ),
    fault(
        "over-rate-let-through-at-the-edge",
        "The rate limit limits nothing.",
        (
            "api/admission/batcher.py",
            "            elif pending.allowance.retry_after_s is not None:\n",
            "            elif pending.allowance.limit < 0:\n",
        ),
        tests=("tests/api/test_refusals.py::test_budget_comes_before_rate_and_rate_before_the_queue",),
    ),
    fault(
        "left-behind-in-line",
        "An api that stops under load leaves a batch of requests without an answer.",
        ("api/admission/batcher.py", "        while self._line or self._ahead:\n", "        while self._line:\n"),
        tests=(
            "tests/api/test_admission.py::test_a_full_batch_behind_one_in_postgres_is_counted_once_and_not_left_behind",
        ),
    ),
    fault(
        "acknowledged-before-commit",
        "A caller holds a 202 for a cast that the broken connection rolled back.",
        (
            "api/admission/batcher.py",
            "                    waiters = self._register(batch, verdicts)\n",
            (
                "                    waiters = self._register(batch, verdicts)\n"
                "                    self._answer(batch, verdicts, waiters)\n"
            ),
        ),
        tests=(
            "tests/api/test_admission.py::test_a_commit_in_doubt_is_looked_up",
            "tests/api/test_admission.py::test_an_outcome_nobody_can_tell_is_503_with_the_ids",
        ),
    ),
    fault(
        "revoke-without-account-lock",
        "A cast is accepted after its key's revocation was answered.",
        ("domain/flow/revoke_key.py", "    await identity.account_lock(conn, account_id=account_id)\n", ""),
        tests=("tests/domain/flow/test_keys.py::test_revoking_waits_for_a_batch_that_has_read_and_not_yet_written",),
    ),
    fault(
        "revoked-key-alive",
        "A revoked key goes on casting.",
        ("domain/store/admission.sql", "id, revoked_at IS NULL AND (expires_at", "id, (expires_at"),
        tests=(f"{RESERVE}test_a_revoked_key_casts_nothing",),
    ),
    fault(
        "refusal-remembered",
        "A 402 is replayed for a day, although the budget was raised.",
        (
            "domain/model/admission.py",
            " and (cast_ids := judged.remembered(request)):\n",
            " and (cast_ids := judged.remembered(request)) is not None:\n",
        ),
        tests=(f"{DECIDE}test_what_was_refused_whole_is_not_remembered",),
    ),
    fault(
        "default-limit-forgotten",
        "An account that set no budget spends without any bound.",
        (
            "domain/model/admission.py",
            "        if not purse.has_own_budget and month",
            "        if purse.has_own_budget and month",
        ),
        tests=(
            "tests/domain/model/test_admission_funding.py::test_metered_casts_of_an_account_without_a_budget_have_a_default_limit",
        ),
    ),
)
