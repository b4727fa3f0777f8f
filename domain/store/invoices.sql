-- name: account_lock
-- The mutex of the account's money; the time is read behind it, so that what is settled before is frozen and nothing else.
WITH locked AS MATERIALIZED (SELECT id, billing, open_casts FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE)
SELECT billing, open_casts, clock_timestamp() FROM locked

-- name: account_read
-- The same for a look, without the lock.
SELECT billing, open_casts, clock_timestamp() FROM accounts WHERE id = %(account_id)s

-- name: customer_read
-- Who the account is at Stripe.
SELECT stripe_customer_id FROM billing_accounts WHERE account_id = %(account_id)s

-- name: open_casts_exist
-- Whether casts of the account that were accepted before then may still cost something.
SELECT EXISTS (
  SELECT FROM casts
  WHERE account_id = %(account_id)s AND status IN ('queued', 'running') AND id < uuid7_floor(%(before)s))

-- name: differences_read
-- What the ledger says is owed for metered casts, minus what lines say: by month of acceptance and spell. A transfer of
-- a cast names its spell; payments, and debts of another kind, name none. A creator's share that is paid back after
-- it was billed is taken out of the line it stands in, not of this difference.
SELECT month, spell_id, sum(calls)::bigint, sum(micros)::bigint, sum(share)::bigint
FROM (
  SELECT month, spell_id, casts AS calls, amount_micros AS micros,
    CASE kind WHEN 'creator_share' THEN amount_micros ELSE 0 END AS share
  FROM ledger_transfers
  WHERE account_id = %(account_id)s AND month <= %(period)s AND spell_id IS NOT NULL AND debit = %(receivable)s
  UNION ALL
  SELECT month, spell_id, -casts, -amount_micros,
    CASE WHEN kind = 'refund_share' AND source_id IS NULL THEN -amount_micros ELSE 0 END
  FROM ledger_transfers
  WHERE account_id = %(account_id)s AND month <= %(period)s AND spell_id IS NOT NULL AND credit = %(receivable)s
  UNION ALL
  SELECT month, spell_id, -calls, -amount_micros, -share_micros
  FROM invoice_lines
  WHERE account_id = %(account_id)s AND month <= %(period)s
) AS sums
GROUP BY month, spell_id
HAVING sum(micros) <> 0 OR sum(calls) <> 0 OR sum(share) <> 0
ORDER BY month, spell_id

-- name: freezes_read
-- When the account's invoices were frozen, of which month, and what they left over; the latest first.
SELECT period, frozen_at, carry_out_micros FROM invoices
WHERE account_id = %(account_id)s ORDER BY frozen_at DESC, id DESC

-- name: invoice_exists
-- Whether the month is billed: one invoice for each account and month.
SELECT EXISTS (SELECT FROM invoices WHERE account_id = %(account_id)s AND period = %(period)s)

-- name: invoice_insert
-- Freeze an invoice.
INSERT INTO invoices (id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros, carry_out_micros,
  total_cents, calls, description, status, stripe_customer_id)
VALUES (%(id)s, %(account_id)s, %(run_id)s, %(period)s, %(frozen_at)s, %(usage_micros)s, %(carry_in_micros)s,
  %(carry_out_micros)s, %(total_cents)s, %(calls)s, %(description)s, %(status)s, %(customer_id)s)

-- name: lines_insert
-- Freeze its lines.
INSERT INTO invoice_lines (id, invoice_id, account_id, month, spell_id, calls, amount_micros, share_micros,
  settled_after, settled_until)
SELECT gen_random_uuid(), %(invoice_id)s, %(account_id)s, month, spell_id, calls, amount_micros, share_micros,
  settled_after, %(settled_until)s
FROM json_to_recordset(%(rows)s::json)
  AS r(month date, spell_id uuid, calls bigint, amount_micros bigint, share_micros bigint,
  settled_after timestamptz)

-- name: invoice_open
-- It is finalized at Stripe. Once: its mail is written with this. The webhook may have come first with more.
UPDATE invoices SET
  status = CASE status WHEN 'pending' THEN 'open' ELSE status END, stripe_invoice_id = %(stripe_invoice_id)s,
  number = coalesce(%(number)s, number), hosted_url = coalesce(%(hosted_url)s, hosted_url),
  pdf_url = coalesce(%(pdf_url)s, pdf_url), finalized_at = %(now)s
WHERE id = %(id)s AND account_id = %(account_id)s AND finalized_at IS NULL
RETURNING period, calls, total_cents, description

-- name: invoice_lock
-- The account's invoice as it is, while nobody else changes it.
SELECT period, status, total_cents FROM invoices WHERE id = %(id)s AND account_id = %(account_id)s FOR UPDATE

-- name: invoice_move
-- What became of it at Stripe; where Stripe tells before we have heard its answer, also what it is called there.
UPDATE invoices SET
  status = %(status)s, closed_at = CASE WHEN %(is_closed)s THEN %(now)s::timestamptz END,
  stripe_invoice_id = %(stripe_invoice_id)s, number = coalesce(%(number)s, number),
  hosted_url = coalesce(%(hosted_url)s, hosted_url), pdf_url = coalesce(%(pdf_url)s, pdf_url)
WHERE id = %(id)s AND account_id = %(account_id)s

-- name: account_of_invoice
-- Whose invoice this is: what Stripe tells of it names no other owner.
SELECT account_id FROM invoices WHERE id = %(id)s

-- name: invoices_list
-- The account's invoices, newest first.
SELECT i.id, i.period, i.frozen_at, i.usage_micros, i.carry_in_micros, i.carry_out_micros, i.total_cents, i.calls,
  i.description, i.status, i.number, i.stripe_invoice_id, i.hosted_url, i.pdf_url, i.finalized_at, i.closed_at
FROM invoices i
WHERE i.account_id = %(account_id)s
  AND (i.frozen_at, i.id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s)
  AND i.frozen_at >= coalesce(%(since)s::timestamptz, '-infinity')
ORDER BY i.frozen_at DESC, i.id DESC
LIMIT %(limit)s

-- name: invoice_get
-- One invoice of the account.
SELECT i.id, i.period, i.frozen_at, i.usage_micros, i.carry_in_micros, i.carry_out_micros, i.total_cents, i.calls,
  i.description, i.status, i.number, i.stripe_invoice_id, i.hosted_url, i.pdf_url, i.finalized_at, i.closed_at
FROM invoices i
WHERE i.account_id = %(account_id)s AND i.id = %(id)s

-- name: lines_read
-- Its lines, with what the spells are called: the period's first, the costliest first.
SELECT l.id, l.month, l.spell_id, a.handle || '/' || s.name AS spell, l.calls, l.amount_micros
FROM invoice_lines l
JOIN invoices i ON i.id = l.invoice_id
JOIN spells s ON s.id = l.spell_id
JOIN accounts a ON a.id = s.account_id
WHERE l.account_id = %(account_id)s AND l.invoice_id = %(invoice_id)s
ORDER BY l.month <> i.period, l.month, l.amount_micros DESC, l.spell_id

-- name: casts_read
-- The casts behind the lines of an invoice, or behind one of them, newest first: of the line's account, month and
-- spell, charged to the account, and settled behind the freeze before and until this one. What was paid back in that
-- time counts against it, of casts of an earlier invoice too.
SELECT c.id, l.id AS line_id, a.handle || '/' || s.name AS spell, u.outcome, u.fuel, c.accepted_at, u.settled_at,
  k.prefix AS key_prefix, coalesce(r.amount_micros, 0) AS refunded_micros,
  CASE WHEN is_new THEN u.cost_micros ELSE 0 END - coalesce(r.amount_micros, 0) AS amount_micros
FROM casts c
JOIN invoice_lines l ON l.invoice_id = %(invoice_id)s AND l.account_id = %(account_id)s
  AND l.month = date_trunc('month', c.accepted_at AT TIME ZONE 'UTC')::date AND l.spell_id = c.spell_id
JOIN usage_events u ON u.id = c.id
CROSS JOIN LATERAL (SELECT u.settled_at > l.settled_after AND u.settled_at <= l.settled_until AS is_new) AS settled
LEFT JOIN cast_refunds r ON r.cast_id = c.id AND r.account_id = %(account_id)s
  AND r.refunded_at > l.settled_after AND r.refunded_at <= l.settled_until
JOIN spells s ON s.id = c.spell_id
JOIN accounts a ON a.id = s.account_id
LEFT JOIN api_keys k ON k.id = c.key_id
WHERE c.account_id = %(account_id)s AND c.funding = 'metered' AND c.cost_micros > 0
  AND (is_new OR r.cast_id IS NOT NULL)
  AND (%(line_id)s::uuid IS NULL OR l.id = %(line_id)s)
  AND c.id < %(before_id)s
  AND c.id >= uuid7_floor((
    SELECT min(month) FROM invoice_lines WHERE invoice_id = %(invoice_id)s AND account_id = %(account_id)s
  )::timestamp AT TIME ZONE 'UTC')
ORDER BY c.id DESC
LIMIT %(limit)s

-- name: line_exists
-- Whether the line is one of this invoice of the account.
SELECT EXISTS (
  SELECT FROM invoice_lines
  WHERE account_id = %(account_id)s AND invoice_id = %(invoice_id)s AND id = %(line_id)s)

-- name: spells_named
-- What the spells of a preview are called; they are others' spells as well, used by the account whose casts these are.
SELECT s.id, a.handle || '/' || s.name FROM spells s JOIN accounts a ON a.id = s.account_id WHERE s.id = ANY(%(ids)s)
