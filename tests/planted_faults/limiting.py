"""Mistakes in how often somebody may ask: routes without a limit, names that callers choose, guesses that cost us."""

from tests.planted_faults.fault import fault

ADMISSION = "tests/api/test_admission.py::"
RATE = "tests/api/test_rate.py::"
LIMITS = "tests/api/test_limits.py::"
GUESSING = "tests/api/test_guessing.py::"
PROXIES = "tests/api/test_proxies.py::"

FAULTS = (
    fault(
        "heavy-request-is-one",
        "Publishing sixty modules a minute costs a caller no more than reading sixty rows.",
        (
            "api/admission/rate.py",
            "_WINDOW_US * min(caller.weight, caller.rpm) / caller.rpm",
            "_WINDOW_US / caller.rpm",
        ),
        tests=(
            f"{RATE}test_a_heavy_request_passes_whole_or_takes_nothing",
            f"{RATE}test_a_rate_below_a_routes_weight_allows_one_request_for_all_of_it",
        ),
    ),
    fault(
        "weights-left-out",
        "A route says what it weighs, and nobody asks.",
        ("api/guard.py", "caller_of(principal, weight=weight)", "caller_of(principal)"),
        tests=(f"{LIMITS}test_a_route_weighs_what_it_costs",),
    ),
    fault(
        "no-net-under-routes",
        "Whoever asks for what is not there, or shows no key, may do so as often as the wire carries.",
        ("api/uncounted.py", "and not call.counted and", "and call.counted and"),
        tests=(
            f"{LIMITS}test_what_is_no_route_or_lets_nobody_in_is_limited_too",
            f"{GUESSING}test_every_way_in_counts_wrong_keys_and_sessions",
        ),
    ),
    fault(
        "every-guess-hashed",
        "One address has the api hash guesses at a key as fast as it can send them.",
        ("api/guard.py", "if failed and error.refusal.retry_after_s is not None:", "if failed is None:"),
        tests=(
            f"{GUESSING}test_an_address_that_guesses_is_refused_before_anything_is_hashed",
            f"{GUESSING}test_a_flood_of_guesses_from_one_address_is_hashed_at_its_rate",
        ),
    ),
    fault(
        "barred-with-everybody-known",
        "Who shares an address with a guesser is turned away with a key that we know well.",
        (
            "api/auth.py",
            "        if known is None:\n            if unknown is not None:\n                unknown()\n",
            "        if unknown is not None:\n            unknown()\n        if known is None:\n",
        ),
        tests=(f"{GUESSING}test_an_address_that_guesses_is_refused_before_anything_is_hashed",),
    ),
    fault(
        "claimed-address-believed",
        "Anybody is a new caller with each request, by writing X-Forwarded-For himself.",
        ("api/proxies.py", "address is not None and self._trusts(address):", "address is not None:"),
        tests=(f"{PROXIES}test_nobody_gets_another_name_by_what_he_claims",),
    ),
    fault(
        "one-name-for-all-mapped",
        "Behind a socket for both kinds of addresses all callers of IPv4 share one rate.",
        ("api/proxies.py", "return address if mapped is None else mapped", "return address"),
        tests=(f"{PROXIES}test_one_caller_has_one_name",),
    ),
    fault(
        "redis-given-up",
        "After one hiccup of Redis each process limits by itself until it is restarted.",
        ("api/admission/rate.py", "self._clock() + REDIS_RETRY_S", "self._clock() + 3_600"),
        tests=(f"{RATE}test_what_redis_refuses_is_limited_by_the_process_until_redis_answers_again",),
    ),
    fault(
        "refused-until-somebody-asks",
        "Who was over his rate once is refused until the process is restarted.",
        ("api/admission/rate.py", "        if now >= until:\n", "        if now < 0:\n"),
        tests=(f"{RATE}test_who_is_over_his_rate_is_not_asked_for_until_he_may_pass",),
    ),
    fault(
        "asked-for-with-every-request",
        "A caller at fifty times its rate costs fifty times the round trips.",
        ("api/admission/rate.py", "            if count < wanted[caller]:\n", "            if count < 0:\n"),
        tests=(
            f"{RATE}test_who_is_over_his_rate_is_not_asked_for_until_he_may_pass",
            f"{ADMISSION}test_who_is_over_his_rate_stands_in_no_line",
        ),
    ),
    fault(
        "neighbours-wait-for-the-refused",
        "Who sends fifty times what it may makes everybody's casts wait for more of its own.",
        ("api/admission/batcher.py", "return len(ready)", "return len(batch)"),
        tests=(f"{ADMISSION}test_nobody_waits_for_more_of_those_who_are_refused",),
    ),
)
