import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from domain.flow.create_spell import NewSpell, create_spell
from domain.flow.creation import IdempotentCall
from domain.flow.edit_spell import edit_spell
from domain.flow.publish import VERSIONS_PER_SPELL_MAX, NewVersion, Publication, publish, published
from domain.flow.retire_spell import retire_spell
from domain.flow.store_module import CompiledModule, store_module
from domain.flow.yank_version import yank_version
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.manifest import parse_manifest
from domain.model.versions import Version
from domain.store import blobs, spells
from domain.store.connection import Connection, Pool, transaction
from tests.domain.patience import again
from tests.domain.world import World

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LATER = datetime(2026, 11, 21, tzinfo=UTC)
Result = TypeVar("Result")
CONTENT = bytes(range(256)) * 10_000  # 2.4 MiB: three pieces


def digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


async def patiently(pool: Pool, work: Callable[[Connection], Awaitable[Result]]) -> Result:
    """Do it in a transaction, and begin again where somebody else is at the same rows."""

    async def once() -> Result:
        async with transaction(pool) as connection:
            return await work(connection)

    return await again(once)


async def put(pool: Pool, content: bytes = CONTENT) -> None:
    compiled = CompiledModule(
        digest=digest_of(content),
        module=content,
        engine_key="engine",
        artifact_digest=digest_of(content + b"!"),
        artifact=content + b"!",
        signature=b"s" * 64,
    )
    await patiently(pool, lambda connection: store_module(connection, compiled))


def new(world: World, *, content: bytes = CONTENT, patch: int = 0, manifest: bytes = b"{}") -> NewVersion:
    return NewVersion(
        id=uuid4(),
        spell_id=uuid4(),
        account_id=world.creator_id,
        name="parser",
        version=Version(major=1, minor=0, patch=patch),
        digest=digest_of(content),
        size_bytes=len(content),
        imports=("wasi.fd_write",),
        manifest=parse_manifest(manifest),
    )


async def run(pool: Pool, version: NewVersion) -> Publication:
    return await patiently(pool, lambda connection: publish(connection, version, now=NOW, actor=OPERATOR))


async def handle(world: World) -> str:
    return (await world.rows("SELECT handle FROM accounts WHERE id = %s", world.creator_id))[0][0]


async def test_bytes_are_stored_once_in_pieces_and_read_back(world: World, pool: Pool) -> None:
    await asyncio.gather(*(put(pool) for _ in range(3)))
    await put(pool)
    assert await world.rows("SELECT count(*) FROM blobs WHERE size_bytes > 1") == [(2,)]
    async with transaction(pool) as connection:
        pieces: list[bytes] = []
        while (piece := await blobs.piece_get(connection, digest=digest_of(CONTENT), piece=len(pieces))) is not None:
            pieces.append(piece)
        assert [len(piece) for piece in pieces] == [blobs.PIECE_BYTES] * 2 + [len(CONTENT) - 2 * blobs.PIECE_BYTES]
        assert b"".join(pieces) == CONTENT
        assert await blobs.blob_size(connection, digest=digest_of(CONTENT)) == len(CONTENT)
        assert await blobs.blob_size(connection, digest=bytes(32)) is None
        artifact = await blobs.artifact_get(connection, module_digest=digest_of(CONTENT), engine_key="engine")
        assert artifact is not None
        assert (artifact.artifact_digest, artifact.signature) == (digest_of(CONTENT + b"!"), b"s" * 64)
        assert await blobs.artifact_get(connection, module_digest=digest_of(CONTENT), engine_key="next") is None


async def test_publishing_twice_makes_one_and_something_else_is_refused(world: World, pool: Pool) -> None:
    await put(pool)
    await put(pool, b"other")
    first = await run(pool, new(world, manifest=b'{"price_micros": 5, "description": "Parses."}'))
    again = await run(pool, new(world, manifest=b'{"description": "Parses.", "price_micros": 5}'))
    assert (first.made, again.made) == (True, False)
    assert again.version == first.version
    assert first.version.creator_price_micros == 5
    for other in (new(world, content=b"other"), new(world, manifest=b'{"price_micros": 6}')):
        with pytest.raises(RefusedError) as caught:
            await run(pool, other)
        assert caught.value.refusal.code is Code.VERSION_EXISTS
    assert await world.rows("SELECT description FROM spells WHERE name = 'parser'") == [("Parses.",)]


async def test_of_two_different_that_race_one_wins(world: World, pool: Pool) -> None:
    contents = [b"a", b"b", b"c", b"d"]
    for content in contents:
        await put(pool, content)
    results = await asyncio.gather(
        *(run(pool, new(world, content=content)) for content in contents), return_exceptions=True
    )
    made = [result for result in results if isinstance(result, Publication)]
    refused = [result for result in results if isinstance(result, RefusedError)]
    assert (len(made), len(refused)) == (1, 3)
    assert {error.refusal.code for error in refused} == {Code.VERSION_EXISTS}


async def test_what_is_published_is_known_before_compiling(world: World, pool: Pool) -> None:
    await put(pool)
    version = new(world)
    owner = await handle(world)

    async def known(digest: bytes, manifest: bytes | None) -> spells.SpellVersion | None:
        async with transaction(pool) as connection:
            return await published(
                connection,
                owner=owner,
                name="parser",
                version=version.version,
                digest=digest,
                manifest=None if manifest is None else parse_manifest(manifest),
            )

    assert await known(version.digest, None) is None
    stored = (await run(pool, version)).version
    assert await known(version.digest, None) == await known(version.digest, b"{}") == stored
    for digest, manifest in ((bytes(32), None), (version.digest, b'{"license": "MIT"}')):
        with pytest.raises(RefusedError) as caught:
            await known(digest, manifest)
        assert caught.value.refusal.code is Code.VERSION_EXISTS


async def test_a_spell_has_a_bounded_number_of_versions(world: World, pool: Pool) -> None:
    await put(pool)
    made = await run(pool, new(world))
    await world.rows(
        "INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)"
        " SELECT gen_random_uuid(), %s, %s, '2.0.' || n, %s, 1, '{}' FROM generate_series(2, %s) n",
        made.version.spell_id,
        world.creator_id,
        made.version.digest,
        VERSIONS_PER_SPELL_MAX,
    )
    with pytest.raises(RefusedError) as caught:
        await run(pool, new(world, patch=1))
    assert caught.value.refusal.code is Code.CONFLICT
    assert (await run(pool, new(world))).made is False


async def test_spells_are_made_edited_yanked_and_retired_twice_alike(world: World, pool: Pool) -> None:
    owner = await handle(world)
    spell = NewSpell(
        id=uuid4(), account_id=world.creator_id, owner=owner, name="parser", description="a", visibility="unlisted"
    )
    call = IdempotentCall(key="k", request_hash=b"h" * 32)
    for attempt in (False, True):
        async with transaction(pool) as connection:
            created = await create_spell(connection, spell, call=call, now=NOW, actor=OPERATOR)
        assert (created.spell.id, created.replayed) == (spell.id, attempt)
    await put(pool)
    for patch in range(2):
        assert (await run(pool, new(world, patch=patch))).version.spell_id == spell.id
    for _ in range(2):
        async with transaction(pool) as connection:
            edited = await edit_spell(
                connection,
                account_id=world.creator_id,
                owner=owner,
                name="parser",
                description="b",
                visibility=None,
                actor=OPERATOR,
                now=datetime.now(UTC),
            )
            assert (edited.description, edited.visibility) == ("b", "unlisted")
            yanked = await yank_version(
                connection,
                account_id=world.creator_id,
                owner=owner,
                name="parser",
                version="1.0.0",
                now=NOW,
                actor=OPERATOR,
            )
            assert yanked.yanked_at == NOW
    for _ in range(2):
        async with transaction(pool) as connection:
            await retire_spell(
                connection, account_id=world.creator_id, owner=owner, name="parser", now=LATER, actor=OPERATOR
            )
    assert await world.rows(
        "SELECT version, yanked_at FROM spell_versions WHERE spell_id = %s ORDER BY 1", spell.id
    ) == [
        ("1.0.0", NOW),
        ("1.0.1", LATER),
    ]


async def test_the_spell_of_another_is_not_found(world: World, pool: Pool) -> None:
    await put(pool)
    await run(pool, new(world))
    owner = await handle(world)
    async with transaction(pool) as connection:
        for attempt in (
            edit_spell(
                connection,
                account_id=world.account_id,
                owner=owner,
                name="parser",
                description="x",
                visibility=None,
                actor=OPERATOR,
                now=datetime.now(UTC),
            ),
            yank_version(
                connection,
                account_id=world.account_id,
                owner=owner,
                name="parser",
                version="1.0.0",
                now=NOW,
                actor=OPERATOR,
            ),
            retire_spell(connection, account_id=world.account_id, owner=owner, name="parser", now=NOW, actor=OPERATOR),
        ):
            with pytest.raises(RefusedError) as caught:
                await attempt
            assert caught.value.refusal.code is Code.NOT_FOUND


async def test_a_name_taken_by_oneself_is_a_conflict(world: World, pool: Pool) -> None:
    await put(pool)
    await run(pool, new(world))
    spell = NewSpell(
        id=uuid4(),
        account_id=world.creator_id,
        owner=await handle(world),
        name="parser",
        description="",
        visibility="public",
    )
    async with transaction(pool) as connection:
        with pytest.raises(RefusedError) as caught:
            await create_spell(connection, spell, now=NOW, actor=OPERATOR)
    assert caught.value.refusal.code is Code.CONFLICT


async def test_versions_that_are_not_there_cannot_be_yanked(world: World, pool: Pool) -> None:
    await put(pool)
    await run(pool, new(world))
    owner = await handle(world)
    for version in ("9.9.9", "latest", "1\0"):
        async with transaction(pool) as connection:
            with pytest.raises(RefusedError) as caught:
                await yank_version(
                    connection,
                    account_id=world.creator_id,
                    owner=owner,
                    name="parser",
                    version=version,
                    now=NOW,
                    actor=OPERATOR,
                )
        assert caught.value.refusal.code is Code.NOT_FOUND


async def test_spells_are_listed_in_pages_and_versions_found(world: World, pool: Pool) -> None:
    await put(pool)
    made = [await run(pool, new(world, patch=patch, manifest=b'{"tags": ["text"]}')) for patch in range(2)]
    spell_id = made[0].version.spell_id
    async with transaction(pool) as connection:

        async def page(viewer: UUID | None, before: spells.Spell | None, tag: str | None = None) -> list[spells.Spell]:
            place = None if before is None else (before.created_at, before.id)
            return await spells.spells_list(connection, viewer=viewer, text="r", tag=tag, before=place, limit=1)

        (first,) = await page(None, None)
        (second,) = await page(None, first)
        assert {first.name, second.name} == {"parser", "wordcount"}
        assert await page(None, second) == []
        assert [spell.name for spell in await page(None, None, "text")] == ["parser"]
        await spells.spell_update(connection, spell_id=spell_id, description="", visibility="private", deprecation=None)
        assert await page(None, None, "text") == []
        (own,) = await page(world.creator_id, None, "text")
        assert own.seen_by(world.creator_id)
        assert not own.seen_by(world.account_id)
        assert not own.seen_by(None)
        listed = await spells.versions_list(connection, spell_id=spell_id)
        assert sorted(row.version for row in listed) == ["1.0.0", "1.0.1"]
        assert sorted(await spells.versions_offered(connection, spell_id=spell_id)) == ["1.0.0", "1.0.1"]
        found = await spells.version_by_digest(connection, spell_id=spell_id, digest=digest_of(CONTENT))
        assert found is not None
        assert found.version in {"1.0.0", "1.0.1"}


async def test_modules_without_an_artifact_are_found_page_by_page(world: World, pool: Pool) -> None:
    await put(pool)
    await run(pool, new(world))
    async with transaction(pool) as connection:

        async def page(engine_key: str, after: bytes = b"") -> list[bytes]:
            return await blobs.modules_without_artifact(connection, engine_key=engine_key, after=after, limit=1)

        assert await page("engine") == [b"d" * 32]  # of the world's own spell, which nobody compiled
        both = sorted([b"d" * 32, digest_of(CONTENT)])
        assert await page("next") == both[:1]
        assert await page("next", both[0]) == both[1:]
        assert await page("next", both[1]) == []
