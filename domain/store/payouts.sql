-- name: account_lock
-- The mutex of the account's money. What it is owed is read by a later statement.
SELECT status FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE

-- name: account_read
-- The same for a look, without the lock.
SELECT status FROM accounts WHERE id = %(account_id)s

-- name: owed_read
-- What a creator is owed, and what of it became payable lately. What a payout gave back was old before.
SELECT
  (SELECT coalesce(sum(amount_micros), 0)::bigint FROM ledger_transfers
   WHERE credit = %(payable)s AND credit LIKE 'payable:%%')
  - (SELECT coalesce(sum(amount_micros), 0)::bigint FROM ledger_transfers
     WHERE debit = %(payable)s AND debit LIKE 'payable:%%') AS payable_micros,
  (SELECT coalesce(sum(amount_micros), 0)::bigint FROM ledger_transfers
   WHERE credit = %(payable)s AND credit LIKE 'payable:%%' AND created_at > %(since)s
     AND kind NOT LIKE 'payout%%') AS fresh_micros

-- name: payout_exists
-- Whether the month is frozen already.
SELECT EXISTS (SELECT FROM payouts WHERE account_id = %(account_id)s AND period = %(period)s)

-- name: payout_insert
-- Freeze a payout. A second one of the month is an error, never passed over.
INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros, amount_cents,
  stripe_account_id)
VALUES (%(id)s, %(account_id)s, %(run_id)s, %(period)s, %(now)s, %(payable_micros)s, %(held_back_micros)s,
  %(amount_cents)s, %(stripe_account_id)s)

-- name: payout_finish
-- The end of a payout, once: paid, or refused by Stripe.
UPDATE payouts SET
  status = %(status)s, stripe_transfer_id = %(stripe_transfer_id)s, refused_code = %(refused_code)s,
  finished_at = %(now)s
WHERE id = %(id)s AND account_id = %(account_id)s AND status = 'pending'
RETURNING id, period, frozen_at, amount_cents, held_back_micros, status, stripe_account_id, stripe_transfer_id,
  reversed_cents, refused_code, finished_at

-- name: payout_reverse
-- More of it was taken back than is known; no row comes back where that is known, or where it is owed anyway.
UPDATE payouts SET reversed_cents = %(reversed_cents)s
WHERE id = %(id)s AND account_id = %(account_id)s AND status <> 'refused' AND reversed_cents < %(reversed_cents)s

-- name: account_of_payout
-- Whose payout this is: what Stripe tells of it names no other owner.
SELECT account_id FROM payouts WHERE id = %(id)s

-- name: payout_get
-- One payout of the account.
SELECT id, period, frozen_at, amount_cents, held_back_micros, status, stripe_account_id, stripe_transfer_id,
  reversed_cents, refused_code, finished_at
FROM payouts WHERE account_id = %(account_id)s AND id = %(id)s

-- name: payouts_list
-- The account's payouts, newest first.
SELECT id, period, frozen_at, amount_cents, held_back_micros, status, stripe_account_id, stripe_transfer_id,
  reversed_cents, refused_code, finished_at
FROM payouts
WHERE account_id = %(account_id)s
  AND (frozen_at, id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s)
  AND frozen_at >= coalesce(%(since)s::timestamptz, '-infinity')
ORDER BY frozen_at DESC, id DESC
LIMIT %(limit)s
