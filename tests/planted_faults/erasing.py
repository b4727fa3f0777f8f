"""Mistakes in erasing a person: something left that names him, a way back in, books that no longer add up."""

from tests.planted_faults.fault import fault

JOBS = "tests/scheduler/test_erasures.py::"
HTTP = "tests/api/test_erasure.py::"
MARKS = f"{JOBS}test_no_mark_is_left_anywhere_and_the_books_are_as_before"

FAULTS = (
    fault(
        "column-left",
        "What a cast came with names the person for ever.",
        ("domain/store/erasure.sql", "webhook_url = NULL, traceparent = NULL,", "traceparent = NULL,"),
        tests=(MARKS,),
    ),
    fault(
        "column-undeclared",
        "A column somebody adds tomorrow is in no erasure, and nobody notices.",
        ("domain/model/erasure.py", '"error_message", "webhook_url"),', '"error_message"),'),
        tests=("tests/domain/test_erasure.py::test_every_column_that_can_hold_words_is_emptied_or_kept_for_a_reason",),
    ),
    fault(
        "session-alive-after-erasure",
        "Somebody is still signed in to an account that is nobody's.",
        ("domain/store/erasure.py", '"identities_delete", "sessions_delete",', '"identities_delete",'),
        tests=(MARKS, f"{JOBS}test_nothing_leads_to_the_person_from_the_request_on"),
    ),
    fault(
        "erased-keys-cast",
        "A key goes on casting on an account that is nobody's.",
        (
            "domain/store/erasure.sql",
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s), name",
            "UPDATE api_keys SET name",
        ),
        tests=(f"{JOBS}test_nothing_leads_to_the_person_from_the_request_on",),
    ),
    fault(
        "books-erased-too",
        "With the person the money goes, and nothing adds up.",
        (
            "domain/store/erasure.sql",
            "    error_message = NULL\n  FROM page",
            "    error_message = NULL, cost_micros = CASE WHEN c.cost_micros IS NOT NULL THEN 0 END\n  FROM page",
        ),
        tests=(MARKS,),
    ),
    fault(
        "erased-before-it-ended",
        "A cast that was running writes its output into an account that is erased.",
        ("domain/flow/erase.py", "    if open_casts:\n", "    if open_casts and not claimed:\n"),
        tests=(f"{JOBS}test_what_runs_is_stopped_and_waited_for",),
    ),
    fault(
        "handle-for-the-next",
        "Who takes an erased creator's handle is run by everybody who cast his spells.",
        ("domain/store/erasure.py", '    await _run(conn, "handle_retire", account_id=account_id)\n', ""),
        tests=(f"{JOBS}test_nothing_leads_to_the_person_from_the_request_on",),
    ),
    fault(
        "stolen-session-erases",
        "A session left open a month ago erases everything.",
        ("domain/flow/request_erasure.py", "now - opened_at > RECENT_SIGN_IN", "now - opened_at < -RECENT_SIGN_IN"),
        tests=(
            f"{JOBS}test_it_is_asked_for_once_by_who_means_it_and_signed_in_just_now",
            f"{HTTP}test_whoever_signed_in_long_ago_signs_in_again_first",
        ),
    ),
    fault(
        "living-log-forgotten",
        "Whoever takes the scheduler over wipes out of anybody's log where changes came from.",
        ("migrations/0020_erasures.sql", "WHERE id = erased AND status = 'erased'", "WHERE id = erased"),
        tests=("tests/domain/store/test_isolation.py::test_the_log_of_a_living_account_is_not_forgotten",),
    ),
)
