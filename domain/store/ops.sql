-- name: partition_ready
-- Whether casts of the next month have a place to go.
SELECT to_regclass('public.casts_' || to_char(%(now)s::timestamptz AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM'))
  IS NOT NULL
  AND to_regclass('public.casts_' || to_char(%(now)s::timestamptz AT TIME ZONE 'UTC', 'YYYY_MM')) IS NOT NULL

-- name: holds_list
-- Open holds, oldest first, with their owner: what stands at the top longest is what leaks.
SELECT c.id, c.account_id, a.handle, c.key_id, c.spell_id, c.status, c.pool, c.on_wire, c.held_micros, c.funding,
  c.accepted_at, c.deadline_at
FROM casts c
JOIN accounts a ON a.id = c.account_id
WHERE c.status IN ('queued', 'running') AND c.id > %(after)s
ORDER BY c.id
LIMIT %(limit)s

-- name: holds_total
-- What open casts hold, and what the months of all accounts say is held: in one snapshot the two are equal.
SELECT
  (SELECT count(*) FROM casts WHERE status IN ('queued', 'running')),
  (SELECT coalesce(sum(held_micros), 0)::bigint FROM casts WHERE status IN ('queued', 'running')),
  (SELECT coalesce(sum(held_micros), 0)::bigint FROM account_months)

-- name: trial_balance
-- Every account of the ledger with what came in and what went out; each transfer is in the list twice, so it sums to 0.
SELECT name, sum(credit_micros)::bigint, sum(debit_micros)::bigint
FROM (
  SELECT debit AS name, 0 AS credit_micros, amount_micros AS debit_micros FROM ledger_transfers
  UNION ALL
  SELECT credit, amount_micros, 0 FROM ledger_transfers
) AS sides
GROUP BY name
ORDER BY name
LIMIT %(limit)s

-- name: reconciliation_latest
-- The newest reports, newest first.
SELECT id, made_at, scope, balanced, report::text AS report FROM reconciliation_reports ORDER BY id DESC LIMIT %(limit)s

-- name: cast_terms
-- What a cast asked for, to ask for it once more, under its own limits.
SELECT c.account_id, c.key_id, c.spell_id, c.version_id, v.account_id AS creator_id, v.digest,
  c.pool, c.status, c.fuel_limit, c.wall_ms_limit, c.memory_bytes_limit, c.output_bytes_limit, c.log_bytes_limit,
  c.input, c.metadata, c.webhook_url
FROM casts c
JOIN spell_versions v ON v.id = c.version_id
WHERE c.id = %(id)s
