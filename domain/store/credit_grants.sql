-- name: packages_list
-- What is for sale, the smallest first.
SELECT id, name, credits, price_cents, stripe_price FROM credit_packages
WHERE retired_at IS NULL ORDER BY price_cents, id

-- name: package_get
-- One package, whether it is still for sale or not.
SELECT id, name, credits, price_cents, stripe_price FROM credit_packages
WHERE id = %(id)s AND (retired_at IS NULL OR NOT %(for_sale)s)

-- name: package_price_set
-- Which price at Stripe it is sold under; null: none.
UPDATE credit_packages SET stripe_price = %(stripe_price)s WHERE id = %(id)s

-- name: grant_insert
-- Give credits; of an order only once.
INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros, expires_at, order_id, reason, created_at)
VALUES (
  %(id)s, %(account_id)s, %(priority)s, %(micros)s, %(micros)s, %(expires_at)s, %(order_id)s, %(reason)s, %(now)s)
ON CONFLICT DO NOTHING

-- name: grant_get
-- A grant of the account, whatever is left of it.
SELECT id, account_id, priority, granted_micros, balance_micros, held_micros, expires_at, order_id, reason, created_at
FROM credit_grants WHERE account_id = %(account_id)s AND id = %(id)s

-- name: grant_of_order
-- What the order gave.
SELECT id, account_id, priority, granted_micros, balance_micros, held_micros, expires_at, order_id, reason, created_at
FROM credit_grants WHERE account_id = %(account_id)s AND order_id = %(order_id)s

-- name: grants_alive
-- What is left of the account's grants, in the order in which it is used up.
SELECT id, account_id, priority, granted_micros, balance_micros, held_micros, expires_at, order_id, reason, created_at
FROM credit_grants WHERE account_id = %(account_id)s AND balance_micros > 0
ORDER BY priority, expires_at NULLS LAST, id

-- name: credits_ever_set
-- From now on a cast without money asks for credits, not for an upgrade.
UPDATE accounts SET credits_ever = true WHERE id = %(account_id)s AND NOT credits_ever

-- name: grants_spend
-- Take from grants what a service consumed; a grant without that much free is not updated, and the caller counts.
UPDATE credit_grants g SET balance_micros = g.balance_micros - r.micros
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, micros bigint)
WHERE g.id = r.id AND g.account_id = %(account_id)s AND g.balance_micros - g.held_micros >= r.micros

-- name: grant_expire
-- Take what is left of a grant whose time is over, but for what open casts hold. Returns what has expired of it by now.
UPDATE credit_grants SET balance_micros = balance_micros - %(micros)s, expired_micros = expired_micros + %(micros)s
WHERE id = %(id)s AND account_id = %(account_id)s AND balance_micros - held_micros >= %(micros)s
RETURNING expired_micros

-- name: grant_take_back
-- Take credits whose money went back, but for what open casts hold.
UPDATE credit_grants SET balance_micros = balance_micros - %(micros)s, taken_back_micros = taken_back_micros + %(micros)s
WHERE id = %(id)s AND account_id = %(account_id)s AND balance_micros - held_micros >= %(micros)s

-- name: grant_give_back
-- Give back what was taken: the money came again.
UPDATE credit_grants SET balance_micros = balance_micros + %(micros)s, taken_back_micros = taken_back_micros - %(micros)s
WHERE id = %(id)s AND account_id = %(account_id)s AND taken_back_micros >= %(micros)s

-- name: transaction_insert
-- Write down a change that was just made: the grants say what is left by now. Returns its number.
INSERT INTO credit_transactions (
  account_id, number, kind, amount_micros, balance_before_micros, balance_after_micros, reason, reference_type,
  reference_id, created_at)
SELECT %(account_id)s,
  coalesce((SELECT max(number) FROM credit_transactions WHERE account_id = %(account_id)s), 0) + 1,
  %(kind)s, %(amount_micros)s, left_over.micros - %(amount_micros)s, left_over.micros, %(reason)s, %(reference_type)s,
  %(reference_id)s, %(now)s
FROM (
  SELECT coalesce(sum(balance_micros), 0)::bigint AS micros FROM credit_grants
  WHERE account_id = %(account_id)s AND balance_micros > 0) AS left_over
RETURNING number

-- name: transactions_list
-- Page through the history of a balance, newest first.
SELECT number, kind, amount_micros, balance_before_micros, balance_after_micros, reason, reference_type, reference_id,
  casts, created_at
FROM credit_transactions
WHERE account_id = %(account_id)s
  AND (%(before)s::bigint IS NULL OR number < %(before)s::bigint)
  AND (%(created_after)s::timestamptz IS NULL OR created_at >= %(created_after)s::timestamptz)
  AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s::timestamptz)
ORDER BY number DESC
LIMIT %(limit)s

-- name: transaction_get
-- One change of a balance.
SELECT number, kind, amount_micros, balance_before_micros, balance_after_micros, reason, reference_type, reference_id,
  casts, created_at
FROM credit_transactions WHERE account_id = %(account_id)s AND number = %(number)s

-- name: balance_read
-- What the account has, holds and had, from its grants: consumed is what nothing else explains.
SELECT coalesce(sum(balance_micros), 0)::bigint AS balance_micros,
  coalesce(sum(held_micros), 0)::bigint AS held_micros,
  coalesce(sum(balance_micros - held_micros) FILTER (WHERE expires_at IS NULL OR expires_at > %(now)s), 0)::bigint
    AS available_micros,
  coalesce(sum(granted_micros) FILTER (WHERE order_id IS NOT NULL), 0)::bigint AS purchased_micros,
  coalesce(sum(granted_micros) FILTER (WHERE order_id IS NULL), 0)::bigint AS granted_micros,
  coalesce(sum(granted_micros - balance_micros - expired_micros - taken_back_micros), 0)::bigint AS consumed_micros,
  coalesce(sum(expired_micros), 0)::bigint AS expired_micros
FROM credit_grants WHERE account_id = %(account_id)s

-- name: consumption_get
-- What this call of a service took before. The key is the service's own, whatever account it named.
SELECT account_id, request_hash, number FROM credit_consumptions
WHERE caller_id = %(caller_id)s AND idempotency_key = %(idempotency_key)s

-- name: consumption_insert
-- Remember what a call took, unless its key is being used for another account at this moment.
INSERT INTO credit_consumptions (
  id, account_id, caller_id, idempotency_key, request_hash, amount_micros, number, created_at)
VALUES (
  %(id)s, %(account_id)s, %(caller_id)s, %(idempotency_key)s, %(request_hash)s, %(amount_micros)s, %(number)s, %(now)s)
ON CONFLICT DO NOTHING

-- name: account_named
-- The account behind an id that a service gives: the account's own, or its user's.
SELECT coalesce(
  (SELECT id FROM accounts WHERE id = %(id)s),
  (SELECT account_id FROM users WHERE id = %(id)s))

-- name: user_of_account
-- Whose account it is; none of an organisation's.
SELECT id FROM users WHERE account_id = %(account_id)s

-- name: accounts_expiring
-- Accounts with grants whose time is over and of which something can be taken.
SELECT account_id FROM credit_grants
WHERE expires_at <= %(now)s AND balance_micros > held_micros AND balance_micros > 0
GROUP BY account_id LIMIT %(limit)s
