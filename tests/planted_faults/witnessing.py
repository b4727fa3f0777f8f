"""Mistakes in what bears witness: the audit log, the wall between accounts, and what logs may say."""

from tests.planted_faults.fault import fault

AUDIT = "tests/domain/flow/test_audit.py::"
ISOLATION = "tests/domain/store/test_isolation.py::"
HTTP = "tests/api/test_audit.py::"

FAULTS = (
    fault(
        "change-nobody-witnessed",
        "Whoever steals a session raises every limit, and nobody can tell when.",
        (
            "domain/flow/update_budget.py",
            "        before=budget,\n        after=after,",
            "        before=after,\n        after=after,",
        ),
        tests=(f"{HTTP}test_an_entry_says_who_what_and_from_where",),
    ),
    fault(
        "nothing-changed-written-down",
        "A program that sets the same limit every minute buries the one change that matters.",
        (
            "domain/flow/audit.py",
            "if was is not None and was == became:",
            "if was is None and became == was and before:",
        ),
        tests=(f"{AUDIT}test_what_did_not_change_is_not_written",),
    ),
    fault(
        "password-in-the-log",
        "Whoever reads the log may post to the receiver of every webhook.",
        ("domain/model/audit.py", 'if name == "url":', 'if name == "address":'),
        tests=(
            f"{AUDIT}test_of_an_address_only_the_origin_is_shown",
            f"{HTTP}test_it_is_read_page_by_page_and_filtered",
        ),
    ),
    fault(
        "log-of-everybody",
        "The log of one account is that of all, but for the second layer.",
        ("domain/store/audit.sql", "WHERE account_id = %(account_id)s\n", "WHERE account_id IS NOT NULL\n"),
        tests=(f"{AUDIT}test_prices_are_in_the_platforms_own_log",),
    ),
    fault(
        "log-that-can-be-mended",
        "Whoever takes the api over wipes away what he did.",
        (
            "migrations/0006_identity.sql",
            "GRANT SELECT, INSERT ON audit_log, privacy_export_pieces TO spell_engine;",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON audit_log, privacy_export_pieces TO spell_engine;",
        ),
        tests=(f"{ISOLATION}test_what_is_written_once_nobody_changes",),
    ),
    fault(
        "table-without-a-policy",
        "The first query that forgets its WHERE shows everybody's sessions.",
        (
            "migrations/0006_identity.sql",
            "ARRAY['identities', 'sessions', 'audit_log', 'privacy_exports', 'privacy_export_pieces']",
            "ARRAY['identities', 'audit_log', 'privacy_exports', 'privacy_export_pieces']",
        ),
        tests=(
            f"{ISOLATION}test_every_table_with_an_owner_has_the_policy",
            f"{ISOLATION}test_no_table_shows_a_row_of_another_account",
        ),
    ),
    fault(
        "account-of-the-request-before",
        "A connection goes on as the account it served last.",
        (
            "domain/store/connection.py",
            "set_config('spell.account_id', %s, true)",
            "set_config('spell.account_id', %s, false)",
        ),
        tests=(f"{ISOLATION}test_an_account_is_forgotten_with_its_transaction",),
    ),
    fault(
        "inputs-in-the-log",
        "Who reads a worker's log at debug reads what callers sent, and can settle their casts.",
        ("workers/cast.py", "actor.logger.setLevel(logging.INFO)", "actor.logger.setLevel(logging.NOTSET)"),
        tests=("tests/system/test_canaries.py::test_no_secret_is_in_a_log_a_metric_an_error_or_a_row",),
    ),
)
