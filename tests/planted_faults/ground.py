"""Mistakes in what everything stands on: who may do what, the sandbox, the embedded servers, migrations."""

from tests.planted_faults.fault import fault

SERVERS = "tests/local/test_servers.py::"
POSTGRES = "tests/local/test_postgres.py::"
MIGRATE = "tests/migrations/test_runner.py::"
AHEAD = "tests/workers/executor/test_ahead.py::"
BELL = "tests/workers/executor/test_bell.py::"

_RUNNERS_TURN = '    while not await _one_value(connection, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY):\n'

FAULTS = (
    # Who may do what
    fault(
        "key-checked-once",
        "A revoked key reads for as long as the process lives and does not hear of it.",
        (
            "api/auth.py",
            "self._clock() - known.checked_at > FRESH_S:",
            "self._clock() < known.checked_at:",
        ),
        tests=("tests/api/test_auth.py::test_a_warm_key_needs_no_database_and_a_stale_one_does",),
    ),
    fault(
        "every-account-sees-every-row",
        "One missing WHERE in any statement shows a stranger's casts.",
        (
            "migrations/0001_spine.sql",
            "TO spell_app USING (%I = nullif(current_setting(''spell.account_id'', true), '''')::uuid)'",
            "TO spell_app USING (%I IS NOT NULL)'",
        ),
        tests=("tests/domain/flow/test_budgets.py::test_the_apps_role_sees_one_accounts_budgets_and_holds",),
    ),
    fault(
        "worker-sees-credentials",
        "A guest that breaks out of its jail finds the database's password.",
        (
            "domain/settings.py",
            '            if name in _WORKER_MUST_NOT_SEE or name.startswith("STRIPE_"):\n',
            '            if name.startswith("STRIPE_"):\n',
        ),
        tests=(
            "tests/domain/test_settings.py::test_a_worker_refuses_to_start_beside_a_credential_that_is_not_its_own",
        ),
    ),
    fault(
        "redis-without-tls",
        "Inputs and results cross the network in clear.",
        ("domain/environment.py", '        if address.scheme != "rediss":\n', '        if address.scheme == "http":\n'),
        tests=("tests/domain/test_settings.py::test_a_redis_elsewhere_without_checked_tls_is_refused",),
    ),
    # The sandbox
    fault(
        "random-bytes-are-random",
        "A cast that is run again takes another way, burns other fuel and cannot be checked.",
        ("workers/executor/wasi.py", "hashlib.shake_256(block).digest(length)", "os.urandom(length)"),
        ("workers/executor/wasi.py", "import hashlib\n", "import hashlib\nimport os\n"),
        tests=("tests/workers/executor/test_wasi.py::test_random_bytes_repeat_and_belong_to_module_and_input",),
    ),
    fault(
        "loaded-without-signature",
        "Whoever can write into the worker's folder runs machine code.",
        (
            "workers/executor/loader.py",
            "        if not self._verifier.accepts(signature, statement):\n",
            "        if not signature or not statement:\n",
        ),
        tests=("tests/workers/executor/test_parent.py::test_what_the_platform_did_not_sign_is_not_loaded",),
    ),
    fault(
        "kept-without-signature",
        "Whoever answers in the api's place fills the worker's folder.",
        (
            "workers/artifacts.py",
            "        if not self._verifier.accepts(signature, statement):\n",
            "        if not signature or not statement:\n",
        ),
        tests=(
            "tests/workers/test_artifacts.py::test_what_is_not_signed_is_not_kept",
            "tests/workers/test_artifacts.py::test_a_changed_artifact_is_not_kept",
        ),
    ),
    fault(
        "seccomp-allows-socket",
        "A guest that breaks out talks to the network.",
        ("workers/executor/seccomp.py", '    *("exit", "exit_group"),\n', '    *("exit", "exit_group", "socket"),\n'),
        (
            "workers/executor/seccomp.py",
            '        "set_robust_list": 273, ',
            '        "socket": 41, "set_robust_list": 273, ',
        ),
        (
            "workers/executor/seccomp.py",
            '        "set_robust_list": 99, ',
            '        "socket": 198, "set_robust_list": 99, ',
        ),
        tests=("tests/workers/executor/test_seccomp.py::test_the_rest_by_its_name",),
    ),
    fault(
        "seccomp-opens-to-write",
        "A guest that breaks out writes files.",
        ("workers/executor/seccomp.py", "0, 1), refuse, allow]\n    if moves", "0, 1), allow, allow]\n    if moves"),
        tests=("tests/workers/executor/test_seccomp.py::test_opens_only_to_read",),
    ),
    fault(
        "child-stays-root",
        "A guest that breaks out is root.",
        ("workers/executor/jail.py", "            os.setresuid(user_id, user_id, user_id)\n", "            pass\n"),
        tests=("tests/workers/executor/test_jail.py::test_a_living_child_as_the_kernel_sees_it",),
    ),
    fault(
        "child-outlives-its-parent",
        "Each killed worker leaves a process behind.",
        ("workers/executor/jail.py", '    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "PR_SET_PDEATHSIG")\n', ""),
        tests=("tests/workers/executor/test_jail.py::test_child_dies_with_its_parent",),
    ),
    fault(
        "child-believed",
        "A broken child charges what it likes.",
        ("workers/executor/parent.py", "        and (result.fuel is None or 0 <= result.fuel <= limits.fuel)\n", ""),
        tests=("tests/workers/executor/test_parent.py::test_a_child_that_lies_is_killed",),
    ),
    fault(
        "nan-not-canonical",
        "The same cast gives other bytes on another processor.",
        (
            "workers/executor/engine.py",
            '("cranelift_nan_canonicalization", True)',
            '("cranelift_nan_canonicalization", False)',
        ),
        tests=("tests/workers/executor/test_engine.py::test_nan_is_canonical",),
    ),
    fault(
        "kept-behind-a-slow-one",
        "Short casts that were sent ahead wait until a slow one before them has ended.",
        (
            "workers/executor/parent.py",
            "                self._give_back()\n                patience_seconds -= _LATE_SECONDS\n",
            "                patience_seconds -= _LATE_SECONDS\n",
        ),
        tests=(f"{AHEAD}test_what_is_behind_a_slow_one_is_given_back_and_can_be_run_all_the_same",),
    ),
    fault(
        "begun-too-late-all-the-same",
        "A cast that was given back runs in two sandboxes.",
        ("workers/executor/child.py", "is_late = begin_by_ns and", "is_late = not begin_by_ns and"),
        tests=(f"{AHEAD}test_one_whose_turn_comes_too_late_is_not_begun",),
    ),
    fault(
        "rung-for-each-answer",
        "A worker's thread is woken for each of the casts it sent together, and has less of its core for them.",
        (
            "workers/executor/child.py",
            "            self._bytes += len(answer)\n",
            '            os.write(self._descriptor, b"\\0")\n            self._bytes += len(answer)\n',
        ),
        tests=(f"{BELL}test_a_batch_is_rung_for_once_behind_its_last_answer",),
    ),
    fault(
        "never-rung",
        "A batch that was answered long ago waits until its worker looks by itself.",
        (
            "workers/executor/child.py",
            "if self._is_due:\n            self._ring()",
            "if self._bytes < 0:\n            self._ring()",
        ),
        tests=(f"{BELL}test_a_batch_is_rung_for_once_behind_its_last_answer",),
    ),
    fault(
        "not-rung-when-the-socket-fills",
        "A child that waits for room and a worker that waits for its bell sleep beside each other.",
        ("workers/executor/child.py", "self._bytes > _UNREAD_BYTES_MAX or time", "time"),
        tests=(f"{BELL}test_an_answer_that_may_not_fit_is_rung_for_before_it_is_written",),
    ),
    fault(
        "reserved-and-not-given-back",
        "Casts that a thread reserved wait for it while other threads have nothing to do.",
        ("workers/ahead.py", "        self._broker.give_back_reserved()\n", ""),
        tests=("tests/workers/test_ahead.py::test_a_job_is_decoded_once_and_forgotten_when_given_back",),
    ),
    fault(
        "reserved-by-a-thread-that-ended",
        "Each deploy leaves casts that a worker reserved waiting until their lease ends.",
        ("workers/broker/hooks.py", "        self._broker.work_queue.give_back()\n", "        del thread\n"),
        tests=("tests/workers/broker/test_reserve.py::test_a_worker_that_stops_gives_back_what_its_threads_reserved",),
    ),
    fault(
        "newest-first",
        "Under load the cast that has waited longest waits for ever.",
        ("workers/broker/work_queue.py", "return lane.popleft()", "return lane.pop()"),
        tests=("tests/workers/broker/test_order.py::test_one_thread_runs_messages_in_the_order_they_were_sent",),
    ),
    # Embedded servers
    fault(
        "server-outlives-supervisor",
        "A killed `spell dev` leaves a Postgres that the next one fights with.",
        ("local/keeper.py", "        _die_with_parent(stop_signal)\n", ""),
        tests=(f"{SERVERS}test_no_server_outlives_who_watches_over_it",),
    ),
    fault(
        "stale-pid-file-left",
        "After a power cut Postgres refuses to start, because some other program has its old number.",
        ("local/postgres.py", "            leftover.unlink(missing_ok=True)\n", "            leftover.exists()\n"),
        tests=(f"{POSTGRES}test_a_stale_pid_file_that_names_a_living_process_blocks_nothing",),
    ),
    fault(
        "everybody-is-trusted",
        "Every program of the machine reads the whole database.",
        ("local/postgres.py", '"--auth=scram-sha-256"', '"--auth=trust"'),
        tests=(f"{SERVERS}test_nobody_gets_in_without_the_password",),
    ),
    fault(
        "ports-of-outgoing-connections",
        "A server that is down for a second never gets its port back.",
        (
            "local/ports.py",
            "    ports = range(_PORT_MIN, max(_PORT_MIN + 1_000, _ephemeral_port_min()))\n",
            "    ports = range(_ephemeral_port_min(), 60_999)\n",
        ),
        tests=(f"{POSTGRES}test_ports_are_below_those_of_outgoing_connections",),
    ),
    fault(
        "two-supervisors-on-one-folder",
        "Two `spell dev` on one folder destroy the database.",
        (
            "local/folder.py",
            "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        ),
        tests=(f"{SERVERS}test_a_second_supervisor_is_refused_and_told_what_to_do",),
    ),
    fault(
        "fsync-off",
        "An accepted cast is gone after a power cut.",
        ("local/postgres.py", '    "fsync": "on",\n', '    "fsync": "off",\n'),
        tests=(f"{SERVERS}test_servers_are_what_a_deployment_would_have",),
    ),
    # Migrations
    fault(
        "runners-do-not-take-turns",
        "Two machines that deploy at once apply one file twice.",
        ("migrations/runner.py", _RUNNERS_TURN, _RUNNERS_TURN.replace("while not await", "while None is await")),
        tests=(
            f"{MIGRATE}test_four_runners_at_once_apply_each_file_once",
            f"{MIGRATE}test_a_runner_waits_for_another_without_holding_a_snapshot",
        ),
    ),
    fault(
        "migration-tried-once",
        "A deploy fails because one long query was running.",
        ("migrations/runner.py", "ATTEMPTS_MAX: Final = 10\n", "ATTEMPTS_MAX: Final = 1\n"),
        tests=(f"{MIGRATE}test_a_statement_that_waits_for_a_table_gives_way_and_is_tried_again",),
    ),
    fault(
        "dead-runner-keeps-its-turn",
        "A deploy that was killed blocks the next one for ten minutes.",
        ("migrations/runner.py", "SET client_connection_check_interval = '2s';\n", ""),
        tests=(f"{MIGRATE}test_a_killed_runner_gives_its_turn_up_in_the_middle_of_a_statement",),
    ),
    fault(
        "edited-migration-unnoticed",
        "Two databases of one version have two schemas.",
        ("migrations/runner.py", "migration.checksum != row.checksum or migration.file_name", "migration.file_name"),
        tests=(f"{MIGRATE}test_an_edited_or_renamed_applied_file_is_named",),
    ),
)
