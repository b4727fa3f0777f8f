"""The two accounts of a data folder: one that is never billed, for work, and a free one, to see limits from outside."""

import os
from datetime import datetime
from typing import Final
from uuid import uuid4

import msgspec

from api.auth import hash_key
from domain.flow.create_key import NewKey, create_key
from domain.flow.create_user import Billing, create_user
from domain.flow.open_session import open_session
from domain.model.api_key import prefix_of
from domain.model.audit import OPERATOR
from domain.model.key_rules import ACCOUNT_SCOPES, KeyTerms
from domain.model.session import ENTROPY_BYTES
from domain.store.connection import Pool, Role, open_pool, transaction
from domain.store.identity import account_by_handle, key_by_prefix
from domain.store.sessions import user_of_account
from operate.dev_secrets import DEV_KEY, FREE_KEY, DevSecrets

# A load test on one machine reaches half of it.
DEV_RATE_LIMIT_RPM: Final = 100_000


class LocalAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is made with a key whose text the data folder keeps."""

    handle: str
    key_name: str
    """In the folder's secrets."""
    billing: Billing
    rate_limit_rpm: int | None
    """None: what the platform gives every key."""


ACCOUNTS: Final = (
    LocalAccount(handle="dev", key_name=DEV_KEY, billing="off", rate_limit_rpm=DEV_RATE_LIMIT_RPM),
    LocalAccount(handle="free", key_name=FREE_KEY, billing="auto", rate_limit_rpm=None),
)


async def ensure_accounts(database_url: str, secrets: DevSecrets, *, now: datetime) -> str:
    """Make the accounts and keys that are missing; a key that was revoked or has expired gets a successor.

    Returns the token of a new session of the first account's user, which is kept nowhere.
    Raises StoreError, or RefusedError when a handle belongs to somebody else.
    """
    async with open_pool(database_url, role=Role.ENGINE, size_max=1) as pool:
        for account in ACCOUNTS:
            await _ensure(pool, account, secrets, now)
        return await _sign_in(pool, ACCOUNTS[0].handle, now)


async def _sign_in(pool: Pool, handle: str, now: datetime) -> str:
    async with transaction(pool) as connection:
        account = await account_by_handle(connection, handle=handle)
        assert account is not None, "it was made above"
        user = await user_of_account(connection, account_id=account.id)
        assert user is not None, "it was made with the account"
        opened = await open_session(
            connection,
            user_id=user.id,
            account_id=account.id,
            kind="cli",
            user_agent="this machine, by spell dev",
            address="127.0.0.1",
            now=now,
            entropy=os.urandom(ENTROPY_BYTES),
        )
    return opened.token


async def _ensure(pool: Pool, account: LocalAccount, secrets: DevSecrets, now: datetime) -> None:
    async with transaction(pool) as connection:
        user = await create_user(
            connection,
            user_id=uuid4(),
            account_id=uuid4(),
            handle=account.handle,
            email=f"{account.handle}@localhost",
            plan="free",
            billing=account.billing,
            actor=OPERATOR,
            now=now,
        )
        text = secrets.api_key(account.key_name)
        prefix = prefix_of(text)
        assert prefix is not None, f"{account.key_name} was minted by us"
        key = await key_by_prefix(connection, account_id=user.account.id, prefix=prefix)
        if key is not None and key.revoked_at is None and (key.expires_at is None or key.expires_at > now):
            return
        if key is not None:
            text = secrets.replace_api_key(account.key_name)
            prefix = prefix_of(text)
            assert prefix is not None, f"{account.key_name} was minted by us"
        new = NewKey(
            id=uuid4(),
            account_id=user.account.id,
            made_by=None,
            prefix=prefix,
            secret_hash=hash_key(text),
            name="made by spell dev",
            terms=KeyTerms(
                scopes=ACCOUNT_SCOPES, rate_limit_rpm=account.rate_limit_rpm, open_casts_max=None, expires_at=None
            ),
        )
        await create_key(connection, new, actor=OPERATOR, now=now)
