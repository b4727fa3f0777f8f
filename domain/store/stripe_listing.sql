-- name: comparison_open
-- The comparison that is under way; there is one at most.
SELECT id, started_at, since, kind, last_id, listed_at FROM stripe_comparisons WHERE finished_at IS NULL

-- name: comparison_begun
-- Whether one was begun since then.
SELECT EXISTS (SELECT FROM stripe_comparisons WHERE started_at >= %(since)s)

-- name: comparison_insert
-- Begin one; of two who do one is heard.
INSERT INTO stripe_comparisons (id, started_at, since, kind) VALUES (%(id)s, %(started_at)s, %(since)s, %(kind)s)
ON CONFLICT DO NOTHING

-- name: comparison_advance
-- A page is kept, and reading goes on behind it; of who read from the same place.
UPDATE stripe_comparisons SET kind = %(next_kind)s, last_id = %(next_id)s, listed_at = %(listed_at)s, trouble = NULL
WHERE id = %(id)s AND kind = %(kind)s AND last_id IS NOT DISTINCT FROM %(last_id)s AND listed_at IS NULL

-- name: comparison_trouble
-- Why Stripe did not answer.
UPDATE stripe_comparisons SET trouble = %(trouble)s WHERE id = %(id)s AND finished_at IS NULL

-- name: comparison_finish
-- It is over, once.
UPDATE stripe_comparisons SET finished_at = %(now)s, trouble = %(trouble)s WHERE id = %(id)s AND finished_at IS NULL

-- name: comparisons_trim
-- What was listed for those before is of no use any more.
DELETE FROM stripe_comparisons WHERE id <> %(id)s

-- name: listed_put
-- Keep what was listed, as it was seen last.
INSERT INTO stripe_listed (comparison_id, kind, stripe_id, mark, payment, status, amount_cents, back_cents)
SELECT %(id)s, kind, stripe_id, mark, payment, status, amount_cents, back_cents
FROM json_to_recordset(%(rows)s::json) AS r(kind text, stripe_id text, mark uuid, payment text, status text,
  amount_cents bigint, back_cents bigint)
ON CONFLICT (comparison_id, kind, stripe_id) DO UPDATE SET
  mark = excluded.mark, payment = excluded.payment, status = excluded.status, amount_cents = excluded.amount_cents,
  back_cents = excluded.back_cents

-- name: listed_count
-- How many objects of each kind were kept.
SELECT kind, count(*) FROM stripe_listed WHERE comparison_id = %(id)s GROUP BY kind

-- name: invoices_compared
-- Invoices of metered use, ours and Stripe's. One of ours that is pending may be a draft there, or not there yet.
WITH ours AS (
  SELECT i.id, i.account_id, i.status, i.total_cents,
    coalesce(i.stripe_invoice_id, o.known ->> 'invoice_id') AS stripe_id,
    i.frozen_at >= %(since)s OR i.status IN ('pending', 'open', 'uncollectible') AS is_due
  FROM invoices i LEFT JOIN outbox o ON o.kind = 'invoice' AND o.subject_id = i.id
  WHERE i.total_cents > 0
), theirs AS (
  SELECT stripe_id, mark, status, amount_cents, count(*) OVER (PARTITION BY mark) AS alike
  FROM stripe_listed WHERE comparison_id = %(id)s AND kind = 'invoice'
), faults AS (
  SELECT o.account_id, o.id AS subject, stripe_id, 'missing_at_stripe' AS fault, o.status AS expected, '' AS found
  FROM ours o LEFT JOIN theirs t USING (stripe_id) WHERE o.is_due AND o.stripe_id IS NOT NULL AND t.status IS NULL
  UNION ALL
  SELECT NULL, t.mark, t.stripe_id, 'unknown_here', '', t.status
  FROM theirs t LEFT JOIN ours o ON o.id = t.mark WHERE t.mark IS NOT NULL AND o.id IS NULL AND t.status <> 'void'
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'second_at_stripe', coalesce(o.stripe_id, ''), t.status
  FROM theirs t JOIN ours o ON o.id = t.mark
  WHERE t.status <> 'void' AND coalesce(o.stripe_id <> t.stripe_id, t.alike > 1)
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'total_differs', o.total_cents::text, t.amount_cents::text
  FROM ours o JOIN theirs t USING (stripe_id) WHERE t.status <> 'draft' AND t.amount_cents <> o.total_cents
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'status_differs', o.status, t.status
  FROM ours o JOIN theirs t USING (stripe_id)
  WHERE t.status <> CASE o.status WHEN 'pending' THEN 'draft' ELSE o.status END
)
SELECT account_id, subject::text, stripe_id, fault, expected, found, count(*) OVER () AS differing
FROM faults ORDER BY fault, subject, stripe_id LIMIT %(limit)s

-- name: payments_compared
-- Payments for credits: what was granted was paid, and what was paid was granted, once.
WITH ours AS (
  SELECT id, account_id, status, price_micros, granted_at IS NOT NULL AS is_granted, stripe_payment AS stripe_id,
    created_at >= %(since)s OR status = 'pending' AS is_due
  FROM credit_orders
), theirs AS (
  SELECT stripe_id, mark, status, amount_cents FROM stripe_listed WHERE comparison_id = %(id)s AND kind = 'payment'
), faults AS (
  SELECT o.account_id, o.id AS subject, stripe_id, 'missing_at_stripe' AS fault, o.status AS expected, '' AS found
  FROM ours o LEFT JOIN theirs t USING (stripe_id) WHERE o.is_due AND o.stripe_id IS NOT NULL AND t.status IS NULL
  UNION ALL
  SELECT NULL, t.mark, t.stripe_id, 'unknown_here', '', t.status
  FROM theirs t LEFT JOIN ours o ON o.id = t.mark WHERE t.mark IS NOT NULL AND o.id IS NULL AND t.status = 'succeeded'
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'second_at_stripe', coalesce(o.stripe_id, ''), t.status
  FROM theirs t JOIN ours o ON o.id = t.mark
  WHERE t.status = 'succeeded' AND o.is_granted AND t.stripe_id IS DISTINCT FROM o.stripe_id
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'amount_differs', (o.price_micros / 10000)::text, t.amount_cents::text
  FROM ours o JOIN theirs t USING (stripe_id)
  WHERE o.is_granted AND t.status = 'succeeded' AND t.amount_cents * 10000 < o.price_micros
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'status_differs', o.status, t.status
  FROM ours o JOIN theirs t ON t.mark = o.id AND coalesce(o.stripe_id = t.stripe_id, true)
  WHERE o.is_granted <> (t.status = 'succeeded')
)
SELECT account_id, subject::text, stripe_id, fault, expected, found, count(*) OVER () AS differing
FROM faults ORDER BY fault, subject, stripe_id LIMIT %(limit)s

-- name: refunds_compared
-- Refunds of credits: those we asked for one by one, and of each payment what went back in all, at Stripe as well.
WITH ours AS (
  SELECT o.id, o.account_id, o.status AS sent, (o.frozen ->> 'amount_cents')::bigint AS amount_cents,
    o.known ->> 'refund_id' AS stripe_id, b.reversed_at IS NOT NULL AS is_reversed, o.created_at >= %(since)s AS is_due
  FROM outbox o JOIN credit_takebacks b ON b.id = o.subject_id
  WHERE o.kind = 'refund'
), theirs AS (
  SELECT stripe_id, mark, payment, status, amount_cents, status IN ('failed', 'canceled') AS has_failed
  FROM stripe_listed WHERE comparison_id = %(id)s AND kind = 'refund'
), of_payments AS (
  SELECT payment, sum(amount_cents) * 10000 AS micros FROM theirs WHERE NOT has_failed GROUP BY payment
), of_orders AS (
  SELECT o.id, o.account_id, o.stripe_payment AS payment, coalesce(sum(b.money_micros), 0) AS micros
  FROM credit_orders o
  LEFT JOIN credit_takebacks b ON b.order_id = o.id AND b.kind = 'refund' AND b.reversed_at IS NULL
  WHERE o.granted_at IS NOT NULL AND o.created_at >= %(since)s AND o.stripe_payment IS NOT NULL AND NOT EXISTS (
    SELECT FROM credit_takebacks w JOIN outbox q ON q.subject_id = w.id AND q.kind = 'refund' AND q.status = 'pending'
    WHERE w.order_id = o.id)
  GROUP BY o.id
), faults AS (
  SELECT o.account_id, o.id AS subject, stripe_id, 'missing_at_stripe' AS fault, 'done' AS expected, '' AS found
  FROM ours o LEFT JOIN theirs t USING (stripe_id)
  WHERE o.is_due AND o.sent = 'done' AND o.stripe_id IS NOT NULL AND t.status IS NULL
  UNION ALL
  SELECT NULL, t.mark, t.stripe_id, 'unknown_here', '', t.status
  FROM theirs t LEFT JOIN ours o ON o.id = t.mark WHERE t.mark IS NOT NULL AND o.id IS NULL AND NOT t.has_failed
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'second_at_stripe', o.stripe_id, t.status
  FROM theirs t JOIN ours o ON o.id = t.mark WHERE NOT t.has_failed AND t.stripe_id <> o.stripe_id
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'amount_differs', o.amount_cents::text, t.amount_cents::text
  FROM ours o JOIN theirs t USING (stripe_id) WHERE o.amount_cents <> t.amount_cents
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'status_differs', CASE WHEN o.is_reversed THEN 'failed' ELSE 'succeeded' END,
    t.status
  FROM ours o JOIN theirs t USING (stripe_id) WHERE o.is_reversed <> t.has_failed
  UNION ALL
  SELECT o.account_id, o.id, o.payment, 'refunded_differs', (o.micros / 10000)::bigint::text,
    (coalesce(p.micros, 0) / 10000)::bigint::text
  FROM of_orders o LEFT JOIN of_payments p USING (payment) WHERE o.micros <> coalesce(p.micros, 0)
)
SELECT account_id, subject::text, stripe_id, fault, expected, found, count(*) OVER () AS differing
FROM faults ORDER BY fault, subject, stripe_id LIMIT %(limit)s

-- name: transfers_compared
-- What creators were paid: each payout once, whole, and what was taken back of it.
WITH ours AS (
  SELECT id, account_id, status, amount_cents, reversed_cents, stripe_transfer_id AS stripe_id,
    frozen_at >= %(since)s AS is_due
  FROM payouts
), theirs AS (
  SELECT stripe_id, mark, status, amount_cents, back_cents, count(*) OVER (PARTITION BY mark) AS alike
  FROM stripe_listed WHERE comparison_id = %(id)s AND kind = 'transfer'
), faults AS (
  SELECT o.account_id, o.id AS subject, stripe_id, 'missing_at_stripe' AS fault, o.status AS expected, '' AS found
  FROM ours o LEFT JOIN theirs t USING (stripe_id) WHERE o.is_due AND o.stripe_id IS NOT NULL AND t.status IS NULL
  UNION ALL
  SELECT NULL, t.mark, t.stripe_id, 'unknown_here', '', t.status
  FROM theirs t LEFT JOIN ours o ON o.id = t.mark WHERE t.mark IS NOT NULL AND o.id IS NULL
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'second_at_stripe', coalesce(o.stripe_id, ''), t.status
  FROM theirs t JOIN ours o ON o.id = t.mark
  WHERE o.status <> 'refused' AND coalesce(o.stripe_id <> t.stripe_id, t.alike > 1)
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'amount_differs', o.amount_cents::text, t.amount_cents::text
  FROM ours o JOIN theirs t USING (stripe_id) WHERE o.amount_cents <> t.amount_cents
  UNION ALL
  SELECT o.account_id, o.id, stripe_id, 'reversed_differs', o.reversed_cents::text, t.back_cents::text
  FROM ours o JOIN theirs t USING (stripe_id) WHERE o.reversed_cents <> t.back_cents
  UNION ALL
  SELECT o.account_id, o.id, t.stripe_id, 'status_differs', o.status, t.status
  FROM ours o JOIN theirs t ON t.mark = o.id
  WHERE o.status = 'refused' OR (o.status = 'pending' AND o.is_due AND t.alike = 1)
)
SELECT account_id, subject::text, stripe_id, fault, expected, found, count(*) OVER () AS differing
FROM faults ORDER BY fault, subject, stripe_id LIMIT %(limit)s
