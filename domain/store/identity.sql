-- name: account_insert
-- Make an account, unless its handle is taken, or was somebody's who left: then no row comes back.
INSERT INTO accounts (id, handle, kind, plan, billing, created_at)
SELECT %(id)s, %(handle)s::text, %(kind)s, %(plan)s, %(billing)s, %(now)s
WHERE NOT EXISTS (SELECT FROM retired_handles WHERE handle_hash = sha256(convert_to(%(handle)s::text, 'UTF8')))
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
  id, account_id, prefix, secret_hash, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, allowed_origins,
  created_at, expires_at)
VALUES (
  %(id)s, %(account_id)s, %(prefix)s, %(secret_hash)s, %(name)s, %(scopes)s, %(made_by_key)s, %(rate_limit_rpm)s,
  %(open_casts_max)s, %(allowed_origins)s, %(now)s, %(expires_at)s)

-- name: key_get
-- Read one key of an account by id.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, allowed_origins, created_at,
  expires_at, revoked_at, last_used_at, rotated_at, previous_prefix, previous_until
FROM api_keys WHERE account_id = %(account_id)s AND id = %(id)s

-- name: key_by_prefix
-- Read one key of an account by its public part, or by the one it had before its last rotation.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, allowed_origins, created_at,
  expires_at, revoked_at, last_used_at, rotated_at, previous_prefix, previous_until
FROM api_keys WHERE account_id = %(account_id)s AND (prefix = %(prefix)s OR previous_prefix = %(prefix)s)

-- name: keys_list
-- Page through the keys of an account that are not revoked, newest first.
SELECT id, account_id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, allowed_origins, created_at,
  expires_at, revoked_at, last_used_at, rotated_at, previous_prefix, previous_until
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
-- End a key with every secret it has; ending it again changes nothing, not even the time.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s)
WHERE account_id = %(account_id)s AND (prefix = %(prefix)s OR previous_prefix = %(prefix)s)
RETURNING id

-- name: key_update
-- Set what may be changed of a key that is not revoked; the caller has locked the account. Open casts are counted of keys
-- alone that may have so many only, so they are counted anew here.
UPDATE api_keys SET name = %(name)s, scopes = %(scopes)s, rate_limit_rpm = %(rate_limit_rpm)s,
  open_casts_max = %(open_casts_max)s,
  open_casts = CASE WHEN %(open_casts_max)s::integer IS NULL THEN 0 ELSE (
    SELECT count(*) FROM casts
    WHERE account_id = %(account_id)s AND key_id = %(id)s AND status IN ('queued', 'running')) END,
  expires_at = %(expires_at)s, allowed_origins = %(allowed_origins)s
WHERE account_id = %(account_id)s AND id = %(id)s AND revoked_at IS NULL

-- name: key_rotate
-- Give a key another secret; the one it had stays good until `previous_until`, where that is given, and no older one.
UPDATE api_keys SET prefix = %(prefix)s, secret_hash = %(secret_hash)s, rotated_at = %(now)s,
  previous_prefix = CASE WHEN %(previous_until)s::timestamptz IS NOT NULL THEN prefix END,
  previous_secret_hash = CASE WHEN %(previous_until)s::timestamptz IS NOT NULL THEN secret_hash END,
  previous_until = %(previous_until)s::timestamptz
WHERE account_id = %(account_id)s AND id = %(id)s AND revoked_at IS NULL

-- name: keys_use
-- Note when keys were last used, at most once a minute for each, however many processes see it. What somebody holds is
-- left for the next time: this must neither wait for a batch of casts nor be waited for in a circle.
WITH used AS (
  SELECT id, used_at FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS u(id, used_at)
), free AS (
  SELECT k.id, used.used_at FROM api_keys k JOIN used ON used.id = k.id
  WHERE k.last_used_at IS NULL OR k.last_used_at <= used.used_at - interval '1 minute'
  FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE api_keys k SET last_used_at = free.used_at FROM free WHERE k.id = free.id
RETURNING k.id

-- name: keys_by_prefix
-- Who each key belongs to and what is stored of its secret, now and before its last rotation while that is good.
SELECT k.id, k.account_id, a.handle, k.prefix, k.name, k.secret_hash, k.revoked_at IS NOT NULL AS revoked
FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.prefix = ANY(%(prefixes)s)
UNION ALL
SELECT k.id, k.account_id, a.handle, k.previous_prefix, k.name, k.previous_secret_hash, k.revoked_at IS NOT NULL
FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.previous_prefix = ANY(%(prefixes)s) AND k.previous_until > clock_timestamp()

-- name: key_revoke_leaked
-- End a key whose secret is known to be out, unless that secret was rotated away in the meantime.
UPDATE api_keys SET revoked_at = %(now)s
WHERE id = %(id)s AND revoked_at IS NULL AND (secret_hash = %(secret_hash)s OR previous_secret_hash = %(secret_hash)s)

-- name: accounts_lock
-- Take the mutexes of several accounts, in the one order everybody uses.
SELECT id FROM accounts WHERE id = ANY(%(account_ids)s) ORDER BY id FOR NO KEY UPDATE
-- name: creation_get
-- What a request under this idempotency key made before.
SELECT request_hash, cast_ids FROM idempotency_keys WHERE account_id = %(account_id)s AND key = %(key)s AND mode = 'live'

-- name: creation_insert
-- Remember what a request made; the column holds the ids of whatever was made, casts mostly.
INSERT INTO idempotency_keys (account_id, key, request_hash, cast_ids, created_at)
VALUES (%(account_id)s, %(key)s, %(request_hash)s, %(made_ids)s, %(now)s)
