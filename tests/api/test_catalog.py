import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api.auth import Principal
from api.spells.catalog import FRESH_S, RENEW_S, Catalog, ResolvedSpell
from domain.flow.create_user import create_user
from domain.flow.edit_spell import edit_spell
from domain.flow.publish import NewVersion, publish
from domain.flow.yank_version import yank_version
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.manifest import OutputEncoding, parse_manifest
from domain.model.messages import Pool as WorkerPool
from domain.model.versions import parse
from domain.store import blobs
from domain.store.connection import Pool, Role, UnavailableError, open_pool, transaction

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Clock:
    """Seconds that go on only when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Store:
    """Publishes rows without compiling, and counts how often the catalog asks for a connection."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.account_id = uuid4()

    async def publish(self, version: str, *, name: str = "words", manifest: object = None) -> bytes:
        digest = hashlib.sha256(f"{name}{version}".encode()).digest()
        number = parse(version)
        assert number is not None
        async with transaction(self.pool) as connection:
            await blobs.blob_put(connection, digest=digest, content=b"module")
            await publish(
                connection,
                NewVersion(
                    id=uuid4(),
                    spell_id=uuid4(),
                    account_id=self.account_id,
                    name=name,
                    version=number,
                    digest=digest,
                    size_bytes=6,
                    imports=(),
                    manifest=parse_manifest(json.dumps(manifest or {}).encode()),
                ),
                now=NOW,
                actor=OPERATOR,
            )
        return digest

    async def change(self, *, visibility: str) -> None:
        async with transaction(self.pool) as connection:
            await edit_spell(
                connection,
                account_id=self.account_id,
                owner="ada",
                name="words",
                description=None,
                visibility=visibility,
                actor=OPERATOR,
                now=datetime.now(UTC),
            )

    async def yank(self, version: str) -> None:
        async with transaction(self.pool) as connection:
            await yank_version(
                connection,
                account_id=self.account_id,
                owner="ada",
                name="words",
                version=version,
                now=NOW,
                actor=OPERATOR,
            )

    async def suspend(self) -> None:
        async with transaction(self.pool) as connection:
            await connection.execute(b"UPDATE spells SET suspended_at = now()")


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=4) as opened:
        yield opened


@pytest.fixture
async def store(pool: Pool) -> Store:
    made = Store(pool)
    async with transaction(pool) as connection:
        await create_user(
            connection,
            user_id=uuid4(),
            account_id=made.account_id,
            handle="ada",
            email=None,
            plan="free",
            billing="off",
            now=NOW,
            actor=OPERATOR,
        )
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(pool: Pool, clock: Clock) -> Catalog:
    return Catalog(pool, clock=clock)


def principal(account_id: UUID) -> Principal:
    return Principal(account_id=account_id, key_id=None, scopes=frozenset(), rate_limit_rpm=1, handle="x")


async def refusal(catalog: Catalog, reference: str, who: Principal | None = None) -> Code:
    with pytest.raises(RefusedError) as caught:
        await catalog.resolve(reference, who)
    return caught.value.refusal.code


def requests(pool: Pool) -> int:
    return pool.get_stats()["requests_num"]


async def test_a_reference_becomes_all_that_admission_needs(catalog: Catalog, store: Store) -> None:
    manifest = {
        "limits": {"fuel": 77, "wall_ms": 60_000},
        "input_schema": {"type": "integer"},
        "output_encoding": "text",
        "price_micros": 9,
    }
    digest = await store.publish("1.0.0", manifest=manifest)
    found = await catalog.resolve("ada/words", None)
    assert isinstance(found, ResolvedSpell)
    assert (found.owner, found.name, found.version, found.digest) == ("ada", "words", "1.0.0", digest)
    assert found.creator_id == store.account_id
    assert found.price is not None
    assert found.price.after.per_cast_micros == 9
    assert (found.limits_default.fuel, found.limits_max.fuel, found.pool) == (77, 77, WorkerPool.LARGE)
    assert found.output_encoding is OutputEncoding.TEXT
    assert found.input_validator is not None
    assert found.input_validator.is_valid(1)
    assert not found.input_validator.is_valid("1")


async def test_warm_answers_ask_nobody_and_a_change_shows_within_a_second(
    catalog: Catalog, store: Store, clock: Clock, pool: Pool
) -> None:
    await store.publish("1.0.0")
    first = await catalog.resolve("ada/words", None)
    asked = requests(pool)
    for _ in range(100):
        assert await catalog.resolve("ada/words", None) is first
    assert requests(pool) == asked
    await store.publish("1.1.0")
    clock.now_s = FRESH_S
    assert (await catalog.resolve("ada/words", None)).version == "1.1.0"


async def test_a_reference_in_use_is_renewed_beside_the_request(
    catalog: Catalog, store: Store, clock: Clock, pool: Pool
) -> None:
    await store.publish("1.0.0")
    await catalog.resolve("ada/words", None)
    await store.publish("1.1.0")
    clock.now_s = RENEW_S
    asked = requests(pool)
    for _ in range(10):
        assert (await catalog.resolve("ada/words", None)).version == "1.0.0"  # at once, and one look-up for all
    while (await catalog.resolve("ada/words", None)).version == "1.0.0":  # noqa: ASYNC110  # the look-up beside tells nobody when it ends
        await asyncio.sleep(0)
    assert requests(pool) == asked + 1


async def test_many_callers_share_one_look_up(catalog: Catalog, store: Store, pool: Pool) -> None:
    await store.publish("1.0.0")
    asked = requests(pool)
    await asyncio.gather(*(catalog.resolve("ada/words", None) for _ in range(50)))
    assert requests(pool) == asked + 1


async def test_what_this_process_changed_is_forgotten_even_while_it_is_looked_up(
    catalog: Catalog, store: Store
) -> None:
    await store.publish("1.0.0")
    before = asyncio.create_task(catalog.resolve("ada/words", None))
    await asyncio.sleep(0)
    await store.publish("1.1.0")
    catalog.forget("ada", "words")
    await before
    assert (await catalog.resolve("ada/words", None)).version == "1.1.0"
    assert await refusal(catalog, "ada/other") is Code.NOT_FOUND
    await store.publish("1.0.0", name="other")
    catalog.forget("ada", "other")
    assert (await catalog.resolve("ada/other", None)).name == "other"


async def test_what_was_read_before_a_change_of_ours_is_not_remembered_after_it(
    catalog: Catalog, store: Store, pool: Pool
) -> None:
    await store.publish("1.0.0")
    async with transaction(pool) as connection:
        await connection.execute(b"LOCK TABLE spell_versions IN ACCESS EXCLUSIVE MODE")
        before = asyncio.create_task(catalog.resolve("ada/words", None))
        waiting = b"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'spell_versions'::regclass"
        async with asyncio.timeout(5):
            while (await (await connection.execute(waiting)).fetchone()) == (0,):
                assert not before.done()
        await store.change(visibility="private")
        catalog.forget("ada", "words")
    assert (await before).version == "1.0.0"  # it asked before
    assert await refusal(catalog, "ada/words") is Code.NOT_FOUND


async def test_yanked_versions_are_had_by_name_or_digest_only(catalog: Catalog, store: Store) -> None:
    await store.publish("1.0.0")
    digest = await store.publish("1.1.0")
    await store.yank("1.1.0")
    for reference, version in (
        ("ada/words", "1.0.0"),
        ("ada/words@1", "1.0.0"),
        ("ada/words@1.1.0", "1.1.0"),
        (f"ada/words@sha256:{digest.hex()}", "1.1.0"),
    ):
        assert (await catalog.resolve(reference, None)).version == version
    assert await refusal(catalog, "ada/words@1.1") is Code.NOT_FOUND


async def test_private_spells_exist_for_their_owner_alone_whoever_asked_first(catalog: Catalog, store: Store) -> None:
    await store.publish("1.0.0")
    await store.change(visibility="private")
    owner, stranger = principal(store.account_id), principal(uuid4())
    assert (await catalog.resolve("ada/words", owner)).version == "1.0.0"
    assert await refusal(catalog, "ada/words", stranger) is Code.NOT_FOUND
    assert await refusal(catalog, "ada/words") is Code.NOT_FOUND
    assert (await catalog.resolve("ada/words", owner)).version == "1.0.0"


async def test_what_cannot_be_cast_is_refused(catalog: Catalog, store: Store, clock: Clock) -> None:
    await store.publish("1.0.0")
    assert await refusal(catalog, "no reference") is Code.VALIDATION
    assert await refusal(catalog, "ada/nothing") is Code.NOT_FOUND
    assert await refusal(catalog, "eve/words") is Code.NOT_FOUND
    await store.suspend()
    clock.now_s = FRESH_S
    assert await refusal(catalog, "ada/words") is Code.SPELL_SUSPENDED


async def test_an_answer_outlives_the_database_by_a_second_and_then_says_so(
    database_url: str, store: Store, clock: Clock
) -> None:
    await store.publish("1.0.0")
    async with open_pool(database_url, role=Role.ENGINE, size_max=1) as pool:
        catalog = Catalog(pool, clock=clock)
        await catalog.resolve("ada/words", None)
    clock.now_s = FRESH_S - 0.01  # the pool is closed now
    assert (await catalog.resolve("ada/words", None)).version == "1.0.0"
    clock.now_s = FRESH_S
    with pytest.raises(UnavailableError):
        await catalog.resolve("ada/words", None)
