-- name: addresses_read
-- Every mail address that leads to the person.
SELECT DISTINCT lower(email) FROM (
  SELECT email FROM users WHERE account_id = %(account_id)s
  UNION ALL SELECT email FROM identities WHERE account_id = %(account_id)s
  UNION ALL SELECT subject FROM identities WHERE account_id = %(account_id)s AND issuer = %(mail_issuer)s) AS known
WHERE email IS NOT NULL

-- name: session_opened
-- When a living session began.
SELECT created_at FROM sessions WHERE id = %(id)s AND account_id = %(account_id)s AND ended_at IS NULL

-- name: standing_read
-- What may stand in the way of an erasure.
SELECT handle, kind, subscription_active FROM accounts WHERE id = %(account_id)s

-- name: erasure_insert
-- Begin an erasure; none when there is one.
INSERT INTO erasures (account_id, requested_at, looked_at) VALUES (%(account_id)s, %(now)s, %(now)s)
ON CONFLICT (account_id) DO NOTHING

-- name: account_close
-- From here on nobody signs in to the account, no key opens it and no cast of it is admitted.
UPDATE accounts SET status = 'erased', handle = %(handle)s, has_webhooks = false, listening_until = NULL
WHERE id = %(account_id)s

-- name: handle_retire
-- Nobody takes the handle again.
INSERT INTO retired_handles SELECT sha256(convert_to(handle, 'UTF8')) FROM accounts WHERE id = %(account_id)s
ON CONFLICT DO NOTHING

-- name: user_forget
-- What is left of the person: an id, and when it became one.
UPDATE users SET email = NULL, email_verified_at = NULL, name = '', role = 'user', erased_at = %(now)s
WHERE account_id = %(account_id)s

-- name: identities_delete
-- As whom others know the person.
DELETE FROM identities WHERE account_id = %(account_id)s

-- name: sessions_delete
-- Where the person signed in, and with that every session.
DELETE FROM sessions WHERE account_id = %(account_id)s

-- name: devices_delete
-- Programs that were let in.
DELETE FROM device_logins WHERE user_id IN (SELECT id FROM users WHERE account_id = %(account_id)s)

-- name: links_delete
-- Links that are on their way to the person's addresses.
DELETE FROM magic_links WHERE email = ANY(%(addresses)s)

-- name: strangers_mail_delete
-- Mail to these addresses from before there was an account, under the ids that stand for them.
DELETE FROM outgoing WHERE account_id = ANY(%(stranger_ids)s) AND endpoint_id IS NULL

-- name: keys_forget
-- End every key, with what somebody wrote about it; the row stays for the casts and counters that name it.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, %(now)s), name = '', secret_hash = '', allowed_origins = '{}',
  last_used_at = NULL, previous_prefix = NULL, previous_secret_hash = NULL, previous_until = NULL
WHERE account_id = %(account_id)s

-- name: budgets_delete
-- Limits bind nobody any more; their windows stay for the casts that name them.
UPDATE budgets SET deleted_at = coalesce(deleted_at, %(now)s), notify = false WHERE account_id = %(account_id)s

-- name: endpoints_forget
-- Nothing more is sent anywhere; the row stays without its address.
UPDATE webhook_endpoints SET deleted_at = coalesce(deleted_at, %(now)s), url = 'https://erased.invalid/',
  description = ''
WHERE account_id = %(account_id)s

-- name: spells_forget
-- Retire every spell. One that others cast keeps its name, below the pseudonym, so that exact versions go on; of the
-- others nothing is left to be read. Who cast them is told by the counters: all casts of a spell, less the owner's own.
WITH used AS (
  SELECT s.id, coalesce((SELECT sum(casts) FROM usage_counters
      WHERE account_id = %(account_id)s AND dimension = 'spell' AND subject_id = s.id), 0)
    > coalesce((SELECT sum(casts) FROM usage_days
      WHERE account_id = %(account_id)s AND dimension = 'account_spell' AND subject_id = s.id), 0) AS by_others
  FROM spells s WHERE s.account_id = %(account_id)s
), retired AS (
  UPDATE spell_versions v SET yanked_at = coalesce(v.yanked_at, %(now)s), deprecation = NULL,
    manifest = CASE WHEN used.by_others
      THEN (v.manifest::jsonb - ARRAY['name', 'description', 'license', 'tags'])::json ELSE '{}' END
  FROM used WHERE v.spell_id = used.id
)
UPDATE spells s SET description = '', deprecation = CASE WHEN used.by_others THEN %(farewell)s END,
  name = CASE WHEN used.by_others THEN s.name ELSE 'erased-' || left(md5(s.id::text), 12) END,
  visibility = CASE WHEN used.by_others THEN s.visibility ELSE 'private' END
FROM used WHERE s.id = used.id

-- name: prices_end
-- Nobody is there to be paid: what is still cast costs the platform's price alone. A new row each, for none is changed.
INSERT INTO spell_prices (version_id, number, account_id, announced_at, effective_at, before_per_cast_micros,
  before_per_output_kib_micros, before_per_unit_micros, per_cast_micros, per_output_kib_micros, per_unit_micros,
  units_max)
SELECT version_id, number + 1, account_id, instant, instant,
  CASE WHEN effective_at <= instant THEN per_cast_micros ELSE before_per_cast_micros END,
  CASE WHEN effective_at <= instant THEN per_output_kib_micros ELSE before_per_output_kib_micros END,
  CASE WHEN effective_at <= instant THEN per_unit_micros ELSE before_per_unit_micros END,
  0, 0, 0, units_max
FROM (
  SELECT DISTINCT ON (version_id) *, date_trunc('milliseconds', %(now)s::timestamptz) AS instant FROM spell_prices
  WHERE account_id = %(account_id)s ORDER BY version_id, number DESC) AS latest
WHERE per_cast_micros + per_output_kib_micros + per_unit_micros > 0

-- name: orders_forget
-- Pages of a checkout.
UPDATE credit_orders SET checkout_url = NULL, stripe_payment_method = NULL WHERE account_id = %(account_id)s

-- name: invoices_forget
-- Pages that show the name; of an invoice that is still open Stripe mails its own.
UPDATE invoices SET hosted_url = NULL, pdf_url = NULL WHERE account_id = %(account_id)s

-- name: top_ups_end
-- No card is charged again.
UPDATE auto_top_ups SET enabled = false WHERE account_id = %(account_id)s

-- name: exports_end
-- Nobody may fetch an export any more, and none is gone on with.
UPDATE privacy_exports SET status = 'expired', lease_until = NULL, state = NULL, error = NULL,
  finished_at = coalesce(finished_at, %(now)s), expires_at = coalesce(expires_at, %(now)s)
WHERE account_id = %(account_id)s

-- name: erasure_claim
-- Take the erasure that waits longest; who works on another holds its row.
SELECT account_id, casts_after FROM erasures WHERE finished_at IS NULL
ORDER BY looked_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: erasure_look
-- Come back to it after the others.
UPDATE erasures SET looked_at = %(now)s WHERE account_id = %(account_id)s

-- name: erasure_finish
-- Nothing is left that names anybody.
UPDATE erasures SET finished_at = %(now)s WHERE account_id = %(account_id)s AND finished_at IS NULL

-- name: casts_open
-- What is under way, oldest first.
SELECT id FROM casts WHERE account_id = %(account_id)s AND status IN ('queued', 'running') ORDER BY id LIMIT %(limit)s

-- name: casts_forget
-- Empty what casts read, wrote and carried, a bounded number at a time; what they used and cost stays.
WITH page AS (
  SELECT id FROM casts WHERE account_id = %(account_id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
), emptied AS (
  UPDATE casts c SET input = NULL, output = NULL, log = NULL, metadata = '{}', webhook_url = NULL, traceparent = NULL,
    error_message = NULL
  FROM page WHERE c.id = page.id
)
UPDATE erasures SET casts_after = (SELECT id FROM page ORDER BY id DESC LIMIT 1)
WHERE account_id = %(account_id)s AND EXISTS (SELECT FROM page)

-- name: deliveries_delete
-- What was sent, to whom, and what was answered; the attempts go with their rows.
DELETE FROM outgoing WHERE id IN (SELECT id FROM outgoing WHERE account_id = %(account_id)s LIMIT %(limit)s)

-- name: idempotency_delete
-- Names the person gave to requests.
DELETE FROM idempotency_keys WHERE account_id = %(account_id)s

-- name: pieces_delete
-- Archives with everything in them, a bounded number of pieces at a time.
DELETE FROM privacy_export_pieces WHERE (export_id, piece) IN (
  SELECT export_id, piece FROM privacy_export_pieces WHERE account_id = %(account_id)s LIMIT %(limit)s)

-- name: audit_forget
-- Where entries of the log came from, and what somebody wrote into names.
SELECT audit_forget(%(account_id)s, %(personal_fields)s)
