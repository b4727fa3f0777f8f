"""Mistakes in taking along all data of an account: somebody else's, too much, too little, too long."""

from tests.planted_faults.fault import fault

ZIP = "tests/domain/model/test_zip_stream.py::"
JOBS = "tests/scheduler/test_exports.py::"
HTTP = "tests/api/test_privacy.py::"

FAULTS = (
    fault(
        "column-forgotten",
        "A column that says something of a person is in no export.",
        ("domain/store/privacy_pages.sql", "kind, user_agent, address, created_at", "kind, user_agent, created_at"),
        tests=(f"{JOBS}test_an_export_holds_every_row_and_column_as_the_database_has_them",),
    ),
    fault(
        "expired-data-exported",
        "What was to be forgotten by now leaves with an export.",
        (
            "domain/store/privacy_pages.sql",
            "SELECT c.data_expires_at IS NULL OR c.data_expires_at > clock_timestamp() AS kept",
            "SELECT true AS kept",
        ),
        tests=(f"{JOBS}test_an_export_holds_every_row_and_column_as_the_database_has_them",),
    ),
    fault(
        "payer-told-to-creators",
        "A creator learns which account paid for each cast.",
        (
            "domain/store/privacy_pages.sql",
            "id, credit, amount_micros, spell_id, month, created_at",
            "id, account_id, credit, amount_micros, spell_id, month, created_at",
        ),
        tests=(f"{JOBS}test_nothing_of_another_account_is_in_it_and_a_creator_learns_of_no_payer",),
    ),
    fault(
        "hash-exported",
        "Whoever gets hold of an export may try to guess keys from their hashes.",
        ("domain/store/privacy_pages.sql", "id, prefix, name, scopes", "id, secret_hash, prefix, name, scopes"),
        tests=(f"{JOBS}test_no_secret_nor_its_hash_is_in_it",),
    ),
    fault(
        "later-rows-exported",
        "An export of a busy account has no end, and belongs to no instant.",
        (
            "domain/store/privacy_pages.sql",
            "  AND id < uuid7_floor(%(instant)s)\n    ORDER BY id LIMIT",
            "  ORDER BY id LIMIT",
        ),
        tests=(f"{JOBS}test_what_is_made_later_is_not_in_it",),
    ),
    fault(
        "piece-kept-twice",
        "Two schedulers that work on one export spoil the archive.",
        (
            "domain/store/privacy.sql",
            "WHERE id = %(id)s AND pieces = %(pieces)s AND status = 'running'",
            "WHERE id = %(id)s",
        ),
        tests=(f"{JOBS}test_any_process_goes_on_after_any_piece_and_only_forward",),
    ),
    fault(
        "archive-cut-between-bytes",
        "An archive whose making was interrupted cannot be unpacked.",
        ("domain/model/zip_stream.py", "zlib.Z_SYNC_FLUSH", "zlib.Z_NO_FLUSH"),
        tests=(f"{ZIP}test_every_file_comes_back_whole_however_it_was_cut",),
    ),
    fault(
        "large-export-first",
        "Who has little waits for who has most.",
        ("domain/store/privacy.sql", "ORDER BY lease_until NULLS FIRST, created_at", "ORDER BY created_at"),
        tests=(f"{JOBS}test_a_small_export_does_not_wait_for_a_large_one",),
    ),
    fault(
        "export-fails-for-ever",
        "An export that cannot be made is begun again every minute, and its owner may ask for no other.",
        ("domain/store/privacy.sql", "    AND attempts < %(attempts_max)s\n", ""),
        (
            "domain/store/privacy.sql",
            "status IN ('pending', 'running') AND attempts >= %(attempts_max)s AND lease_until",
            "status = 'pending' AND attempts >= %(attempts_max)s AND lease_until",
        ),
        tests=(f"{JOBS}test_what_fails_again_and_again_is_given_up_and_stops_no_other",),
    ),
    fault(
        "foreign-export-fetched",
        "Who knows an id sees when a stranger's data can be had.",
        (
            "domain/store/privacy.sql",
            "FROM privacy_exports WHERE id = %(id)s AND account_id = %(account_id)s",
            "FROM privacy_exports WHERE id = %(id)s",
        ),
        (
            "api/privacy/routes.py",
            "account_transaction(services.app_pool, principal.account_id)",
            "transaction(services.engine_pool)",
        ),
        tests=(f"{HTTP}test_what_is_anothers_is_not_found_and_keys_may_nothing",),
    ),
    fault(
        "export-outlives-its-week",
        "Bytes that should be gone are served until the scheduler comes by.",
        ("api/privacy/views.py", "export.expires_at <= now", "export.expires_at < export.created_at"),
        tests=(f"{HTTP}test_an_export_is_gone_the_moment_its_week_is_over",),
    ),
)
