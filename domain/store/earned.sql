-- name: balance_read
-- What a creator earned and where it is, added up from the ledger. Casts while billing was off are on nobody's bill.
SELECT earned.micros - refunded.micros AS earned_micros, earned.unbilled - refunded.unbilled AS unbilled_micros,
  earned.micros - refunded.micros - earned.unbilled + refunded.unbilled - moved.micros AS pending_micros,
  moved.lost AS lost_micros, owed.micros AS payable_micros,
  moved.micros - moved.lost - owed.micros - under_way.micros AS paid_micros, under_way.micros AS under_way_micros
FROM (
  SELECT coalesce(sum(amount_micros), 0)::bigint AS micros,
    coalesce(sum(amount_micros) FILTER (WHERE debit LIKE 'unbilled:%%'), 0)::bigint AS unbilled
  FROM ledger_transfers WHERE credit = %(creator)s AND kind = 'creator_share') earned,
(
  SELECT coalesce(sum(amount_micros), 0)::bigint AS micros,
    coalesce(sum(amount_micros) FILTER (WHERE credit LIKE 'unbilled:%%'), 0)::bigint AS unbilled
  FROM ledger_transfers WHERE debit = %(creator)s AND kind = 'refund_share') refunded,
(
  SELECT coalesce(sum(CASE %(creator)s WHEN debit THEN amount_micros WHEN credit THEN -amount_micros END), 0)::bigint
      AS micros,
    coalesce(sum(CASE %(uncollected)s WHEN credit THEN amount_micros WHEN debit THEN -amount_micros END), 0)::bigint
      AS lost
  FROM ledger_transfers
  WHERE account_id = %(account_id)s AND kind IN ('share_collected', 'share_returned', 'share_lost')) moved,
(
  SELECT (SELECT coalesce(sum(amount_micros), 0) FROM ledger_transfers
          WHERE credit = %(payable)s AND credit LIKE 'payable:%%')::bigint
    - (SELECT coalesce(sum(amount_micros), 0) FROM ledger_transfers
       WHERE debit = %(payable)s AND debit LIKE 'payable:%%')::bigint AS micros) owed,
(
  SELECT coalesce(sum(amount_cents), 0)::bigint * 10000 AS micros FROM payouts
  WHERE account_id = %(account_id)s AND status = 'pending') under_way

-- name: months_read
-- What a creator earned in each month, by when it was booked, and what was paid back to who had paid for it.
SELECT month, sum(earned)::bigint AS earned_micros, sum(refunded)::bigint AS refunded_micros
FROM (
  SELECT date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month, amount_micros AS earned, 0 AS refunded
  FROM ledger_transfers
  WHERE credit = %(creator)s AND kind = 'creator_share' AND debit NOT LIKE 'unbilled:%%'
    AND month >= %(accepted_from)s AND created_at >= %(begins)s
  UNION ALL
  SELECT date_trunc('month', created_at AT TIME ZONE 'UTC')::date, 0, amount_micros
  FROM ledger_transfers
  WHERE debit = %(creator)s AND kind = 'refund_share' AND credit NOT LIKE 'unbilled:%%' AND created_at >= %(begins)s
) AS booked
GROUP BY month
ORDER BY month

-- name: parts_read
-- The same of some days, by day, by spell or by both, with the casts that were accepted on these days, whoever paid.
SELECT parts.day, parts.spell_id, a.handle || '/' || s.name AS spell, parts.casts, parts.earned_micros,
  parts.refunded_micros
FROM (
  SELECT CASE WHEN %(by_day)s THEN day END AS day, CASE WHEN %(by_spell)s THEN spell_id END AS spell_id,
    sum(casts)::bigint AS casts, sum(earned)::bigint AS earned_micros, sum(refunded)::bigint AS refunded_micros
  FROM (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, spell_id, 0 AS casts, amount_micros AS earned, 0 AS refunded
    FROM ledger_transfers
    WHERE credit = %(creator)s AND kind = 'creator_share' AND debit NOT LIKE 'unbilled:%%'
      AND month >= %(accepted_from)s AND created_at >= %(begins)s AND created_at < %(ends)s
    UNION ALL
    SELECT (created_at AT TIME ZONE 'UTC')::date, spell_id, 0, 0, amount_micros
    FROM ledger_transfers
    WHERE debit = %(creator)s AND kind = 'refund_share' AND credit NOT LIKE 'unbilled:%%'
      AND created_at >= %(begins)s AND created_at < %(ends)s
    UNION ALL
    SELECT starts_on, subject_id, casts, 0, 0
    FROM usage_counters
    WHERE account_id = %(account_id)s AND dimension = 'spell' AND period = 'day' AND funding <> 'test'
      AND starts_on >= %(first)s AND starts_on <= %(last)s
  ) AS booked
  GROUP BY 1, 2
) AS parts
LEFT JOIN spells s ON s.id = parts.spell_id
LEFT JOIN accounts a ON a.id = s.account_id
ORDER BY parts.day, parts.earned_micros DESC, parts.casts DESC, parts.spell_id
LIMIT %(limit)s
