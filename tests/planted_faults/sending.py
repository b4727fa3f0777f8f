"""Mistakes in what leaves the platform: where it goes, how often, and whom it delays."""

from tests.planted_faults.fault import fault

COURIER = "tests/workers/test_courier.py::"
LIMITS = "tests/workers/test_courier_limits.py::"
HTTP = "tests/gateways/test_webhook_http.py::"
MODEL = "tests/domain/model/test_delivery.py::"

FAULTS = (
    fault(
        "first-address-judged",
        "A name with one good address among bad ones reaches the network of the platform.",
        ("gateways/webhook_http.py", "        for address in addresses:\n", "        for address in addresses[:1]:\n"),
        tests=(f"{HTTP}test_an_evil_url_reaches_nothing",),
    ),
    fault(
        "name-resolved-again",
        "A name server that answers differently the second time reaches the network of the platform.",
        (
            "gateways/webhook_http.py",
            "        reader, writer = await asyncio.open_connection(\n            str(address),\n",
            (
                "        address = (await self._addresses(target.host))[0]\n"
                "        reader, writer = await asyncio.open_connection(\n            str(address),\n"
            ),
        ),
        tests=(f"{HTTP}test_a_name_that_changes_its_address_is_reached_where_it_was_judged",),
    ),
    fault(
        "certificate-of-the-address",
        "Whoever sits on the way reads webhooks.",
        (
            "gateways/webhook_http.py",
            "server_hostname=target.host if target.secure else None",
            'server_hostname="hooks.example.com" if target.secure else None',
        ),
        tests=(f"{HTTP}test_the_certificate_is_checked_for_the_name",),
    ),
    fault(
        "six-to-four-is-public",
        "On a network with a 6to4 relay a webhook reaches private IPv4 addresses.",
        ("domain/model/webhook_url.py", '        "2002::/16",\n', ""),
        tests=(f"{HTTP}test_an_evil_url_reaches_nothing",),
    ),
    fault(
        "answer-read-to-its-end",
        "One receiver with an endless answer fills the courier's memory.",
        ("gateways/webhook_http.py", "    while read.body_bytes < BODY_BYTES_MAX:\n", "    while True:\n"),
        tests=(f"{HTTP}test_a_body_without_end_is_cut_off_and_its_beginning_kept",),
    ),
    fault(
        "redirect-is-success",
        "An event that nobody took counts as delivered.",
        ("domain/model/delivery.py", "< HTTPStatus.MULTIPLE_CHOICES", "< HTTPStatus.BAD_REQUEST"),
        tests=(
            f"{HTTP}test_a_redirect_is_an_answer_and_not_followed",
            f"{MODEL}test_anything_else_waits_longer_each_time_and_ends_after_three_days",
        ),
    ),
    fault(
        "late-courier-overrules",
        "A courier that was paused takes a row from the one that sends it now, and it is sent a third time.",
        ("domain/store/outgoing.sql", "\n  AND (o.lease_until = r.lease_until OR r.status = 'delivered')\n", "\n"),
        tests=(f"{COURIER}test_a_courier_slower_than_its_lease_changes_nothing_but_a_success",),
    ),
    fault(
        "claims-side-by-side",
        "With every courier more, a destination gets as many more at once.",
        ("domain/store/outgoing.sql", "SELECT pg_try_advisory_xact_lock(%(lock)s),", "SELECT %(lock)s > 0,"),
        (
            "domain/store/outgoing.sql",
            "  SELECT destination, account_id FROM outgoing WHERE lease_until > %(now)s AND status = 'pending'\n",
            "  SELECT destination, account_id FROM outgoing WHERE false\n",
        ),
        tests=(f"{LIMITS}test_couriers_share_the_places_of_a_destination",),
    ),
    fault(
        "oldest-first-whoever-it-is-for",
        "A destination with thousands of due rows hides all others.",
        (
            "domain/store/outgoing.sql",
            "coalesce((%(windows)s::jsonb ->> d.destination)::integer, %(window_new)s)",
            "9999",
        ),
        tests=(f"{COURIER}test_a_destination_with_thousands_of_due_rows_hides_no_other",),
    ),
    fault(
        "account-without-bound",
        "One account with ten thousand receivers that hang holds all places of the courier.",
        ("domain/store/outgoing.sql", "  WHERE account_place <= %(account_max)s\n", ""),
        tests=(f"{LIMITS}test_an_account_has_its_places_and_leaves_the_rest_to_others",),
    ),
    fault(
        "retries-without-end",
        "What fails is tried once a day for ever.",
        (
            "domain/model/delivery.py",
            "    if gone or answer.hopeless or tries >= ATTEMPTS_MAX:\n",
            "    tries = min(tries, ATTEMPTS_MAX - 1)\n    if gone or answer.hopeless:\n",
        ),
        tests=(
            f"{MODEL}test_anything_else_waits_longer_each_time_and_ends_after_three_days",
            f"{COURIER}test_failures_are_retried_later_and_later_and_then_given_up",
        ),
    ),
)
