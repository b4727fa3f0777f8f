"""Mistakes in telling others: events, thresholds, signatures and whose webhooks are whose."""

from tests.planted_faults.fault import fault

EVENTS = "tests/domain/flow/test_events.py::"
THRESHOLDS = "tests/domain/flow/test_thresholds.py::"
MODEL = "tests/domain/model/test_webhooks.py::"
HTTP = "tests/api/test_webhooks.py::"

FAULTS = (
    fault(
        "told-outside-the-gate",
        "A receiver hears twice, and differently, how a cast ended.",
        ("domain/flow/close.py", "cast_events(passed)", "cast_events(endings)"),
        tests=(f"{EVENTS}test_what_the_gate_does_not_return_is_not_told",),
    ),
    fault(
        "events-of-nobody",
        "A new endpoint is never told of anything.",
        (
            "domain/flow/create_webhook.py",
            "    await webhooks.accounts_refresh(conn, account_ids=[new.account_id])\n",
            "",
        ),
        tests=(
            f"{EVENTS}test_every_way_to_end_is_told",
            f"{HTTP}test_an_endpoint_is_made_listed_changed_and_deleted",
        ),
    ),
    fault(
        "disabled-endpoint-told",
        "Who switched a webhook off goes on getting it.",
        ("domain/store/events.sql", "w.deleted_at IS NULL AND w.disabled_at IS NULL", "w.deleted_at IS NULL"),
        tests=(f"{EVENTS}test_an_endpoint_that_is_disabled_or_deleted_hears_nothing",),
    ),
    fault(
        "every-type-told",
        "An endpoint gets what it did not ask for.",
        ("domain/store/events.sql", "ARRAY['*', e.type, split_part", "ARRAY['*', e.type, w.event_types[1], split_part"),
        tests=(f"{EVENTS}test_a_cast_that_ends_is_told_once_to_each_receiver",),
    ),
    fault(
        "threshold-told-with-each-batch",
        "A budget at half of its soft limit mails its owner with every batch.",
        (
            "domain/store/settlement.sql",
            "WHEN was.notified_percent < w.notified_percent THEN",
            "WHEN w.notified_percent > 0 THEN",
        ),
        tests=(
            f"{THRESHOLDS}test_each_share_is_told_once_by_webhook_and_mail",
            f"{THRESHOLDS}test_batches_that_settle_at_once_tell_each_share_once",
        ),
    ),
    fault(
        "threshold-forgotten",
        "Whoever raises a soft limit is told of the same shares again.",
        ("domain/store/settlement.sql", "greatest(was.notified_percent, (", "greatest(0, ("),
        tests=(f"{THRESHOLDS}test_a_raised_limit_does_not_repeat_and_a_lowered_one_is_told",),
    ),
    fault(
        "signed-for-another-time",
        "Receivers refuse what is signed, or take a recording of it for ever.",
        ("domain/model/webhooks.py", "str(timestamp_s).encode", "str(timestamp_s // 300 * 300).encode"),
        tests=(f"{MODEL}test_the_vector_of_the_standard",),
    ),
    fault(
        "one-secret-for-all",
        "Whoever has one account's secret forges the events of every other.",
        ("domain/model/webhooks.py", "_SECRET_LABEL + owner_id.bytes + version", "_SECRET_LABEL + version"),
        tests=(
            f"{MODEL}test_a_secret_belongs_to_one_owner_version_and_key",
            f"{HTTP}test_what_belongs_to_another_is_not_found",
        ),
    ),
    fault(
        "foreign-webhook-found",
        "Who knows an id turns a stranger's webhook to an address of their own.",
        (
            "domain/store/webhooks.sql",
            "FROM webhook_endpoints WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL",
            "FROM webhook_endpoints WHERE id = %(id)s AND %(account_id)s IS NOT NULL AND deleted_at IS NULL",
        ),
        tests=(f"{HTTP}test_what_belongs_to_another_is_not_found",),
    ),
    fault(
        "foreign-events-followed",
        "Whoever follows events reads everybody's.",
        (
            "domain/store/deliveries.sql",
            "WHERE account_id = %(account_id)s AND kind = 'listen'",
            "WHERE %(account_id)s IS NOT NULL AND kind = 'listen'",
        ),
        tests=(f"{EVENTS}test_who_follows_reads_every_event_once_in_order",),
    ),
    fault(
        "data-read-once-spent-on-a-webhook",
        "A result that is kept until it is read goes out with a delivery that nobody took.",
        ("domain/store/events.sql", "SELECT data_once OR coalesce", "SELECT coalesce"),
        tests=(f"{EVENTS}test_long_data_and_data_read_once_stay_behind",),
    ),
)
