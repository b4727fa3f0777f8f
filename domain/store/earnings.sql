-- name: billed_shares_read
-- What each creator has of an account's invoices that are paid or given up, and where the ledger has it. An invoice
-- decides about its own lines and about those of the carried ones just before it, whose remainder it collects. What was
-- paid back since is taken out of the line it stands in.
SELECT creator_id, sum(paid)::bigint AS paid_micros, sum(given_up)::bigint AS given_up_micros,
  sum(payable)::bigint AS payable_micros, sum(lost)::bigint AS lost_micros
FROM (
  SELECT s.account_id AS creator_id,
    CASE decides.status WHEN 'paid' THEN l.share_micros - coalesce(back.micros, 0) ELSE 0 END AS paid,
    CASE decides.status WHEN 'paid' THEN 0 ELSE l.share_micros - coalesce(back.micros, 0) END AS given_up,
    0 AS payable, 0 AS lost
  FROM invoices i
  CROSS JOIN LATERAL (
    SELECT status FROM invoices c
    WHERE c.account_id = i.account_id AND c.total_cents > 0 AND (c.frozen_at, c.id) >= (i.frozen_at, i.id)
    ORDER BY c.frozen_at, c.id LIMIT 1) AS decides
  JOIN invoice_lines l ON l.invoice_id = i.id
  JOIN spells s ON s.id = l.spell_id
  LEFT JOIN LATERAL (
    SELECT sum(amount_micros) AS micros FROM ledger_transfers
    WHERE source_id = l.id AND kind = 'refund_share') AS back ON true
  WHERE i.account_id = %(account_id)s AND decides.status IN ('paid', 'uncollectible', 'void')
  UNION ALL
  SELECT account_id, 0, 0,
    CASE WHEN credit LIKE 'payable:%%' THEN amount_micros WHEN debit LIKE 'payable:%%' THEN -amount_micros ELSE 0 END,
    CASE %(uncollected)s WHEN credit THEN amount_micros WHEN debit THEN -amount_micros ELSE 0 END
  FROM ledger_transfers WHERE source_id = %(account_id)s
) AS rows
GROUP BY creator_id
ORDER BY creator_id

-- name: collected_read
-- What the account's paid invoices collected, and how many rows moved shares of them so far.
SELECT
  (SELECT coalesce(sum(total_cents), 0) FROM invoices WHERE account_id = %(account_id)s AND status = 'paid')::bigint,
  (SELECT count(*) FROM ledger_transfers WHERE source_id = %(account_id)s)

-- name: line_of_cast
-- The line that bills a metered cast.
SELECT id FROM invoice_lines
WHERE account_id = %(account_id)s AND month = %(month)s AND spell_id = %(spell_id)s
  AND settled_after < %(settled_at)s AND settled_until >= %(settled_at)s
ORDER BY settled_until, id LIMIT 1

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
    CASE WHEN kind = 'creator_share' AND created_at <= %(ripe_until)s THEN amount_micros
      WHEN kind = 'refund_share' AND coalesce(
        (SELECT settled_at FROM usage_events u WHERE u.id = batch_id) <= %(ripe_until)s, true) THEN -amount_micros
      ELSE 0 END AS ripe,
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
-- A page of grants whose shares are to be looked at: it is time, or something was used since. While all of them wait
-- for a known instant that makes no difference, unless part of the purchase went back.
SELECT id, account_id FROM credit_grants g
WHERE id > %(after)s AND (
  shares_look_at <= %(now)s
  OR granted_micros - balance_micros - expired_micros - taken_back_micros <> shares_seen_micros
    AND (shares_look_at IS NULL OR EXISTS (SELECT FROM credit_takebacks t WHERE t.order_id = g.order_id)))
ORDER BY id LIMIT %(limit)s
