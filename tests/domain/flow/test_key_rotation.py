import asyncio
import os
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.create_key import CreatedKey, NewKey, create_key
from domain.flow.creation import IdempotentCall
from domain.flow.revoke_key import revoke_key
from domain.flow.revoke_leaked import LeakedKey, revoke_leaked
from domain.flow.rotate_key import RotatedKey, Rotation, rotate_key
from domain.flow.settle import settle
from domain.flow.update_key import update_key
from domain.model.admission import Accepted, AdmissionRequest, Judged
from domain.model.api_key import ENTROPY_BYTES, MintedKey, mint
from domain.model.audit import OPERATOR
from domain.model.errors import Code, Refusal, RefusedError
from domain.model.key_rules import SCOPES_DEFAULT, KeyChange, KeyTerms
from domain.model.periods import Period
from domain.store import identity
from domain.store.connection import Pool, transaction
from domain.store.identity import ApiKey
from domain.store.principals import principals_by_prefix
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World, admit

PLAIN = KeyTerms(scopes=SCOPES_DEFAULT, rate_limit_rpm=None, open_casts_max=None, expires_at=None)
KEYS_WRITE = msgspec.structs.replace(PLAIN, scopes=SCOPES_DEFAULT | {"keys:write"})
DAY_S = 86_400


def minted() -> MintedKey:
    return mint(os.urandom(ENTROPY_BYTES))


async def create(world: World, pool: Pool, terms: KeyTerms = PLAIN, text: MintedKey | None = None) -> ApiKey:
    text = text or minted()
    async with transaction(pool) as connection:
        now = await identity.instant_read(connection)
        created: CreatedKey = await create_key(
            connection,
            NewKey(
                id=uuid4(),
                account_id=world.account_id,
                made_by=None,
                prefix=text.prefix,
                secret_hash=f"hash of {text.text}",
                name="ci",
                terms=terms,
                powers=frozenset({*terms.scopes}),
            ),
            now=now,
            actor=OPERATOR,
        )
    return created.key


async def rotate(
    world: World,
    pool: Pool,
    prefix: str,
    text: MintedKey | None = None,
    *,
    grace_s: int = DAY_S,
    by: UUID | None = None,
    asked_with: str | None = None,
    call: IdempotentCall | None = None,
) -> RotatedKey:
    text = text or minted()
    rotation = Rotation(
        account_id=world.account_id,
        prefix=prefix,
        asked_by=by,
        asked_with=asked_with,
        new_prefix=text.prefix,
        new_secret_hash=f"hash of {text.text}",
        grace_s=grace_s,
    )
    async with transaction(pool) as connection:
        return await rotate_key(connection, rotation, call=call, actor=OPERATOR)


async def living_prefixes(pool: Pool, *prefixes: str) -> list[str]:
    async with transaction(pool) as connection:
        owners = await principals_by_prefix(connection, prefixes=list(prefixes))
    return [prefix for prefix in prefixes if prefix in owners and owners[prefix].alive]


def request(world: World, key: ApiKey, prefix: str) -> AdmissionRequest:
    return AdmissionRequest(account_id=world.account_id, key_id=key.id, key_prefix=prefix, casts=(world.spec(),))


async def may_cast(world: World, pool: Pool, key: ApiKey, prefix: str) -> bool:
    (verdict,) = await admit(pool, request(world, key, prefix))
    if isinstance(verdict, Refusal):
        assert verdict.code is Code.UNAUTHORIZED
        return False
    assert isinstance(verdict, Judged)
    return isinstance(verdict.results[0], Accepted)


async def test_a_rotation_keeps_the_row_and_for_its_grace_the_secret_of_before(world: World, pool: Pool) -> None:
    key = await create(world, pool)
    rotated = (await rotate(world, pool, key.prefix)).key
    assert (rotated.id, rotated.created_at, rotated.previous_prefix) == (key.id, key.created_at, key.prefix)
    assert rotated.rotated_at is not None
    assert rotated.previous_until == rotated.rotated_at + timedelta(seconds=DAY_S)
    assert await living_prefixes(pool, key.prefix, rotated.prefix) == [key.prefix, rotated.prefix]
    assert await may_cast(world, pool, key, key.prefix)
    assert await may_cast(world, pool, key, rotated.prefix)
    async with transaction(pool) as connection:
        owners = await principals_by_prefix(connection, prefixes=[key.prefix, rotated.prefix])
    assert (owners[key.prefix].superseded, owners[rotated.prefix].superseded) == (True, False)
    await world.rows("UPDATE api_keys SET previous_until = clock_timestamp() WHERE id = %s", key.id)
    assert await living_prefixes(pool, key.prefix, rotated.prefix) == [rotated.prefix]
    assert not await may_cast(world, pool, key, key.prefix)


async def test_rotating_twice_ends_the_oldest_secret_at_once(world: World, pool: Pool) -> None:
    key = await create(world, pool)
    second = (await rotate(world, pool, key.prefix)).key
    third = (await rotate(world, pool, second.prefix)).key
    assert await living_prefixes(pool, key.prefix, second.prefix, third.prefix) == [second.prefix, third.prefix]
    assert [await may_cast(world, pool, key, p) for p in (key.prefix, second.prefix, third.prefix)] == [0, 1, 1]


async def test_without_grace_the_secret_ends_with_the_commit(world: World, pool: Pool) -> None:
    key = await create(world, pool)
    rotated = (await rotate(world, pool, key.prefix, grace_s=0)).key
    assert (rotated.previous_prefix, rotated.previous_until) == (None, None)
    assert await living_prefixes(pool, key.prefix, rotated.prefix) == [rotated.prefix]
    assert not await may_cast(world, pool, key, key.prefix)


async def test_no_cast_is_accepted_for_a_secret_after_the_rotation_that_ended_it(world: World, pool: Pool) -> None:
    """Batches that began before may go either way; one that begins after the answer knows the new secret only."""
    key = await create(world, pool)
    start = asyncio.Barrier(4)
    ended = asyncio.Event()
    late: list[bool] = []

    async def cast() -> None:
        await start.wait()
        while True:
            knew = ended.is_set()
            accepted = await may_cast(world, pool, key, key.prefix)
            if knew:
                late.append(accepted)
                return

    async def rotate_it() -> None:
        await start.wait()
        await rotate(world, pool, key.prefix, grace_s=0)
        ended.set()

    await asyncio.gather(cast(), cast(), cast(), rotate_it())
    assert late == [False, False, False]


async def test_revoking_ends_both_secrets_by_either_name(world: World, pool: Pool) -> None:
    for name in ("prefix", "previous_prefix"):
        key = await create(world, pool)
        rotated = (await rotate(world, pool, key.prefix)).key
        async with transaction(pool) as connection:
            await revoke_key(connection, account_id=world.account_id, prefix=getattr(rotated, name), actor=OPERATOR)
        assert await living_prefixes(pool, key.prefix, rotated.prefix) == []
        assert not await may_cast(world, pool, key, key.prefix)
        assert not await may_cast(world, pool, key, rotated.prefix)
        with pytest.raises(RefusedError) as caught:
            await rotate(world, pool, rotated.prefix)
        assert caught.value.refusal.code is Code.CONFLICT


async def test_the_same_idempotent_rotation_at_once_happens_once(world: World, pool: Pool) -> None:
    key = await create(world, pool)
    call = IdempotentCall(key="k", request_hash=b"h" * 32)
    results = await asyncio.gather(*(rotate(world, pool, key.prefix, call=call) for _ in range(4)))
    assert sorted(result.replayed for result in results) == [False, True, True, True]
    assert len({result.key.prefix for result in results}) == 1
    assert results[0].key.previous_prefix == key.prefix
    await world.rows(
        "INSERT INTO idempotency_keys (account_id, key, request_hash, cast_ids, created_at)"
        " VALUES (%s, 'other', %s, %s, now())",
        world.account_id,
        b"h" * 32,
        [uuid4()],
    )
    with pytest.raises(RefusedError) as caught:
        await rotate(world, pool, key.prefix, call=IdempotentCall(key="other", request_hash=b"h" * 32))
    assert caught.value.refusal.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_rotating_by_the_name_of_before_is_refused_so_that_a_repeat_ends_nothing(
    world: World, pool: Pool
) -> None:
    key = await create(world, pool)
    rotated = (await rotate(world, pool, key.prefix)).key
    for name, code in ((key.prefix, Code.CONFLICT), ("sk_live_00000000", Code.NOT_FOUND)):
        with pytest.raises(RefusedError) as caught:
            await rotate(world, pool, name)
        assert caught.value.refusal.code is code
    assert await living_prefixes(pool, key.prefix, rotated.prefix) == [key.prefix, rotated.prefix]


async def test_who_may_rotate(world: World, pool: Pool) -> None:
    """The key itself; a key with `keys:write` that may as much and has no budget; nobody with an old secret."""
    own = await create(world, pool)
    weak = await create(world, pool)
    maker = await create(world, pool, KEYS_WRITE)
    strong = await create(world, pool, msgspec.structs.replace(PLAIN, scopes=frozenset({"admin"})))
    limited = await create(world, pool, KEYS_WRITE)
    dead = await create(world, pool, KEYS_WRITE)
    async with transaction(pool) as connection:
        await revoke_key(connection, account_id=world.account_id, prefix=dead.prefix, actor=OPERATOR)
        budget = NewBudget(
            id=uuid4(),
            account_id=world.account_id,
            scope="key",
            scope_id=limited.id,
            period=Period.DAILY,
            soft_limit_micros=None,
            hard_limit_micros=10**6,
        )
        await create_budget(connection, budget, actor=OPERATOR)
    for by, target, code in (
        (weak, own, Code.FORBIDDEN),
        (maker, strong, Code.FORBIDDEN),
        (limited, own, Code.FORBIDDEN),
        (dead, own, Code.UNAUTHORIZED),
    ):
        with pytest.raises(RefusedError) as caught:
            await rotate(world, pool, target.prefix, by=by.id)
        assert caught.value.refusal.code is code
    with pytest.raises(RefusedError) as caught:
        await rotate(world, pool, own.prefix, by=own.id, asked_with="sk_live_00000000")
    assert caught.value.refusal.code is Code.FORBIDDEN
    for by, target in ((own, own), (limited, limited), (maker, weak)):
        rotated = await rotate(world, pool, target.prefix, by=by.id)
        assert rotated.key.id == target.id


async def test_an_expired_key_is_not_rotated_but_can_be_renamed_and_given_time(world: World, pool: Pool) -> None:
    key = await create(world, pool)
    await world.rows("UPDATE api_keys SET expires_at = now() WHERE id = %s", key.id)
    with pytest.raises(RefusedError) as caught:
        await rotate(world, pool, key.prefix)
    assert caught.value.refusal.code is Code.CONFLICT
    async with transaction(pool) as connection:
        now = await identity.instant_read(connection)
        for change in (KeyChange(name="old"), KeyChange(name="old", expires_at=None)):
            changed = await update_key(
                connection,
                account_id=world.account_id,
                prefix=key.prefix,
                change=change,
                changed_by=None,
                now=now,
                actor=OPERATOR,
            )
            assert changed.name == "old"
    assert await living_prefixes(pool, key.prefix) == [key.prefix]


async def test_a_bound_on_open_casts_counts_those_that_are_open_when_it_is_set(world: World, pool: Pool) -> None:
    ((prefix,),) = await world.rows("SELECT prefix FROM api_keys WHERE id = %s", world.key_id)

    async def bound(open_casts_max: int | None) -> int:
        async with transaction(pool) as connection:
            now = await identity.instant_read(connection)
            asked = {"account_id": world.account_id, "prefix": prefix, "changed_by": None, "now": now}
            change = KeyChange(open_casts_max=open_casts_max)
            await update_key(connection, **asked, change=change, actor=OPERATOR)
        ((open_casts,),) = await world.rows("SELECT open_casts FROM api_keys WHERE id = %s", world.key_id)
        return open_casts

    assert await bound(None) == 0
    first, _, third = await accept(world, pool, *[world.spec()] * 3)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(first)], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await bound(3) == await bound(3) == 2
    assert await broken(world.database_url) == {}
    await accept(world, pool)
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Judged)
    (refused,) = verdict.results
    assert isinstance(refused, Refusal)
    assert refused.code is Code.TOO_MANY_OPEN_CASTS
    async with transaction(pool) as connection:
        await settle(connection, [event_of(third)], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert await broken(world.database_url) == {}
    assert await bound(None) == 0
    await accept(world, pool)
    assert await bound(9) == 3
    assert await broken(world.database_url) == {}


async def test_changes_happen_once_and_only_to_living_keys_of_the_account(world: World, pool: Pool) -> None:
    key, changer = await create(world, pool), await create(world, pool, KEYS_WRITE)

    async def change(prefix: str, change: KeyChange, by: UUID | None = None) -> ApiKey:
        async with transaction(pool) as connection:
            now = await identity.instant_read(connection)
            return await update_key(
                connection,
                account_id=world.account_id,
                prefix=prefix,
                change=change,
                changed_by=by,
                now=now,
                actor=OPERATOR,
            )

    wanted = KeyChange(
        rate_limit_rpm=7, open_casts_max=3, allowed_origins=("https://a.example.com",), scopes=frozenset()
    )
    first, again = await change(key.prefix, wanted, changer.id), await change(key.prefix, wanted, changer.id)
    assert first == again
    assert first.terms == KeyTerms(
        scopes=frozenset(),
        rate_limit_rpm=7,
        open_casts_max=3,
        expires_at=None,
        allowed_origins=("https://a.example.com",),
    )
    with pytest.raises(RefusedError, match="operator"):
        await change(key.prefix, KeyChange(scopes=frozenset({"admin"})))
    with pytest.raises(RefusedError, match="You lack"):
        await change(key.prefix, KeyChange(scopes=frozenset({"spells:write"})), changer.id)
    with pytest.raises(RefusedError) as caught:
        await change("sk_live_00000000", KeyChange(name="x"))
    assert caught.value.refusal.code is Code.NOT_FOUND


async def test_leaked_keys_are_revoked_with_all_their_secrets_and_nothing_else_is(world: World, pool: Pool) -> None:
    texts = {name: minted() for name in ("current", "previous", "ended", "innocent", "unknown")}
    entropy = os.urandom(ENTROPY_BYTES)
    texts["current"] = mint(entropy)
    # The same public part with another secret: well-formed, and nobody's.
    made_up = mint(entropy[: ENTROPY_BYTES // 2] + os.urandom(ENTROPY_BYTES - ENTROPY_BYTES // 2))
    assert (made_up.prefix, made_up.text != texts["current"].text) == (texts["current"].prefix, True)
    keys = {name: await create(world, pool, text=texts[name]) for name in texts if name != "unknown"}
    rotated = (await rotate(world, pool, keys["previous"].prefix)).key
    await rotate(world, pool, keys["ended"].prefix, grace_s=0)
    wrong = mint(b"\1" * ENTROPY_BYTES).text

    async def run() -> list[LeakedKey]:
        found = [text.text for name, text in texts.items() if name != "innocent"]
        async with transaction(pool) as connection:
            return await revoke_leaked(
                connection,
                [*found, made_up.text, wrong],
                matches=lambda stored, text: stored == f"hash of {text}",
                actor=OPERATOR,
            )

    first, again = await run(), await run()
    revoked = {keys["current"].id: texts["current"].prefix, keys["previous"].id: texts["previous"].prefix}
    assert {key.key_id: key.prefix for key in first} == revoked == {key.key_id: key.prefix for key in again}
    assert ([key.revoked_now for key in first], [key.revoked_now for key in again]) == ([True] * 2, [False] * 2)
    assert await living_prefixes(pool, texts["current"].prefix, texts["previous"].prefix, rotated.prefix) == []
    assert await living_prefixes(pool, keys["innocent"].prefix) == [keys["innocent"].prefix]
    assert not await may_cast(world, pool, keys["previous"], rotated.prefix)
    async with transaction(pool) as connection:
        assert await revoke_leaked(connection, [], matches=lambda _, __: True, actor=OPERATOR) == []
        assert not await identity.key_rotate(
            connection,
            account_id=world.account_id,
            key_id=keys["current"].id,
            prefix="sk_live_11111111",
            secret_hash="x",
            previous_until=None,
            now=await identity.instant_read(connection),
        )
