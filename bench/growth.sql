-- name: partitions_list
-- Where casts are stored.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'casts'::regclass

-- name: casts_fill
-- Final casts of these accounts in turn, spread evenly over the months up to now.
INSERT INTO casts (
  id, account_id, key_id, spell_id, version_id, status, pool, on_wire, accepted_at, deadline_at, started_at, finished_at,
  data_expires_at, fuel_limit, wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit, price_version,
  creator_price_micros, creator_id, held_micros, cost_micros, funding, input, output, log, error_message, exit_code, fuel,
  cpu_us, memory_bytes_peak, wall_us, attempts)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000a' || lpad(to_hex(i), 15, '0'))::uuid,
  (%(account_ids)s::uuid[])[1 + i %% %(accounts)s], (%(key_ids)s::uuid[])[1 + i %% %(accounts)s], %(spell_id)s,
  %(version_id)s, 'succeeded', 'default', true, at, at + interval '15 minutes', at, at + interval '1 second',
  at + interval '30 days', 10000000, 10000, 67108864, 1048576, 65536, 1, 0, %(creator_id)s, 1015, 1001, 'metered',
  '"Ada"', '"Hello, Ada!"', '', '', 0, 20000, 200, 131072, 300, 1
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
CROSS JOIN LATERAL (
  SELECT date_trunc('month', now()) - make_interval(months => %(months)s)
    + (now() - date_trunc('month', now()) + make_interval(months => %(months)s)) * (i::float8 / %(stored)s) AS at) AS moment

-- name: usage_fill
-- The usage event of each of them.
INSERT INTO usage_events (id, account_id, key_id, spell_id, outcome, month, fuel, cpu_us, memory_bytes_peak, wall_us,
  cost_micros, funding, settled_at)
SELECT id, account_id, key_id, spell_id, 'succeeded', date_trunc('month', accepted_at)::date, fuel, cpu_us,
  memory_bytes_peak, wall_us, cost_micros, funding, finished_at
FROM casts

-- name: transfers_fill
-- And what a batch of ten of one account booked.
INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month, casts)
SELECT gen_random_uuid(), gen_random_uuid(), 'cast_fee', 'receivable:' || account_id, 'revenue:platform', 10010,
  account_id, spell_id, date_trunc('month', accepted_at)::date, 10
FROM casts WHERE random() < 0.1
