import re
from pathlib import Path

import pytest

from migrations.files import MigrationError, read_folder, statement_starts


def refusal(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    with pytest.raises(MigrationError) as caught:
        read_folder(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("1_first.sql", "-- up\nSELECT 1;\n-- down\n", "name it NNNN_what_it_does.sql"),
        ("0001_First.sql", "-- up\nSELECT 1;\n-- down\n", "name it NNNN_what_it_does.sql"),
        ("0001_first.sql", "SELECT 1;\n", "needs one line `-- up`"),
        ("0001_first.sql", "-- down\nSELECT 1;\n-- up\nSELECT 1;\n", "needs one line `-- up`"),
        ("0001_first.sql", "-- up\nSELECT 1;\n-- up\n-- down\n", "needs one line `-- up`"),
        ("0001_first.sql", "-- up\n-- nothing; yet\n-- down\nSELECT 1;\n", "no statement under `-- up`"),
        ("0001_first.sql", "-- up\nSELECT 1;\nCOMMIT;\n-- down\n", "line 3: a file is one transaction"),
        ("0001_first.sql", "-- up\nSELECT 1;\n-- down\n/* x */ begin;\n", "line 4: a file is one transaction"),
        (
            "0001_first.sql",
            "-- up\nCREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\nEND;\n-- down\n",
            "line 3: a file is one transaction already",
        ),
        ("0001_first.sql", "-- up\nCOPY t FROM STDIN;\n-- down\n", "line 2: there is no client to COPY"),
    ],
)
def test_a_file_that_breaks_a_rule_is_named_with_what_to_do(tmp_path: Path, name: str, text: str, message: str) -> None:
    found = refusal(tmp_path, name, text)
    assert found.startswith(name)
    assert re.search(re.escape(message), found)


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- up\nSELECT 1;\n-- down\n")
    assert "have the same number" in refusal(tmp_path, "0001_b.sql", "-- up\nSELECT 1;\n-- down\n")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_bytes(b"-- up\nSELECT '\xff';\n-- down\n")
    with pytest.raises(MigrationError, match="not UTF-8 at byte 14"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("sql", "starts"),
    [
        ("", []),
        (" ; -- ;\n; /* ; */", []),
        ("SELECT 1", [0]),
        ("SELECT 1;\n-- x;\nSELECT 2;", [0, 16]),
        ("SELECT ';', \";\", $$;$$, $a$;$$;$a$, 'it''s;';X", [0, 45]),
        (r"SELECT E'\';', e';';X", [0, 20]),
        ("SELECT a$b;X", [0, 11]),
    ],
)
def test_statements_start_where_postgres_says(sql: str, starts: list[int]) -> None:
    assert list(statement_starts(sql)) == starts


def test_the_projects_own_files_can_be_read_and_all_go_back() -> None:
    migrations = read_folder()
    assert [migration.version for migration in migrations] == list(range(1, len(migrations) + 1))
    assert [migration.file_name for migration in migrations if migration.down is None] == []
