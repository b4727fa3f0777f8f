import inspect
from uuid import UUID

from workers import keys

UNTAGGED = {"jobs_group", "usage_group", "wake_channel", "rate"}


def names() -> dict[str, str]:
    """Return every name in workers.keys as it is for the pool `default`, shard 3."""
    found: dict[str, str] = {}
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = inspect.signature(function).parameters
        given = {"pool": "default", "queue": "default", "cast_id": UUID(int=1), "shard": 3, "subject": "a"}
        found[name] = function(**{parameter: given[parameter] for parameter in parameters if parameter in given})
    return found


def test_every_key_of_a_pool_is_on_its_shard_and_none_is_taken_twice() -> None:
    found = names()
    tagged = {name: key for name, key in found.items() if name not in UNTAGGED}
    assert len(tagged) >= 12
    assert [key for key in tagged.values() if not key.startswith("{default:3}:")] == []
    assert len(set(found.values())) == len(found)


def test_every_name_says_what_it_holds() -> None:
    undocumented = [
        name
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if not name.startswith("_") and not function.__doc__
    ]
    assert undocumented == []
