-- name: top_up_get
-- What the account has set.
SELECT account_id, enabled, package_id, threshold_micros, monthly_cap_micros, paused_at, updated_at
FROM auto_top_ups WHERE account_id = %(account_id)s

-- name: top_up_put
-- Set it; a pause after a failed payment ends with that.
INSERT INTO auto_top_ups AS a (
  account_id, enabled, package_id, threshold_micros, monthly_cap_micros, paused_at, updated_at)
VALUES (
  %(account_id)s, %(enabled)s, %(package_id)s, %(threshold_micros)s, %(monthly_cap_micros)s, NULL, %(updated_at)s)
ON CONFLICT (account_id) DO UPDATE SET
  enabled = excluded.enabled, package_id = excluded.package_id, threshold_micros = excluded.threshold_micros,
  monthly_cap_micros = excluded.monthly_cap_micros, paused_at = NULL, updated_at = excluded.updated_at

-- name: top_up_pause
-- A payment failed: try no more until somebody has set it again.
UPDATE auto_top_ups SET paused_at = %(now)s WHERE account_id = %(account_id)s AND paused_at IS NULL

-- name: need_read
-- How an account stands: what is available, what is being paid, what top-ups of the month have cost.
SELECT
  (SELECT coalesce(sum(balance_micros - held_micros), 0)::bigint FROM credit_grants
   WHERE account_id = %(account_id)s AND balance_micros > 0 AND (expires_at IS NULL OR expires_at > %(now)s))
    AS available_micros,
  count(*) FILTER (WHERE o.status = 'pending') AS open_orders,
  coalesce(sum(o.price_micros) FILTER (
    WHERE o.status NOT IN ('failed', 'expired') AND o.created_at >= %(month_begins)s), 0)::bigint AS spent_micros
FROM credit_orders o
WHERE o.account_id = %(account_id)s AND o.origin = 'top_up'
  AND (o.status = 'pending' OR o.created_at >= %(month_begins)s)

-- name: accounts_low
-- Accounts that may be due, asked without a lock: each is judged again under its own.
SELECT t.account_id FROM auto_top_ups t
WHERE t.enabled AND t.paused_at IS NULL AND t.account_id > %(after)s
  AND t.threshold_micros > (
    SELECT coalesce(sum(g.balance_micros - g.held_micros), 0) FROM credit_grants g
    WHERE g.account_id = t.account_id AND g.balance_micros > 0 AND (g.expires_at IS NULL OR g.expires_at > %(now)s))
  AND NOT EXISTS (
    SELECT FROM credit_orders o WHERE o.account_id = t.account_id AND o.origin = 'top_up' AND o.status = 'pending')
ORDER BY t.account_id
LIMIT %(limit)s
