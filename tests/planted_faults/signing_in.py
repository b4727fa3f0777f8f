"""Mistakes in sessions and web safety: pages of others, tokens in rows, ends that come too late."""

from tests.planted_faults.fault import fault

FLOWS = "tests/domain/flow/test_sessions.py::"
KNOWN = "tests/api/test_known_sessions.py::"
HTTP = "tests/api/test_sessions.py::"
PAGES = "tests/api/test_web_safety.py::"
SLOW = "tests/api/test_slow_clients.py::"
_END = """    await identity.account_lock(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    ended = await sessions.session_end("""

FAULTS = (
    fault(
        "ended-session-casts",
        "Admission believes the process that a session is alive, so that an ended one casts for another second.",
        (
            "domain/model/admission.py",
            "if request.session_id is not None and request.session_id not in self._sessions:",
            "if request.session_id is not None and request.session_id in ():",
        ),
        tests=(
            f"{FLOWS}test_admission_asks_again_whether_a_session_lives",
            f"{HTTP}test_an_ended_session_changes_nothing_in_any_process",
        ),
    ),
    fault(
        "idle-session-casts",
        "A session that nobody used for a week goes on casting.",
        (
            "domain/store/admission.sql",
            "      AND last_used_at > now - make_interval(days => %(session_idle_days)s)),",
            "      AND (true OR last_used_at > now - make_interval(days => %(session_idle_days)s))),",
        ),
        (
            "domain/store/sessions.sql",
            "    AND s.last_used_at > clock_timestamp() - make_interval(days => %(idle_days)s) AS alive,",
            "    AND (true OR s.last_used_at > clock_timestamp() - make_interval(days => %(idle_days)s)) AS alive,",
        ),
        tests=(f"{HTTP}test_a_session_ends_by_itself",),
    ),
    fault(
        "remembered-session-changes",
        "What changes something trusts a session from memory, so that an ended one makes a key that outlives it.",
        (
            "api/guard.py",
            "fresh = call.method not in SAFE_METHODS and not asked_again",
            "fresh = call.method not in SAFE_METHODS and asked_again",
        ),
        tests=(f"{KNOWN}test_what_changes_something_trusts_no_memory",),
    ),
    fault(
        "session-ends-without-the-lock",
        "A session ends while a batch of casts that saw it alive is still being written.",
        (
            "domain/flow/end_session.py",
            _END,
            _END.partition("\n")[2],
        ),
        tests=(f"{FLOWS}test_the_end_waits_for_a_batch_that_saw_the_session_alive",),
    ),
    fault(
        "foreign-page-acts",
        "A page of another site changes things with a person's cookie.",
        ("api/guard.py", "        services.site.check(call)\n", "        pass\n"),
        tests=(f"{PAGES}test_a_foreign_page_changes_nothing",),
    ),
    fault(
        "silent-page-acts",
        "A request whose page the browser does not name changes things with a person's cookie.",
        ("api/web_safety.py", " or (origin is None and fetched_from is None)", ""),
        tests=(f"{PAGES}test_a_foreign_page_changes_nothing",),
    ),
    fault(
        "cookie-without-prefix",
        "Behind https a cookie counts that a sub-domain can have set.",
        ("api/sessions/cookies.py", 'return f"{_SECURE_PREFIX}{name}" if secure else name', "return name"),
        tests=(f"{PAGES}test_a_cookie_that_was_slipped_in_is_nobody",),
    ),
    fault(
        "open-redirect",
        "A login leads to whatever host a link names.",
        ("api/web_safety.py", r're.compile(r"/(?![/\\])[\x21-', r're.compile(r"/[\x21-'),
        tests=(f"{PAGES}test_nothing_that_could_be_another_host_is_returned_to",),
    ),
    fault(
        "device-code-twice",
        "Two polls at once get two sessions of one confirmation.",
        (
            "domain/store/device_logins.sql",
            " AND d.used_at IS NULL\nFOR NO KEY UPDATE OF d",
            "",
        ),
        ("domain/flow/finish_device_login.py", '    assert used, "it was locked above"\n', "    del used\n"),
        tests=(f"{FLOWS}test_a_program_gets_one_session_of_what_was_confirmed",),
    ),
    fault(
        "half-a-request-for-ever",
        "Whoever sends half a request holds a connection for as long as he likes.",
        ("api/protocol.py", "if connection.overdue_at < now]", "if connection.overdue_at < -now]"),
        tests=(f"{SLOW}test_half_a_head_is_waited_for_shortly",),
    ),
    fault(
        "idle-for-ever",
        "Whoever has been answered once holds a connection for as long as he likes.",
        ("api/protocol.py", "        elif self.overdue_at == math.inf:\n", "        elif self.overdue_at < 0:\n"),
        tests=(f"{SLOW}test_a_whole_request_is_answered_however_long_that_takes",),
    ),
    fault(
        "headers-that-begin-others",
        "What a caller may put into a header of an answer becomes headers and pages of his own.",
        (
            "api/protocol.py",
            "    if len(text.translate(None, _CONTROL)) != len(text) - len(_END) * (len(lines) - 1):\n",
            "    if not text:\n",
        ),
        tests=("tests/api/test_protocol.py::test_no_header_can_begin_another",),
    ),
)
