-- name: invoice_shares_read
-- What each creator has of what an invoice collects: of its own lines, and of those of the carried ones just before it,
-- whose remainder it collects with them. What was paid back since is taken out of the line it stands in.
SELECT s.account_id AS creator_id, sum(l.share_micros - coalesce(r.micros, 0))::bigint AS micros
FROM invoices collector
JOIN invoices i ON i.account_id = collector.account_id
  AND (i.id = collector.id OR i.total_cents = 0 AND (i.frozen_at, i.id) < (collector.frozen_at, collector.id)
    AND NOT EXISTS (
      SELECT FROM invoices other
      WHERE other.account_id = collector.account_id AND other.total_cents > 0
        AND (other.frozen_at, other.id) > (i.frozen_at, i.id)
        AND (other.frozen_at, other.id) < (collector.frozen_at, collector.id)))
JOIN invoice_lines l ON l.invoice_id = i.id
JOIN spells s ON s.id = l.spell_id
LEFT JOIN LATERAL (
  SELECT sum(amount_micros) AS micros FROM ledger_transfers
  WHERE source_id = l.id AND kind = 'refund_share') AS r ON true
WHERE collector.id = %(invoice_id)s AND collector.account_id = %(account_id)s
GROUP BY s.account_id
ORDER BY s.account_id

-- name: line_of_cast
-- The line that bills a metered cast, and how the invoice stands that collects it: its own, or the next that does.
SELECT l.id, coalesce((
  SELECT c.status FROM invoices c
  WHERE c.account_id = i.account_id AND c.total_cents > 0 AND (c.frozen_at, c.id) >= (i.frozen_at, i.id)
  ORDER BY c.frozen_at, c.id LIMIT 1), i.status)
FROM invoice_lines l
JOIN invoices i ON i.id = l.invoice_id
WHERE l.account_id = %(account_id)s AND l.month = %(month)s AND l.spell_id = %(spell_id)s
  AND l.settled_after < %(settled_at)s AND l.settled_until >= %(settled_at)s
ORDER BY l.settled_until, l.id LIMIT 1

-- name: grant_funds_read
-- What a grant was, what is gone of it, and of a purchase what went back for credits that were gone.
SELECT g.account_id, g.granted_micros,
  g.granted_micros - g.balance_micros - g.expired_micros - g.taken_back_micros AS used_micros,
  o.price_micros, coalesce((
    SELECT sum(t.owed_micros) FROM credit_takebacks t
    WHERE t.order_id = o.id AND t.reversed_at IS NULL), 0)::bigint AS owed_micros,
  o.granted_at AS bought_at
FROM credit_grants g LEFT JOIN credit_orders o ON o.id = g.order_id
WHERE g.id = %(grant_id)s AND g.account_id = %(account_id)s

-- name: grant_shares_read
-- What each creator has of a grant, and where it stands, from the ledger; the oldest share that must still wait; and
-- how many rows say so, by which those to come are told apart from these.
SELECT creator_id, sum(net)::bigint, sum(ripe)::bigint, sum(payable)::bigint, sum(lost)::bigint, min(waits_since),
  sum(moved)::bigint
FROM (
  SELECT
    CASE kind WHEN 'creator_share' THEN substr(credit, 9)::uuid WHEN 'refund_share' THEN substr(debit, 9)::uuid
      ELSE account_id END AS creator_id,
    CASE kind WHEN 'creator_share' THEN amount_micros WHEN 'refund_share' THEN -amount_micros ELSE 0 END AS net,
    CASE WHEN kind = 'creator_share' AND created_at <= %(ripe_until)s THEN amount_micros ELSE 0 END AS ripe,
    CASE WHEN credit LIKE 'payable:%%' THEN amount_micros WHEN debit LIKE 'payable:%%' THEN -amount_micros
      ELSE 0 END AS payable,
    CASE %(uncollected)s WHEN credit THEN amount_micros WHEN debit THEN -amount_micros ELSE 0 END AS lost,
    CASE WHEN kind = 'creator_share' AND created_at > %(ripe_until)s THEN created_at END AS waits_since,
    (kind NOT IN ('creator_share', 'refund_share'))::int AS moved
  FROM ledger_transfers WHERE source_id = %(grant_id)s
) AS rows
GROUP BY creator_id
ORDER BY creator_id

-- name: grant_seen
-- What of the grant was used when its shares were looked at, and when to look again whatever is used.
UPDATE credit_grants SET shares_seen_micros = %(used_micros)s, shares_look_at = %(look_at)s
WHERE id = %(grant_id)s AND account_id = %(account_id)s
  AND (shares_seen_micros, shares_look_at) IS DISTINCT FROM (%(used_micros)s, %(look_at)s::timestamptz)

-- name: grants_due
-- A page of grants whose shares are to be looked at: something was used since, unless it is known until when it waits.
SELECT id, account_id FROM credit_grants
WHERE id > %(after)s AND CASE WHEN shares_look_at IS NULL
  THEN granted_micros - balance_micros - expired_micros - taken_back_micros <> shares_seen_micros
  ELSE shares_look_at <= %(now)s END
ORDER BY id LIMIT %(limit)s
