-- name: run_start
-- A month has one run; whoever starts it again goes on with it, and looks at everybody anew who has no payout.
INSERT INTO payout_runs (id, period, started_at) VALUES (%(id)s, %(period)s, %(now)s)
ON CONFLICT (period) DO UPDATE SET started_at = excluded.started_at, listed_at = NULL, finished_at = NULL

-- name: run_get
-- The run of a month.
SELECT id, period, started_at, listed_at, finished_at FROM payout_runs WHERE period = %(period)s

-- name: runs_open
-- Runs that are not finished, or have somebody left to look at, the oldest month first.
SELECT id, period, started_at, listed_at, finished_at FROM payout_runs r
WHERE finished_at IS NULL
  OR EXISTS (SELECT FROM payout_run_accounts WHERE run_id = r.id AND outcome = 'waiting')
ORDER BY period

-- name: accounts_owed
-- A page of accounts in the order of ids: of them whoever is owed something now; and where the page ends, if it is full.
WITH page AS MATERIALIZED (SELECT id FROM accounts WHERE id > %(after)s ORDER BY id LIMIT %(limit)s)
SELECT
  ARRAY(
    SELECT id FROM page p
    WHERE 0 < (
        SELECT coalesce(sum(amount_micros), 0) FROM ledger_transfers
        WHERE credit = 'payable:' || p.id AND credit LIKE 'payable:%%')
      - (
        SELECT coalesce(sum(amount_micros), 0) FROM ledger_transfers
        WHERE debit = 'payable:' || p.id AND debit LIKE 'payable:%%')
    ORDER BY id),
  (SELECT max(id::text)::uuid FROM page HAVING count(*) = %(limit)s)

-- name: accounts_insert
-- Have a run look at these accounts; who was skipped before is looked at again.
INSERT INTO payout_run_accounts AS r (run_id, account_id, look_at)
SELECT %(run_id)s, id, %(now)s FROM unnest(%(ids)s::uuid[]) AS id ORDER BY id
ON CONFLICT (run_id, account_id) DO UPDATE SET outcome = 'waiting', look_at = excluded.look_at, trouble = NULL
WHERE r.outcome NOT IN ('waiting', 'frozen')

-- name: run_listed
-- Everybody is listed; one of those who listed says so.
UPDATE payout_runs SET listed_at = %(now)s WHERE id = %(id)s AND listed_at IS NULL

-- name: accounts_due
-- Accounts of a run whose turn it is.
SELECT account_id FROM payout_run_accounts
WHERE run_id = %(run_id)s AND outcome = 'waiting' AND look_at <= %(now)s
ORDER BY look_at, account_id LIMIT %(limit)s

-- name: account_note
-- What became of an account in a run, as long as it waits.
UPDATE payout_run_accounts SET
  outcome = %(outcome)s, payable_micros = %(payable_micros)s, trouble = NULL
WHERE run_id = %(run_id)s AND account_id = %(account_id)s AND outcome = 'waiting'

-- name: account_delay
-- It could not be looked at now.
UPDATE payout_run_accounts SET look_at = %(look_at)s, trouble = %(trouble)s
WHERE run_id = %(run_id)s AND account_id = %(account_id)s AND outcome = 'waiting'

-- name: summary_read
-- How a run stands. Creators are all who are owed something; errors are those a person should look at.
SELECT
  count(*) FILTER (WHERE r.outcome <> 'nothing') AS creators,
  count(*) FILTER (WHERE p.status = 'paid') AS successful,
  count(*) FILTER (WHERE p.status = 'refused' OR r.outcome = 'waiting' AND r.trouble IS NOT NULL
    OR p.status = 'pending' AND (
      o.is_blocked OR o.attempts >= %(troubled_attempts)s AND o.trouble IS NOT NULL)) AS errors,
  count(*) FILTER (WHERE r.outcome NOT IN ('waiting', 'frozen', 'nothing')) AS skipped,
  coalesce(sum(p.amount_cents) FILTER (WHERE p.status = 'paid'), 0)::bigint AS paid_cents
FROM payout_run_accounts r
LEFT JOIN payouts p ON p.account_id = r.account_id AND p.run_id = r.run_id
LEFT JOIN outbox o ON o.kind = 'payout' AND o.subject_id = p.id
WHERE r.run_id = %(run_id)s

-- name: run_finish
-- Nobody waits: one of those who see it says so.
UPDATE payout_runs SET finished_at = %(now)s WHERE id = %(id)s AND finished_at IS NULL AND listed_at IS NOT NULL

-- name: accounts_of_run
-- Everybody a run looked at, with what became of it, for the operator; those with trouble first.
SELECT r.account_id, a.handle, r.outcome, r.payable_micros, coalesce(o.trouble, r.trouble, p.refused_code) AS trouble,
  p.amount_cents, p.status, p.stripe_transfer_id
FROM payout_run_accounts r
JOIN accounts a ON a.id = r.account_id
LEFT JOIN payouts p ON p.account_id = r.account_id AND p.run_id = r.run_id
LEFT JOIN outbox o ON o.kind = 'payout' AND o.subject_id = p.id
WHERE r.run_id = %(run_id)s AND r.outcome <> 'nothing'
ORDER BY coalesce(o.trouble, r.trouble, p.refused_code) IS NULL, p.amount_cents DESC NULLS LAST, r.payable_micros DESC,
  a.handle
LIMIT %(limit)s
