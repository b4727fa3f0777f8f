-- name: spells_fill
-- So many spells of the developer's beside the published one, with its version.
WITH made AS (
  INSERT INTO spells (id, account_id, name)
  SELECT gen_random_uuid(), s.account_id, 'other-' || i
  FROM generate_series(1, %(spells)s) AS i, (SELECT account_id FROM spells ORDER BY id LIMIT 1) AS s
  RETURNING id, account_id
)
INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)
SELECT gen_random_uuid(), made.id, made.account_id, v.version, v.digest, v.size_bytes, v.manifest
FROM made, (SELECT * FROM spell_versions ORDER BY id LIMIT 1) AS v

-- name: keys_fill
-- Some more keys of the account; nobody asks with them.
INSERT INTO api_keys (id, account_id, prefix, secret_hash, name)
SELECT gen_random_uuid(), %(account_id)s, 'sk_live_bench' || i, 'x', 'bench ' || i FROM generate_series(2, %(keys)s) AS i

-- name: key_widen
-- The one that asks may see the bill.
UPDATE api_keys SET scopes = scopes || '{billing:read}'::text[] WHERE account_id = %(account_id)s AND secret_hash <> 'x'

-- name: casts_fill
-- Final casts of the account, spread evenly over the months up to now, over all spells and keys.
WITH spell AS (
  SELECT array_agg(v.spell_id ORDER BY v.id) AS spell_ids, array_agg(v.id ORDER BY v.id) AS version_ids,
    array_agg(v.account_id ORDER BY v.id) AS creator_ids
  FROM spell_versions v
), key AS (SELECT array_agg(id ORDER BY id) AS ids FROM api_keys WHERE account_id = %(account_id)s)
INSERT INTO casts (
  id, account_id, key_id, spell_id, version_id, status, pool, on_wire, accepted_at, deadline_at, started_at, finished_at,
  data_expires_at, fuel_limit, wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit, price_version,
  creator_price_micros, creator_id, held_micros, cost_micros, funding, input, output, log, error_message, exit_code, fuel,
  cpu_us, memory_bytes_peak, wall_us, attempts)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000a' || lpad(to_hex(i), 15, '0'))::uuid,
  %(account_id)s, key.ids[1 + i %% cardinality(key.ids)], spell_ids[1 + i * 7 %% cardinality(spell_ids)],
  version_ids[1 + i * 7 %% cardinality(spell_ids)], 'succeeded', 'default', false, at, at + interval '15 minutes', at,
  at + interval '1 second', at + interval '30 days', 10000000, 10000, 67108864, 1048576, 65536, 1, 0,
  creator_ids[1 + i * 7 %% cardinality(spell_ids)], 1015, 1001, 'metered', '"Ada"', '"Hello, Ada!"', '', '', 0, 20000,
  200, 131072, 300, 1
FROM generate_series(0, %(casts)s::bigint - 1) AS i
CROSS JOIN spell CROSS JOIN key
CROSS JOIN LATERAL (
  SELECT date_trunc('month', now()) - make_interval(months => %(months)s - 1)
    + (now() - date_trunc('month', now()) + make_interval(months => %(months)s - 1)) * (i::float8 / %(casts)s) AS at
) AS moment

-- name: usage_fill
-- The usage event of each of them.
INSERT INTO usage_events (id, account_id, key_id, spell_id, outcome, month, fuel, cpu_us, memory_bytes_peak, wall_us,
  cost_micros, funding, settled_at)
SELECT id, account_id, key_id, spell_id, 'succeeded', date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date, fuel,
  cpu_us, memory_bytes_peak, wall_us, cost_micros, funding, finished_at
FROM casts

-- name: counters_fill
-- The counters as the gate raises them (`casts_end` in domain/store/settlement.sql).
INSERT INTO usage_counters (account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel, cpu_us,
  cost_micros)
SELECT d.account_id, d.dimension, d.subject_id, d.period, d.starts_on, funding, count(*), count(error_code), sum(fuel),
  sum(cpu_us), sum(cost_micros)
FROM casts CROSS JOIN LATERAL (SELECT (accepted_at AT TIME ZONE 'UTC')::date AS day) AS of_day
CROSS JOIN LATERAL (VALUES
  (casts.account_id, 'account', casts.account_id, 'day', day),
  (casts.account_id, 'key', key_id, 'day', day),
  (casts.account_id, 'account_spell', spell_id, 'day', day),
  (creator_id, 'spell', spell_id, 'day', day)) AS d(account_id, dimension, subject_id, period, starts_on)
GROUP BY d.account_id, d.dimension, d.subject_id, d.period, d.starts_on, funding

-- name: months_fill
-- What the account spent, by month.
INSERT INTO account_months (account_id, month, spent_micros)
SELECT account_id, date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date, sum(cost_micros)
FROM casts GROUP BY 1, 2

-- name: transfers_fill
-- What the ledger has of it: a transfer for ten casts or so, as batches make them.
INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month, casts)
SELECT gen_random_uuid(), gen_random_uuid(), 'cast_fee', 'receivable:' || account_id, 'revenue:platform',
  sum(cost_micros), account_id, spell_id, date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date, count(*)
FROM casts GROUP BY account_id, spell_id, date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date,
  ('x' || right(id::text, 8))::bit(32)::bigint / 300
