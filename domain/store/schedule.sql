-- name: clock_read
-- Postgres' clock, the only one that decides when a slot is due.
SELECT clock_timestamp()

-- name: slot_claim
-- A due slot is a row: who inserts it runs the job, or who finds it begun long ago and not finished.
INSERT INTO scheduled_runs AS run (job, slot, started_at) VALUES (%(job)s, %(slot)s, clock_timestamp())
ON CONFLICT (job, slot) DO UPDATE SET started_at = excluded.started_at
WHERE run.finished_at IS NULL AND run.started_at < clock_timestamp() - %(lease)s::interval

-- name: slot_finish
-- Say what a run did; a slot without this is run again.
UPDATE scheduled_runs SET finished_at = clock_timestamp(), result = %(result)s WHERE job = %(job)s AND slot = %(slot)s

-- name: slots_trim
-- Slots are kept for a while to be looked at, not for ever.
DELETE FROM scheduled_runs WHERE slot < %(before)s

-- name: idempotency_trim
-- Replays are promised for 24 hours; in pieces, so that no admission waits for a long delete.
DELETE FROM idempotency_keys WHERE ctid IN (
  SELECT ctid FROM idempotency_keys WHERE created_at < %(before)s LIMIT %(limit)s)

-- name: partitions_ensure
-- Make the partitions of this month and the next ones.
SELECT partitions_ensure(%(first_month)s, %(months)s)

-- name: spells_crashing
-- Modules that keep killing their sandboxes.
SELECT s.id FROM spells s
WHERE s.suspended_at IS NULL AND s.id IN (
  SELECT spell_id FROM usage_events
  WHERE id >= uuid7_floor(%(since)s) AND outcome IN ('sandbox_crashed', 'poison')
  GROUP BY spell_id HAVING count(*) >= %(crashes)s)
ORDER BY s.id

-- name: creators_lock
-- Who is told of the suspension: events of an account are written under its lock.
SELECT id FROM accounts
WHERE id IN (SELECT account_id FROM spells WHERE id = ANY(%(ids)s::uuid[]))
ORDER BY id FOR NO KEY UPDATE

-- name: spells_suspend
-- Take spells off the platform until a person has looked, each once.
UPDATE spells s SET suspended_at = clock_timestamp()
FROM accounts a
WHERE s.id = ANY(%(ids)s::uuid[]) AND s.suspended_at IS NULL AND a.id = s.account_id
RETURNING s.id AS spell_id, s.account_id AS creator_id, a.handle || '/' || s.name AS name, %(reason)s::text AS reason,
  s.suspended_at

-- name: holds_read
-- What is held by windows and months, and by the open casts behind them: each pair must be equal at any instant.
SELECT
  (SELECT coalesce(sum(held_micros), 0)::bigint FROM account_months),
  (SELECT coalesce(sum(held_micros), 0)::bigint FROM casts WHERE status IN ('queued', 'running')),
  (SELECT coalesce(sum(held_micros), 0)::bigint FROM budget_windows),
  (SELECT coalesce(sum(held_micros * cardinality(window_ids)), 0)::bigint FROM casts
   WHERE status IN ('queued', 'running')),
  (SELECT count(*) FROM casts WHERE status IN ('queued', 'running'))

-- name: reconciliation_read
-- Casts = usage events = counters = ledger, for each account and the month of acceptance; rows that differ.
WITH cast_sum AS (
  SELECT account_id, count(*) AS casts, sum(cost_micros)::bigint AS micros FROM casts
  WHERE id >= uuid7_floor(%(begins)s) AND id < uuid7_floor(%(ends)s) AND status NOT IN ('queued', 'running')
  GROUP BY account_id
), usage_sum AS (
  SELECT account_id, count(*) AS casts, sum(cost_micros)::bigint AS micros FROM usage_events
  WHERE id >= uuid7_floor(%(begins)s) AND id < uuid7_floor(%(ends)s)
  GROUP BY account_id
), counter_sum AS (
  SELECT account_id, sum(casts)::bigint AS casts, sum(cost_micros)::bigint AS micros FROM usage_days
  WHERE dimension = 'account' AND period = 'day' AND starts_on >= (%(begins)s AT TIME ZONE 'UTC')::date
    AND starts_on < (%(ends)s AT TIME ZONE 'UTC')::date
  GROUP BY account_id
), ledger_sum AS (
  SELECT account_id, sum(amount_micros)::bigint AS micros FROM ledger_transfers
  WHERE kind IN ('cast_fee', 'creator_share') AND month = (%(begins)s AT TIME ZONE 'UTC')::date
  GROUP BY account_id
), month_sum AS (
  SELECT account_id, spent_micros AS micros FROM account_months
  WHERE month = (%(begins)s AT TIME ZONE 'UTC')::date
)
SELECT a.id, (%(begins)s AT TIME ZONE 'UTC')::date, coalesce(c.casts, 0), coalesce(u.casts, 0), coalesce(n.casts, 0),
  coalesce(c.micros, 0), coalesce(u.micros, 0), coalesce(n.micros, 0), coalesce(l.micros, 0), coalesce(m.micros, 0)
FROM accounts a
LEFT JOIN cast_sum c ON c.account_id = a.id
LEFT JOIN usage_sum u ON u.account_id = a.id
LEFT JOIN counter_sum n ON n.account_id = a.id
LEFT JOIN ledger_sum l ON l.account_id = a.id
LEFT JOIN month_sum m ON m.account_id = a.id
WHERE coalesce(c.casts, 0) <> coalesce(u.casts, 0) OR coalesce(c.casts, 0) <> coalesce(n.casts, 0)
  OR coalesce(c.micros, 0) <> ANY (ARRAY[
    coalesce(u.micros, 0), coalesce(n.micros, 0), coalesce(l.micros, 0), coalesce(m.micros, 0)])
ORDER BY a.id

-- name: credits_drift_read
-- The credits of each account by its grants, by the history of its balance and by the ledger; rows that differ.
WITH grant_sum AS (
  SELECT account_id, sum(balance_micros)::bigint AS micros FROM credit_grants GROUP BY account_id
), history_sum AS (
  SELECT account_id, sum(amount_micros)::bigint AS micros FROM credit_transactions GROUP BY account_id
), ledger_sum AS (
  SELECT name, sum(micros)::bigint AS micros FROM (
    SELECT credit AS name, amount_micros AS micros FROM ledger_transfers WHERE credit LIKE 'credits:%%'
    UNION ALL
    SELECT debit, -amount_micros FROM ledger_transfers WHERE debit LIKE 'credits:%%') AS sides
  GROUP BY name
)
SELECT a.id, coalesce(g.micros, 0), coalesce(h.micros, 0), coalesce(l.micros, 0)
FROM accounts a
LEFT JOIN grant_sum g ON g.account_id = a.id
LEFT JOIN history_sum h ON h.account_id = a.id
LEFT JOIN ledger_sum l ON l.name = 'credits:' || a.id
WHERE coalesce(g.micros, 0) <> ANY (ARRAY[coalesce(h.micros, 0), coalesce(l.micros, 0)])
ORDER BY a.id

-- name: ledger_sum_read
-- What the ledger sums to over all its accounts: zero.
SELECT coalesce(sum(micros), 0)::bigint FROM (
  SELECT -sum(amount_micros) AS micros FROM ledger_transfers GROUP BY debit
  UNION ALL SELECT sum(amount_micros) FROM ledger_transfers GROUP BY credit) AS sums

-- name: report_insert
-- Keep what a reconciliation found; nothing is ever "fixed up".
INSERT INTO reconciliation_reports (made_at, scope, balanced, report)
VALUES (clock_timestamp(), %(scope)s, %(balanced)s, %(report)s::json)
