-- name: account_ensure
-- Give a creator a row, before Stripe is asked for an account. The caller holds the account's lock.
INSERT INTO payout_accounts (account_id, tried_at, created_at, updated_at)
VALUES (%(account_id)s, %(now)s, %(now)s, %(now)s)
ON CONFLICT (account_id) DO NOTHING

-- name: account_get
-- Who the creator is at Stripe.
SELECT account_id, epoch, tried_at, stripe_account_id, details_submitted, transfers_active, payouts_enabled,
  disabled_reason, asked_at, created_at
FROM payout_accounts WHERE account_id = %(account_id)s

-- name: account_of_connected
-- Whose account at Stripe this is: events name no other owner.
SELECT account_id FROM payout_accounts WHERE stripe_account_id = %(stripe_account_id)s

-- name: connected_set
-- Remember the account that Stripe made; one that is remembered stays. The caller holds the account's lock.
UPDATE payout_accounts SET stripe_account_id = %(stripe_account_id)s, updated_at = %(now)s
WHERE account_id = %(account_id)s AND stripe_account_id IS NULL

-- name: epoch_raise
-- Take the next key, for an account that was looked for and not found; what is known of an earlier one is forgotten.
UPDATE payout_accounts SET
  epoch = epoch + 1, tried_at = %(now)s, stripe_account_id = NULL, details_submitted = false, transfers_active = false,
  payouts_enabled = false, disabled_reason = NULL, asked_at = NULL, updated_at = %(now)s
WHERE account_id = %(account_id)s AND epoch = %(epoch)s
  AND stripe_account_id IS NOT DISTINCT FROM %(stripe_account_id)s::text

-- name: account_update
-- Write how it stands at Stripe; no row comes back for an answer to an earlier question than the one that stands.
UPDATE payout_accounts SET
  details_submitted = %(details_submitted)s, transfers_active = %(transfers_active)s,
  payouts_enabled = %(payouts_enabled)s, disabled_reason = %(disabled_reason)s, asked_at = %(asked_at)s,
  updated_at = %(asked_at)s
WHERE account_id = %(account_id)s AND stripe_account_id = %(stripe_account_id)s
  AND (asked_at IS NULL OR asked_at < %(asked_at)s)
