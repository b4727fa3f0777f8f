-- Rows of the books of billing that differ: each query says whose, which row, what is wrong with it, what was expected
-- and what is there, and how many there are in all behind the limit. They read everything there is; once a day.

-- name: lines_drift
-- Invoice lines = ledger, for each account, month of acceptance and spell: all that was booked when the month was last
-- frozen is in a line, and nothing else is. What was booked later is the next invoice's.
WITH owed AS MATERIALIZED (
  SELECT account_id, month, spell_id, created_at,
    CASE WHEN debit = 'receivable:' || account_id THEN 1 ELSE -1 END AS sign, casts, amount_micros
  FROM ledger_transfers
  WHERE spell_id IS NOT NULL AND 'receivable:' || account_id IN (debit, credit)
), frozen AS (
  SELECT m.account_id, m.month, max(i.frozen_at) AS at
  FROM (SELECT DISTINCT account_id, month FROM owed) m
  JOIN invoices i ON i.account_id = m.account_id AND i.period >= m.month
  GROUP BY m.account_id, m.month
), booked AS (
  SELECT account_id, month, spell_id, sum(o.sign * o.casts) AS calls, sum(o.sign * o.amount_micros) AS micros
  FROM owed o JOIN frozen f USING (account_id, month)
  WHERE o.created_at <= f.at
  GROUP BY account_id, month, spell_id
), billed AS (
  SELECT account_id, month, spell_id, sum(calls) AS calls, sum(amount_micros) AS micros
  FROM invoice_lines GROUP BY account_id, month, spell_id
), faults AS (
  SELECT account_id, to_char(month, 'YYYY-MM') || ' spell ' || spell_id AS subject, fault, expected, found
  FROM booked b FULL JOIN billed l USING (account_id, month, spell_id)
  CROSS JOIN LATERAL (VALUES
    ('micros', coalesce(b.micros, 0), coalesce(l.micros, 0)), ('calls', coalesce(b.calls, 0), coalesce(l.calls, 0))
  ) AS pair(fault, expected, found)
  WHERE expected <> found
)
SELECT account_id, subject, fault, expected::bigint, found::bigint, count(*) OVER () AS differing
FROM faults ORDER BY account_id, subject, fault LIMIT %(limit)s

-- name: invoices_drift
-- Invoice = its lines, what the one before left over, and the intent Stripe is asked by.
WITH lines AS (
  SELECT invoice_id, sum(amount_micros) AS micros, sum(calls) AS calls FROM invoice_lines GROUP BY invoice_id
), intents AS (
  SELECT id, account_id, subject_id, status, (frozen ->> 'total_cents')::bigint AS total_cents,
    (SELECT sum((item ->> 'amount_cents')::bigint) FROM json_array_elements(frozen -> 'items') AS item) AS items_cents
  FROM outbox WHERE kind = 'invoice'
), chained AS (
  SELECT *, lag(carry_out_micros, 1, 0::bigint) OVER (PARTITION BY account_id ORDER BY frozen_at, id) AS left_over
  FROM invoices
), faults AS (
  SELECT coalesce(i.account_id, o.account_id) AS account_id, coalesce(i.id, o.subject_id)::text AS subject, fault,
    expected, found
  FROM chained i
  LEFT JOIN lines l ON l.invoice_id = i.id
  FULL JOIN intents o ON o.subject_id = i.id
  CROSS JOIN LATERAL (VALUES
    ('lines_micros', i.usage_micros, coalesce(l.micros, 0)),
    ('lines_calls', i.calls, coalesce(l.calls, 0)),
    ('carry_in_micros', i.left_over, i.carry_in_micros),
    ('intent_cents', coalesce(i.total_cents, 0), coalesce(o.total_cents, 0)),
    ('items_cents', coalesce(i.total_cents, 0), coalesce(o.items_cents, 0)),
    ('finalized', (coalesce(o.status, '') = 'done')::integer, (i.finalized_at IS NOT NULL)::integer)
  ) AS pair(fault, expected, found)
  WHERE expected <> found
)
SELECT account_id, subject, fault, expected::bigint, found::bigint, count(*) OVER () AS differing
FROM faults ORDER BY account_id, subject, fault LIMIT %(limit)s

-- name: invoice_transfers_drift
-- An invoice that is paid or void is so in the ledger, once and whole; any other is not.
WITH closed AS (
  SELECT id, account_id, 'invoice_' || status AS kind, total_cents * 10000 AS micros
  FROM invoices WHERE status IN ('paid', 'void')
), moved AS (
  SELECT batch_id AS id, account_id, kind, sum(amount_micros) AS micros
  FROM ledger_transfers
  WHERE kind IN ('invoice_paid', 'invoice_void') AND credit = 'receivable:' || account_id
    AND debit = CASE kind WHEN 'invoice_paid' THEN 'cash:stripe' ELSE 'promotion:platform' END
  GROUP BY batch_id, account_id, kind
)
SELECT account_id, id::text, kind, coalesce(c.micros, 0)::bigint, coalesce(m.micros, 0)::bigint,
  count(*) OVER () AS differing
FROM closed c FULL JOIN moved m USING (account_id, id, kind)
WHERE coalesce(c.micros, 0) <> coalesce(m.micros, 0)
ORDER BY account_id, id, kind LIMIT %(limit)s

-- name: receivables_drift
-- What the ledger says an account owes = what is not billed yet + what invoices left over + invoices that are not paid
-- + the debts of refunds and disputes. Each part is read from its own rows.
WITH sides AS MATERIALIZED (
  SELECT account_id, month, spell_id, created_at, debit AS name, amount_micros AS micros
  FROM ledger_transfers WHERE starts_with(debit, 'receivable:')
  UNION ALL
  SELECT account_id, month, spell_id, created_at, credit, -amount_micros
  FROM ledger_transfers WHERE starts_with(credit, 'receivable:')
), balance AS (
  SELECT substr(name, 12)::uuid AS account_id, sum(micros) AS micros FROM sides GROUP BY name
), frozen AS (
  SELECT m.account_id, m.month, max(i.frozen_at) AS at
  FROM (SELECT DISTINCT account_id, month FROM sides) m
  JOIN invoices i ON i.account_id = m.account_id AND i.period >= m.month
  GROUP BY m.account_id, m.month
), unbilled AS (
  SELECT s.account_id, sum(s.micros) AS micros
  FROM sides s LEFT JOIN frozen f USING (account_id, month)
  WHERE s.spell_id IS NOT NULL AND (f.at IS NULL OR s.created_at > f.at)
  GROUP BY s.account_id
), invoiced AS (
  SELECT account_id, (array_agg(carry_out_micros ORDER BY frozen_at DESC, id DESC))[1]
    + coalesce(sum(total_cents) FILTER (WHERE status IN ('pending', 'open', 'uncollectible')), 0) * 10000 AS micros
  FROM invoices GROUP BY account_id
), debts AS (
  SELECT account_id, sum(owed_micros) AS micros FROM credit_takebacks WHERE reversed_at IS NULL GROUP BY account_id
)
SELECT account_id, 'receivable:' || account_id, 'balance_micros',
  (coalesce(u.micros, 0) + coalesce(i.micros, 0) + coalesce(d.micros, 0))::bigint, coalesce(b.micros, 0)::bigint,
  count(*) OVER () AS differing
FROM balance b
FULL JOIN unbilled u USING (account_id) FULL JOIN invoiced i USING (account_id) FULL JOIN debts d USING (account_id)
WHERE coalesce(u.micros, 0) + coalesce(i.micros, 0) + coalesce(d.micros, 0) <> coalesce(b.micros, 0)
ORDER BY account_id LIMIT %(limit)s

-- name: shares_drift
-- Of an account's invoices no more became payable to creators than it paid.
WITH collected AS (
  SELECT account_id, sum(total_cents) * 10000 AS micros FROM invoices WHERE status = 'paid' GROUP BY account_id
), moved AS (
  SELECT source_id AS account_id,
    sum(CASE WHEN starts_with(credit, 'payable:') THEN amount_micros ELSE -amount_micros END) AS micros
  FROM ledger_transfers
  WHERE kind IN ('share_collected', 'share_returned', 'share_lost')
    AND (starts_with(credit, 'payable:') OR starts_with(debit, 'payable:'))
    AND source_id IN (SELECT id FROM accounts)
  GROUP BY source_id
)
SELECT account_id, 'shares of its invoices', 'payable_above_collected', coalesce(c.micros, 0)::bigint, m.micros::bigint,
  count(*) OVER () AS differing
FROM moved m LEFT JOIN collected c USING (account_id)
WHERE m.micros > coalesce(c.micros, 0)
ORDER BY account_id LIMIT %(limit)s

-- name: payouts_drift
-- What is on its way to creators, and what they were paid: the payouts are what the ledger says.
WITH frozen AS (
  SELECT account_id, sum(amount_cents) FILTER (WHERE status = 'pending') * 10000 AS paying,
    sum(amount_cents - reversed_cents) FILTER (WHERE status = 'paid') * 10000 AS paid
  FROM payouts GROUP BY account_id
), moved AS (
  SELECT account_id,
    sum(CASE 'paying:' || account_id WHEN credit THEN amount_micros WHEN debit THEN -amount_micros ELSE 0 END) AS paying,
    sum(CASE
      WHEN starts_with(debit, 'paying:') AND credit = 'cash:stripe' THEN amount_micros
      WHEN debit = 'cash:stripe' THEN -amount_micros ELSE 0 END) AS paid
  FROM ledger_transfers
  WHERE starts_with(debit, 'paying:') OR starts_with(credit, 'paying:')
    OR (debit = 'cash:stripe' AND starts_with(credit, 'payable:'))
  GROUP BY account_id
)
SELECT account_id, 'payouts', fault, expected::bigint, found::bigint, count(*) OVER () AS differing
FROM frozen f FULL JOIN moved m USING (account_id)
CROSS JOIN LATERAL (VALUES
  ('paying_micros', coalesce(f.paying, 0), coalesce(m.paying, 0)), ('paid_micros', coalesce(f.paid, 0), coalesce(m.paid, 0))
) AS pair(fault, expected, found)
WHERE expected <> found
ORDER BY account_id, fault LIMIT %(limit)s
