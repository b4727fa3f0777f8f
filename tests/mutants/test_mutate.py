"""The mutants themselves: `make mutants` is only as good as the mistakes it makes."""

from tests.mutants.explained import EXPLAINED
from tests.mutants.mutate import mutants
from tests.mutants.run import every_mutant

QUERY = """-- Comments are no code: a = b.
UPDATE windows w SET held = w.held - r.held, spent = w.spent + r.spent
FROM rows AS r(id uuid)
WHERE w.id = r.id AND w.status IN ('queued', 'running') AND (w.max IS NULL OR w.held <= w.max)
RETURNING w.id"""


def test_each_kind_of_mistake_is_made_once_in_each_place() -> None:
    found = {mutant.name.removeprefix("m.q: "): mutant.text for mutant in mutants("m", "q", QUERY)}
    assert [name for name in found if name.startswith(("sign", "condition", "one", "forget"))] == [
        "forget `held = w.held - r.held,`",
        "sign `-` to `+`",
        "forget `, spent = w.spent + r.spent`",
        "sign `+` to `-`",
        "condition `w.id = r.id` to `true`",
        "condition `w.status IN ('queued', 'running')` to `true`",
        "one of two `IN ('queued', 'running')` to `IN ('queued')`",
        "one of two `IN ('queued', 'running')` to `IN ('running')`",
        "condition `(w.max IS NULL OR w.held <= w.max)` to `true`",
    ]
    assert "WHERE true AND w.status" in found["condition `w.id = r.id` to `true`"]
    assert "w.held < w.max" in found["flip `<=` to `<`"]
    assert not any("Comments" in text for text in found.values())


def test_what_is_left_out_of_orders_locks_and_conflicts() -> None:
    lock = mutants("m", "q", "SELECT id FROM a WHERE id = ANY(x) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED")
    assert {mutant.text for mutant in lock if mutant.kind == "drop"} == {
        "SELECT id FROM a WHERE id = ANY(x) FOR NO KEY UPDATE SKIP LOCKED",
        "SELECT id FROM a WHERE id = ANY(x) ORDER BY id",
    }
    insert = mutants("m", "q", "INSERT INTO a SELECT 1 ON CONFLICT (id) DO UPDATE SET n = a.n + 1")
    assert {mutant.text for mutant in insert if mutant.kind in {"drop", "ignore"}} == {
        "INSERT INTO a SELECT 1",
        "INSERT INTO a SELECT 1 ON CONFLICT (id) DO NOTHING",
    }


def test_every_mutant_has_a_name_of_its_own_and_the_explained_ones_are_there() -> None:
    names = [mutant.name for mutant in every_mutant()]
    assert len(set(names)) == len(names)
    assert set(EXPLAINED) <= set(names)
