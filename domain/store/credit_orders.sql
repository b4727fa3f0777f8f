-- name: order_insert
-- Write an order that waits for its money.
INSERT INTO credit_orders (
  id, account_id, origin, package_id, credits, price_micros, granted_micros, created_at)
VALUES (
  %(id)s, %(account_id)s, %(origin)s, %(package_id)s, %(credits)s, %(price_micros)s, %(granted_micros)s, %(now)s)

-- name: order_get
-- One order of the account.
SELECT o.id, o.account_id, o.origin, o.package_id, p.name AS package_name, o.credits, o.price_micros, o.granted_micros,
  o.status, o.stripe_session, o.stripe_payment, o.stripe_payment_method, o.stripe_customer,
  o.stripe_refunded_micros, o.checkout_url, o.created_at, o.granted_at
FROM credit_orders o JOIN credit_packages p ON p.id = o.package_id
WHERE o.account_id = %(account_id)s AND o.id = %(id)s

-- name: order_owner
-- Whose order it is: all there is to know before the account is locked.
SELECT account_id FROM credit_orders WHERE id = %(id)s

-- name: order_update
-- What is known of an order by now. What Stripe calls it is written once and stays.
UPDATE credit_orders SET
  status = %(status)s, granted_at = %(granted_at)s,
  stripe_session = coalesce(stripe_session, %(stripe_session)s),
  stripe_payment = coalesce(stripe_payment, %(stripe_payment)s),
  stripe_payment_method = coalesce(stripe_payment_method, %(stripe_payment_method)s),
  stripe_customer = coalesce(stripe_customer, %(stripe_customer)s),
  stripe_refunded_micros = greatest(stripe_refunded_micros, %(stripe_refunded_micros)s),
  checkout_url = coalesce(checkout_url, %(checkout_url)s)
WHERE account_id = %(account_id)s AND id = %(id)s

-- name: takeback_insert
-- Write what went back of an order; the same cause a second time is an error.
INSERT INTO credit_takebacks (
  id, account_id, order_id, kind, reference, money_micros, credits_micros, owed_micros, created_at, reversed_at)
VALUES (
  %(id)s, %(account_id)s, %(order_id)s, %(kind)s, %(reference)s, %(money_micros)s, %(credits_micros)s, %(owed_micros)s,
  %(now)s, %(reversed_at)s)

-- name: takebacks_list
-- What went back of an order, and what of that came again.
SELECT id, order_id, kind, reference, money_micros, credits_micros, owed_micros, reversed_at
FROM credit_takebacks WHERE account_id = %(account_id)s AND order_id = %(order_id)s ORDER BY created_at, id

-- name: takeback_order
-- Which order it is of.
SELECT order_id FROM credit_takebacks WHERE account_id = %(account_id)s AND id = %(id)s

-- name: takeback_reverse
-- It was given back, once.
UPDATE credit_takebacks SET reversed_at = %(now)s
WHERE account_id = %(account_id)s AND id = %(id)s AND reversed_at IS NULL

-- name: orders_list
-- Page through the orders of an account, newest first.
SELECT o.id, o.account_id, o.origin, o.package_id, p.name AS package_name, o.credits, o.price_micros, o.granted_micros,
  o.status, o.stripe_session, o.stripe_payment, o.stripe_payment_method, o.stripe_customer,
  o.stripe_refunded_micros, o.checkout_url, o.created_at, o.granted_at
FROM credit_orders o JOIN credit_packages p ON p.id = o.package_id
WHERE o.account_id = %(account_id)s
  AND (%(before_at)s::timestamptz IS NULL OR (o.created_at, o.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
ORDER BY o.created_at DESC, o.id DESC
LIMIT %(limit)s

-- name: kept_card_get
-- The card of the newest purchase whose buyer let it be kept.
SELECT stripe_customer AS customer_id, stripe_payment_method AS payment_method_id FROM credit_orders
WHERE account_id = %(account_id)s AND granted_at IS NOT NULL AND stripe_payment_method IS NOT NULL
  AND stripe_customer IS NOT NULL
ORDER BY created_at DESC, id DESC
LIMIT 1

-- name: orders_waiting
-- Orders of checkouts that have waited so long that Stripe's page is over: to be looked at, whatever events were lost.
SELECT id, stripe_session FROM credit_orders
WHERE status = 'pending' AND origin = 'checkout' AND created_at <= %(before)s AND account_id IS NOT NULL
ORDER BY created_at
LIMIT %(limit)s
