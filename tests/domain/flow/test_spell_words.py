"""What an owner says about spells and versions: yank and back, deprecate and back, each as often as one likes."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from domain.flow.edit_spell import edit_spell
from domain.flow.edit_version import edit_version
from domain.flow.unyank_version import unyank_version
from domain.flow.yank_version import yank_version
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.store import spells
from domain.store.connection import Connection, Pool, transaction
from domain.store.spells import Spell, SpellVersion
from tests.domain.world import World

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Change = Callable[[Connection], Awaitable[SpellVersion | Spell]]


async def owner_of(world: World) -> str:
    ((handle,),) = await world.rows("SELECT handle FROM accounts WHERE id = %s", world.creator_id)
    return handle


async def twice(pool: Pool, change: Change) -> SpellVersion | Spell:
    async with transaction(pool) as connection:
        first = await change(connection)
    async with transaction(pool) as connection:
        again = await change(connection)
    assert first == again
    return again


async def test_a_yank_and_its_taking_back_may_be_repeated(world: World, pool: Pool) -> None:
    owner = await owner_of(world)
    named = {"account_id": world.creator_id, "owner": owner, "name": "wordcount", "version": "1.0.0"}
    yanked = await twice(pool, lambda connection: yank_version(connection, **named, now=NOW, actor=OPERATOR))
    assert isinstance(yanked, SpellVersion)
    assert yanked.yanked_at == NOW
    async with transaction(pool) as connection:
        assert await spells.versions_offered(connection, spell_id=world.spell_id) == []
    back = await twice(
        pool, lambda connection: unyank_version(connection, **named, actor=OPERATOR, now=datetime.now(UTC))
    )
    assert isinstance(back, SpellVersion)
    assert back.yanked_at is None
    async with transaction(pool) as connection:
        assert await spells.versions_offered(connection, spell_id=world.spell_id) == ["1.0.0"]


async def test_a_deprecation_is_said_and_taken_back(world: World, pool: Pool) -> None:
    owner = await owner_of(world)
    named = {"account_id": world.creator_id, "owner": owner, "name": "wordcount"}
    for words in ("counts wrong", None):
        version = await twice(
            pool,
            lambda connection, w=words: edit_version(
                connection, **named, version="1.0.0", deprecation=w, actor=OPERATOR, now=datetime.now(UTC)
            ),
        )
        spell = await twice(
            pool,
            lambda connection, w=words: edit_spell(
                connection,
                **named,
                description=None,
                visibility=None,
                deprecation=w,
                actor=OPERATOR,
                now=datetime.now(UTC),
            ),
        )
        assert version.deprecation == spell.deprecation == words
    async with transaction(pool) as connection:
        await edit_spell(
            connection,
            **named,
            description=None,
            visibility=None,
            deprecation="old",
            actor=OPERATOR,
            now=datetime.now(UTC),
        )
        kept = await edit_spell(
            connection, **named, description="x", visibility="unlisted", actor=OPERATOR, now=datetime.now(UTC)
        )
    assert (kept.deprecation, kept.description, kept.visibility) == ("old", "x", "unlisted")


async def test_nobody_speaks_of_what_is_not_his_or_not_there(world: World, pool: Pool) -> None:
    owner = await owner_of(world)
    for account_id, version in (
        (world.account_id, "1.0.0"),
        (world.creator_id, "9.9.9"),
        (world.creator_id, "latest"),
    ):
        named = {"account_id": account_id, "owner": owner, "name": "wordcount", "version": version}
        for change in (
            lambda connection, n=named: edit_version(
                connection, **n, deprecation="x", actor=OPERATOR, now=datetime.now(UTC)
            ),
            lambda connection, n=named: unyank_version(connection, **n, actor=OPERATOR, now=datetime.now(UTC)),
            lambda connection, n=named: yank_version(connection, **n, now=NOW, actor=OPERATOR),
        ):
            with pytest.raises(RefusedError) as caught:
                async with transaction(pool) as connection:
                    await change(connection)
            assert caught.value.refusal.code is Code.NOT_FOUND
    rows = "SELECT yanked_at, deprecation FROM spell_versions"
    assert await world.rows(rows) == [(None, None)]
