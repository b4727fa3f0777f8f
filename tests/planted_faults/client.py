"""Mistakes in what users install: the SDK would spend twice, give up too early, or believe a stranger."""

from tests.planted_faults.fault import fault

RETRIES = "tests/spell/sdk/test_retries.py::"
STREAM = "tests/spell/sdk/test_event_stream.py::"
PLATFORM = "tests/spell/sdk/test_platform.py::"
CLIENTS = "tests/spell/sdk/test_clients.py::"
WEBHOOKS = "tests/spell/sdk/test_webhooks.py::"
OPERATION = "spell/core/operation.py"
EVENTS = "spell/core/event_stream.py"

_SEND = "            left_s = give_up_at - session.clock()\n"
_NEW_KEY = (
    "            request = msgspec.structs.replace(\n"
    "                request, headers={**request.headers, IDEMPOTENCY_KEY: session.new_key()}\n"
    "            )\n"
)

FAULTS = (
    fault(
        "client-retries-under-another-key",
        "A cast whose answer was lost is made again, and both are charged.",
        (OPERATION, _SEND, _SEND + _NEW_KEY),
        tests=(
            f"{RETRIES}test_a_retried_post_is_the_same_request_under_the_same_key",
            f"{PLATFORM}test_a_cast_whose_answer_was_lost_is_made_and_charged_once",
        ),
    ),
    fault(
        "client-retries-money",
        "A program without money knocks again and again, and a budget that resets meanwhile is spent by surprise.",
        (OPERATION, "frozenset({429, 502, 503, 504})", "frozenset({402, 429, 502, 503, 504})"),
        tests=(
            f"{RETRIES}test_a_refusal_about_money_is_sent_exactly_once",
            f"{RETRIES}test_budget_exceeded_says_what_blocked_and_is_sent_once",
        ),
    ),
    fault(
        "client-ignores-retry-after",
        "Every client of a full platform comes back at once and keeps it full.",
        (OPERATION, "after_s = error.retry_after_s or 0", "after_s = 0"),
        tests=(f"{RETRIES}test_retry_after_is_waited_for_and_jitter_comes_on_top",),
    ),
    fault(
        "client-repeats-events",
        "A program that follows a cast is told of the same status twice after its connection was lost.",
        (EVENTS, "if event.id in self._seen or self.done:", "if self.done:"),
        # A true platform resumes behind the last event, so only a made one repeats any.
        tests=(f"{STREAM}test_a_stream_lost_at_any_byte_loses_and_repeats_no_event",),
    ),
    fault(
        "client-takes-half-an-event",
        "What was cut in the middle of its last event is lost with it.",
        (EVENTS, "self._rest = rest + keep", 'self._rest = b""'),
        tests=(f"{STREAM}test_a_stream_reads_the_same_wherever_its_bytes_are_cut",),
    ),
    fault(
        "client-forgets-the-filter",
        "From the second page on a list shows what was not asked for.",
        ("spell/core/listing.py", '(*self.query, ("cursor", cursor))', '(("cursor", cursor),)'),
        tests=(f"{PLATFORM}test_pages_list_every_cast_exactly_once",),
    ),
    fault(
        "client-follows-redirects",
        "Whoever can answer for the platform once sends requests, with the key, where he likes.",
        (
            "spell/client.py",
            "timeout=timeout_of(step.timeout_s),\n                follow_redirects=False,",
            "timeout=timeout_of(step.timeout_s),\n                follow_redirects=True,",
        ),
        tests=(f"{CLIENTS}test_a_redirect_is_not_followed_with_the_key",),
    ),
    fault(
        "webhook-of-any-age",
        "Who recorded a webhook once can send it again for ever.",
        (
            "spell/webhooks.py",
            "if abs(now_s - int(timestamp)) > tolerance_s:",
            "if int(timestamp) - now_s > tolerance_s:",
        ),
        tests=(f"{WEBHOOKS}test_what_was_recorded_is_refused_after_the_tolerance",),
    ),
    fault(
        "webhook-with-an-empty-secret",
        "Where the setting was forgotten, anybody can sign.",
        ("spell/webhooks.py", "    if not key:", "    if key is None:"),
        tests=(f"{WEBHOOKS}test_a_secret_that_is_none_is_the_callers_mistake",),
    ),
)
