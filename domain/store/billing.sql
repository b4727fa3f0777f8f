-- name: billing_ensure
-- Give an account its row. The caller holds the account's lock.
INSERT INTO billing_accounts (account_id, created_at, updated_at) VALUES (%(account_id)s, %(now)s, %(now)s)
ON CONFLICT (account_id) DO NOTHING

-- name: billing_get
-- How the account pays.
SELECT account_id, stripe_customer_id, stripe_subscription_id, status, plan, stripe_price_id, current_period_end, ends_at,
  grace_until, unpaid_invoices, checkout_session_id, asked_at, created_at, updated_at
FROM billing_accounts WHERE account_id = %(account_id)s

-- name: account_of_customer
-- Whose customer this is, of all accounts: events name no other owner.
SELECT account_id FROM billing_accounts WHERE stripe_customer_id = %(customer_id)s

-- name: customer_set
-- Remember who the account is at Stripe. The caller holds the account's lock.
UPDATE billing_accounts SET stripe_customer_id = %(customer_id)s, updated_at = %(now)s
WHERE account_id = %(account_id)s

-- name: checkout_set
-- Remember which page is open to subscribe.
UPDATE billing_accounts SET checkout_session_id = %(session_id)s, updated_at = %(now)s WHERE account_id = %(account_id)s

-- name: billing_update
-- Write how the account pays now. The caller holds the account's lock.
UPDATE billing_accounts SET
  stripe_subscription_id = %(stripe_subscription_id)s, status = %(status)s, plan = %(plan)s,
  stripe_price_id = %(stripe_price_id)s, current_period_end = %(current_period_end)s, ends_at = %(ends_at)s,
  grace_until = %(grace_until)s, unpaid_invoices = %(unpaid_invoices)s,
  checkout_session_id = %(checkout_session_id)s, asked_at = %(asked_at)s, updated_at = %(now)s
WHERE account_id = %(account_id)s

-- name: account_set
-- Bring to admission what follows from it; the plan only where it changed, for an operator may have set another.
UPDATE accounts SET subscription_active = %(subscription_active)s, plan = coalesce(%(plan)s, plan)
WHERE id = %(account_id)s

-- name: account_get
-- What admission asks of the account.
SELECT plan, billing, subscription_active, spend_paused FROM accounts WHERE id = %(account_id)s

-- name: paused_set
-- Stop or allow all spending; no row comes back where it was so already. The caller holds the account's lock.
UPDATE accounts SET spend_paused = %(paused)s WHERE id = %(account_id)s AND spend_paused <> %(paused)s RETURNING id

-- name: payer_get
-- Who the account is to Stripe: its handle, and its user's address.
SELECT a.handle, u.email FROM accounts a LEFT JOIN users u ON u.account_id = a.id WHERE a.id = %(account_id)s

-- name: month_get
-- What an account used of a month, of its free allowance too.
SELECT spent_micros, held_micros, free_used + free_held AS free_taken
FROM account_months WHERE account_id = %(account_id)s AND month = %(month)s

-- name: grace_over
-- Accounts of any owner whose grace has ended and whose metered casts are still accepted.
SELECT b.account_id FROM billing_accounts b JOIN accounts a ON a.id = b.account_id
WHERE b.grace_until <= %(now)s AND a.subscription_active
ORDER BY b.account_id LIMIT %(limit)s
