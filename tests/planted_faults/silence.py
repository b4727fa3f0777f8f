"""Mistakes about networks that drop packets and say nothing, and about the order of locks."""

from typing import Final

from tests.planted_faults.fault import Fault, fault

_SILENCE: Final = "tests/domain/store/test_silence.py::"
_WIRE: Final = "tests/api/test_wire.py::"
_LOCKS: Final = "tests/domain/store/test_locks.py::"
_IN_ORDER: Final = "test_accounts_are_locked_in_order_of_their_ids"
_LOCK: Final = "-- name: accounts_lock\n-- Take the mutex of each account's money, in the one order everybody uses.\n"
_LOCKED: Final = "SELECT id FROM accounts WHERE id = ANY(%(account_ids)b::uuid[]) "

FAULTS: Final[tuple[Fault, ...]] = (
    fault(
        "silence-left-to-the-kernel",
        "A network that drops packets to Postgres stops every cast of an api for a quarter of an hour.",
        ("domain/store/connection.py", '            "tcp_user_timeout": SILENCE_MS,\n', ""),
        tests=(f"{_SILENCE}test_our_end_gives_up_on_a_silent_server",),
    ),
    fault(
        "locks-of-the-unreachable",
        "A ledger that is cut off in the middle of an answer keeps its accounts locked for a quarter of an hour.",
        ("domain/store/connection.py", '        f" -c tcp_user_timeout={SILENCE_MS}"\n', ""),
        tests=(f"{_SILENCE}test_the_server_gives_up_on_our_silent_end_and_its_locks",),
    ),
    fault(
        "put-again-what-was-resent",
        "An api that was cut off from Redis has thousands of casts run again that had ended meanwhile.",
        ("api/admission/wire.py", "late = await self._leave_to_resend()", "late = 0"),
        tests=(f"{_WIRE}test_what_waited_long_for_redis_is_left_to_resend",),
    ),
    fault(
        "silence-shortens-the-line",
        "While Redis is away an api accepts without end.",
        (
            "api/admission/wire.py",
            "        checked((await AsyncLink(self._redis).run(_HOW_MANY[:1], within_s=PUT_TIMEOUT_S))[0])\n",
            "",
        ),
        tests=(f"{_WIRE}test_while_redis_is_silent_nothing_leaves_the_line",),
    ),
    fault(
        "locks-in-any-order",
        "Two batches with the same two accounts wait for each other until one is thrown away.",
        (
            "domain/store/admission.sql",
            f"{_LOCK}{_LOCKED}ORDER BY id FOR NO KEY UPDATE",
            f"{_LOCK}{_LOCKED}FOR NO KEY UPDATE",
        ),
        tests=(f"{_LOCKS}{_IN_ORDER}",),
    ),
    fault(
        "answers-of-another-thread",
        "After one round trip of a worker that took too long its next ones get the answers to what was asked before.",
        (
            "workers/broker/link.py",
            "            self._drop(lane)\n            raise\n",
            "            self._free.append(lane)\n            raise\n",
        ),
        tests=(
            "tests/workers/broker/test_link.py::test_a_silent_server_is_not_waited_for_and_its_late_answer_is_nobodys",
        ),
    ),
    fault(
        "answers-of-somebody-else",
        "After one round trip to Redis that took too long everybody gets the answers to what another asked.",
        (
            "workers/broker/async_link.py",
            "            await lane.drop(self._pool)\n            raise\n",
            "            self._free.append(lane)\n            raise\n",
        ),
        tests=("tests/workers/broker/test_async_link.py::test_an_answer_that_nobody_waited_for_is_nobody_elses",),
    ),
)
