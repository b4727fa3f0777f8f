-- name: accounts_lock
-- Take the mutex of each account's money, in the one order everybody uses.
SELECT id FROM accounts WHERE id = ANY(%(account_ids)b::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: accounts_lock_free
-- The same without waiting: accounts somebody else holds are left out.
SELECT id FROM accounts WHERE id = ANY(%(account_ids)b::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED

-- name: state_read
-- All that admission needs to know, at one instant after the locks: a second statement, because after a lock wait
-- the tables joined in the first would come from the old snapshot. Rows are arrays in the order of their structs'
-- fields, for names cost Postgres more than what they name (of an account 3.1 microseconds with, 1.9 without).
WITH instant AS MATERIALIZED (
  SELECT now, (now AT TIME ZONE 'UTC')::date AS day, date_trunc('month', now AT TIME ZONE 'UTC')::date AS month
  FROM clock_timestamp() AS now
)
SELECT json_build_object(
  'now_us', (extract(epoch FROM now) * 1000000)::bigint,
  'accounts', (
    SELECT coalesce(json_agg(json_build_array(
      id, status, plan,
      subscription_active OR billing = 'off' OR (billing = 'auto' AND NOT %(billing_enabled)s),
      spend_paused, credits_ever, open_casts, open_casts_max, on_wire_default, on_wire_large,
      billing = 'off' OR (billing = 'auto' AND NOT subscription_active AND NOT %(billing_enabled)s),
      CASE WHEN price_version IS NOT NULL AND plan = 'enterprise' THEN (
        SELECT json_build_object('version', p.version, 'per_cast_micros', p.per_cast_micros,
          'per_gfuel_micros', p.per_gfuel_micros, 'platform_share_percent', p.platform_share_percent)
        FROM price_book p WHERE p.version = price_version) END)), '[]')
    FROM accounts WHERE id = ANY(%(account_ids)b::uuid[])),
  'keys', (
    SELECT coalesce(json_agg(json_build_array(
      id, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now), open_casts, open_casts_max,
      prefix, CASE WHEN previous_until > now THEN previous_prefix END)), '[]')
    FROM api_keys WHERE id = ANY(%(key_ids)b::uuid[])),
  'sessions', (
    SELECT coalesce(json_agg(id), '[]')
    FROM sessions
    WHERE id = ANY(%(session_ids)b::uuid[]) AND ended_at IS NULL AND expires_at > now
      AND last_used_at > now - make_interval(days => %(session_idle_days)s)),
  'windows', (
    SELECT coalesce(json_agg(state), '[]')
    FROM (
-- include: windows.windows_now
    ) AS windows
    WHERE account_id = ANY(%(account_ids)b::uuid[])),
  'months', (
    SELECT coalesce(json_agg(json_build_array(
      account_id, spent_micros, held_micros, free_used, free_held, test_casts)), '[]')
    FROM account_months m WHERE m.account_id = ANY(%(account_ids)b::uuid[]) AND m.month = instant.month),
  'grants', (
    SELECT coalesce(json_agg(json_build_array(
      id, account_id, priority, balance_micros, held_micros, expires_at)), '[]')
    FROM credit_grants WHERE account_id = ANY(%(account_ids)b::uuid[]) AND balance_micros > 0),
  'idempotency', (
    SELECT coalesce(json_agg(json_build_array(
      i.account_id, i.mode, i.key, encode(i.request_hash, 'base64'), i.cast_ids)), '[]')
    FROM unnest(%(idempotency_accounts)b::uuid[], %(idempotency_keys)s::text[]) AS asked(account_id, key)
    JOIN idempotency_keys i ON i.account_id = asked.account_id AND i.key = asked.key)
)::text
FROM instant

-- name: windows_insert
-- Make the windows this batch is the first to touch; their ids follow from budget and period.
INSERT INTO budget_windows (id, account_id, budget_id, starts_on, hard_limit_micros)
SELECT id, account_id, budget_id, starts_on, hard_limit_micros
FROM json_to_recordset(%(rows)s::json)
  AS r(id uuid, account_id uuid, budget_id uuid, starts_on date, hard_limit_micros bigint)
ON CONFLICT (id) DO NOTHING

-- name: windows_hold
-- The last guard of every hard budget: a window without room is not updated, and the caller counts the rows.
UPDATE budget_windows w SET held_micros = w.held_micros + r.micros
FROM unnest(%(rows.id)b::uuid[], %(rows.micros)b::bigint[]) AS r(id, micros)
WHERE w.id = r.id
  AND (w.hard_limit_micros IS NULL OR w.spent_micros + w.held_micros + r.micros <= w.hard_limit_micros)
RETURNING w.id

-- name: months_insert
-- Begin the month of accounts that had none yet: under their locks nobody else does.
INSERT INTO account_months (account_id, month)
SELECT account_id, month FROM json_to_recordset(%(rows)s::json) AS r(account_id uuid, month date)
ON CONFLICT (account_id, month) DO NOTHING

-- name: months_hold
-- Raise what the account holds of this month and of its free allowance, and how many test casts it made. An update,
-- for ON CONFLICT DO UPDATE locks the row first, which is logged as much as the change.
UPDATE account_months m SET held_micros = m.held_micros + r.micros, free_held = m.free_held + r.free,
  test_casts = m.test_casts + r.test
FROM unnest(%(rows.account_id)b::uuid[], %(rows.month)b::date[], %(rows.micros)b::bigint[], %(rows.free)b::bigint[],
  %(rows.test)b::bigint[]) AS r(account_id, month, micros, free, test)
WHERE m.account_id = r.account_id AND m.month = r.month
RETURNING m.account_id

-- name: grants_hold
-- Hold credits; a grant without that much free is not updated, and the caller counts the rows.
UPDATE credit_grants g SET held_micros = g.held_micros + r.micros
FROM unnest(%(rows.id)b::uuid[], %(rows.micros)b::bigint[]) AS r(id, micros)
WHERE g.id = r.id AND g.held_micros + r.micros <= g.balance_micros
RETURNING g.id

-- name: keys_open
-- Count the casts a key has open, where it may have so many only: `key_update` counts them where it gives a bound.
UPDATE api_keys k SET open_casts = k.open_casts + r.casts
FROM unnest(%(rows.id)b::uuid[], %(rows.casts)b::bigint[]) AS r(id, casts)
WHERE k.id = r.id AND k.open_casts_max IS NOT NULL

-- name: accounts_open
-- Count the casts an account has open and on the wire.
UPDATE accounts a
SET open_casts = a.open_casts + r.casts,
    on_wire_default = a.on_wire_default + r.on_wire_default,
    on_wire_large = a.on_wire_large + r.on_wire_large
FROM unnest(%(rows.id)b::uuid[], %(rows.casts)b::bigint[], %(rows.on_wire_default)b::bigint[],
  %(rows.on_wire_large)b::bigint[]) AS r(id, casts, on_wire_default, on_wire_large)
WHERE a.id = r.id

-- name: casts_insert
-- Write the casts with all their holds consist of. Most casts of a batch share their terms with others: those come once,
-- and by their number.
INSERT INTO casts (
  id, account_id, key_id, spell_id, version_id, status, pool, on_wire, accepted_at, deadline_at,
  fuel_limit, wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit,
  price_version, creator_price_micros, creator_rates, quote_id, creator_id, held_micros, funding, window_ids,
  grant_ids, grant_micros, metadata, traceparent, webhook_url, input)
SELECT
  r.id, r.account_id, r.key_id, t.spell_id, t.version_id, 'queued', t.pool, r.on_wire,
  to_timestamp(t.accepted_ms / 1000::float8), to_timestamp((t.accepted_ms + t.deadline_ms) / 1000::float8),
  t.fuel, t.wall_ms, t.memory_bytes, t.output_bytes, t.log_bytes,
  t.price_version, t.creator_price_micros, t.creator_rates, t.quote_id, t.creator_id, t.held_micros, t.funding,
  r.window_ids::uuid[], r.grant_ids::uuid[], r.grant_micros::bigint[], r.metadata, r.traceparent, t.webhook_url,
  r.input
FROM unnest(
  %(rows.id)b::uuid[], %(rows.account_id)b::uuid[], %(rows.key_id)b::uuid[], %(rows.on_wire)b::boolean[],
  %(rows.window_ids)b::text[], %(rows.grant_ids)b::text[], %(rows.grant_micros)b::text[], %(rows.metadata)b::text[],
  %(rows.traceparent)b::text[], %(inputs)b::bytea[], %(terms_of)b::bigint[]
) AS r(
  id, account_id, key_id, on_wire, window_ids, grant_ids, grant_micros, metadata, traceparent, input, terms)
-- Without its terms a cast is refused by its columns.
LEFT JOIN ROWS FROM (
  json_to_recordset(%(terms)s::json) AS (
    spell_id uuid, version_id uuid, pool text, accepted_ms bigint, deadline_ms bigint,
    fuel bigint, wall_ms integer, memory_bytes bigint, output_bytes integer, log_bytes integer,
    price_version integer, creator_price_micros bigint, creator_rates bigint[], quote_id uuid, creator_id uuid,
    held_micros bigint, funding text, webhook_url text)
) WITH ORDINALITY AS t(
  spell_id, version_id, pool, accepted_ms, deadline_ms, fuel, wall_ms, memory_bytes, output_bytes, log_bytes,
  price_version, creator_price_micros, creator_rates, quote_id, creator_id, held_micros, funding, webhook_url, number)
  ON t.number = r.terms

-- name: idempotency_insert
-- Remember accepted requests. A key older than its 24 hours that retention has not reached yet was replayed, not here.
INSERT INTO idempotency_keys (account_id, mode, key, request_hash, cast_ids, created_at)
SELECT account_id, mode, key, decode(request_hash, 'base64'), cast_ids, to_timestamp(accepted_ms / 1000::float8)
FROM json_to_recordset(%(rows)s::json)
  AS r(account_id uuid, mode text, key text, request_hash text, cast_ids uuid[], accepted_ms bigint)
