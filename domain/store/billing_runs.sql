-- name: run_start
-- A month has one run; whoever starts it again goes on with it, and looks at everybody anew who has no invoice.
INSERT INTO billing_runs (id, period, started_at) VALUES (%(id)s, %(period)s, %(now)s)
ON CONFLICT (period) DO UPDATE SET started_at = excluded.started_at, listed_at = NULL, finished_at = NULL

-- name: run_get
-- The run of a month.
SELECT id, period, started_at, listed_at, finished_at FROM billing_runs WHERE period = %(period)s

-- name: runs_open
-- Runs that are not finished, or have somebody left to look at, the oldest month first.
SELECT id, period, started_at, listed_at, finished_at FROM billing_runs r
WHERE finished_at IS NULL
  OR EXISTS (SELECT FROM billing_run_accounts WHERE run_id = r.id AND outcome = 'waiting')
ORDER BY period

-- name: accounts_owing
-- A page of accounts in the order of ids: of them whoever owes for a metered cast of the month or one before what no
-- line has, and whoever has casts open, which may come to cost something; and where the page ends, if it is full.
WITH page AS MATERIALIZED (
  SELECT id, open_casts FROM accounts WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
)
SELECT
  ARRAY(
    SELECT id FROM page p
    WHERE p.open_casts > 0 OR EXISTS (
      SELECT FROM (
        SELECT month, spell_id,
          CASE debit WHEN 'receivable:' || p.id THEN amount_micros ELSE -amount_micros END AS micros
        FROM ledger_transfers
        WHERE account_id = p.id AND month <= %(period)s AND spell_id IS NOT NULL
          AND 'receivable:' || p.id IN (debit, credit)
        UNION ALL
        SELECT month, spell_id, -amount_micros FROM invoice_lines WHERE account_id = p.id AND month <= %(period)s
      ) AS sums
      GROUP BY month, spell_id HAVING sum(micros) <> 0)
    ORDER BY id),
  (SELECT max(id::text)::uuid FROM page HAVING count(*) = %(limit)s)

-- name: accounts_insert
-- Have a run look at these accounts; who was skipped before is looked at again.
INSERT INTO billing_run_accounts AS r (run_id, account_id, look_at)
SELECT %(run_id)s, id, %(now)s FROM unnest(%(ids)s::uuid[]) AS id ORDER BY id
ON CONFLICT (run_id, account_id) DO UPDATE SET outcome = 'waiting', look_at = excluded.look_at, trouble = NULL
WHERE r.outcome IN ('nothing', 'no_customer', 'billing_off')

-- name: run_listed
-- Everybody is listed; one of those who listed says so.
UPDATE billing_runs SET listed_at = %(now)s WHERE id = %(id)s AND listed_at IS NULL

-- name: accounts_due
-- Accounts of a run whose turn it is.
SELECT account_id FROM billing_run_accounts
WHERE run_id = %(run_id)s AND outcome = 'waiting' AND look_at <= %(now)s
ORDER BY look_at, account_id LIMIT %(limit)s

-- name: account_note
-- What became of an account in a run, as long as it waits.
UPDATE billing_run_accounts SET outcome = %(outcome)s, look_at = %(look_at)s, trouble = %(trouble)s
WHERE run_id = %(run_id)s AND account_id = %(account_id)s AND outcome = 'waiting'

-- name: summary_read
-- How a run stands. Users are all who owe something or may come to; errors are those a person should look at.
SELECT
  count(*) FILTER (WHERE r.outcome <> 'nothing') AS users,
  count(*) FILTER (WHERE i.status NOT IN ('pending', 'carried')) AS successful,
  count(*) FILTER (WHERE r.outcome = 'waiting' AND r.trouble IS NOT NULL OR i.status = 'pending' AND (
    o.is_blocked OR o.attempts >= %(troubled_attempts)s AND o.trouble IS NOT NULL)) AS errors,
  count(*) FILTER (WHERE r.outcome IN ('carried', 'no_customer', 'billing_off')) AS skipped
FROM billing_run_accounts r
LEFT JOIN invoices i ON i.account_id = r.account_id AND i.run_id = r.run_id
LEFT JOIN outbox o ON o.kind = 'invoice' AND o.subject_id = i.id
WHERE r.run_id = %(run_id)s

-- name: run_finish
-- Nobody waits: one of those who see it says so.
UPDATE billing_runs SET finished_at = %(now)s WHERE id = %(id)s AND finished_at IS NULL AND listed_at IS NOT NULL

-- name: accounts_of_run
-- Everybody a run looked at, with what became of it, for the operator; those with trouble first.
SELECT r.account_id, a.handle, r.outcome, coalesce(o.trouble, r.trouble) AS trouble, i.total_cents, i.calls, i.status,
  i.stripe_invoice_id
FROM billing_run_accounts r
JOIN accounts a ON a.id = r.account_id
LEFT JOIN invoices i ON i.account_id = r.account_id AND i.run_id = r.run_id
LEFT JOIN outbox o ON o.kind = 'invoice' AND o.subject_id = i.id
WHERE r.run_id = %(run_id)s AND r.outcome <> 'nothing'
ORDER BY coalesce(o.trouble, r.trouble) IS NULL, i.total_cents DESC NULLS LAST, a.handle
LIMIT %(limit)s
