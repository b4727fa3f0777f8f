-- name: account_insert
-- Make an account, unless its handle is taken: then no row comes back.
INSERT INTO accounts (id, handle, kind, plan, billing, created_at)
VALUES (%(id)s, %(handle)s, %(kind)s, %(plan)s, %(billing)s, %(now)s)
ON CONFLICT (handle) DO NOTHING
RETURNING id

-- name: user_insert
-- Give a personal account its user.
INSERT INTO users (id, account_id, email, created_at) VALUES (%(id)s, %(account_id)s, %(email)s, %(now)s)

-- name: account_by_handle
-- Find an account and its user's address by handle.
SELECT a.id, a.handle, a.kind, a.status, a.plan, a.billing, u.email
FROM accounts a LEFT JOIN users u ON u.account_id = a.id
WHERE a.handle = %(handle)s

-- name: account_lock
-- Take the mutex of one account's money, keys and limits. What depends on it is read by a later statement.
SELECT status FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE

-- name: patience_set
-- A person's change of keys or budgets may wait behind batches of casts for longer than a cast may.
SELECT set_config('lock_timeout', %(lock_timeout_ms)s::text, true),
  set_config('statement_timeout', %(statement_timeout_ms)s::text, true)

-- name: instant_read
-- The instant a change belongs to, read after its lock.
SELECT clock_timestamp()

-- name: key_insert
-- Make a key; its prefix or id taken is an error.
INSERT INTO api_keys (
  id, account_id, prefix, secret_hash, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, created_at, expires_at)
VALUES (
  %(id)s, %(account_id)s, %(prefix)s, %(secret_hash)s, %(name)s, %(scopes)s, %(made_by_key)s, %(rate_limit_rpm)s,
  %(open_casts_max)s, %(now)s, %(expires_at)s)

-- name: key_get
-- Read one key of an account by id.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, created_at, expires_at,
  revoked_at
FROM api_keys WHERE account_id = %(account_id)s AND id = %(id)s

-- name: key_by_prefix
-- Read one key of an account by its public part.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, created_at, expires_at,
  revoked_at
FROM api_keys WHERE account_id = %(account_id)s AND prefix = %(prefix)s

-- name: keys_list
-- Page through the keys of an account that are not revoked, newest first.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, created_at, expires_at,
  revoked_at
FROM api_keys
WHERE account_id = %(account_id)s AND revoked_at IS NULL
  AND (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s

-- name: keys_count
-- How many keys of an account still open something.
SELECT count(*) FROM api_keys
WHERE account_id = %(account_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %(now)s)

-- name: key_revoke
-- End a key; ending it again changes nothing, not even the time.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s)
WHERE account_id = %(account_id)s AND prefix = %(prefix)s
RETURNING id

-- name: creation_get
-- What a request under this idempotency key made before.
SELECT request_hash, cast_ids FROM idempotency_keys WHERE account_id = %(account_id)s AND key = %(key)s

-- name: creation_insert
-- Remember what a request made; the column holds the ids of whatever was made, casts mostly.
INSERT INTO idempotency_keys (account_id, key, request_hash, cast_ids, created_at)
VALUES (%(account_id)s, %(key)s, %(request_hash)s, %(made_ids)s, %(now)s)
