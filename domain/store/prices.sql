-- name: prices_lock
-- One writer at a time; readers are not held up.
SELECT pg_advisory_xact_lock(hashtext('spell.price_book'))

-- name: price_latest
-- The price new casts are accepted under, of everybody who has not agreed on another.
SELECT version, per_cast_micros, per_gfuel_micros, platform_share_percent
FROM price_book WHERE for_everybody ORDER BY version DESC LIMIT 1

-- name: price_of_account
-- What was agreed on with one account; it counts while the account is on plan enterprise.
SELECT p.version, p.per_cast_micros, p.per_gfuel_micros, p.platform_share_percent
FROM accounts a JOIN price_book p ON p.version = a.price_version WHERE a.id = %(account_id)s AND a.plan = 'enterprise'

-- name: account_price_set
-- Let an account pay by a version of its own, on plan enterprise, or by everybody's again.
UPDATE accounts SET price_version = %(version)s,
  plan = CASE WHEN %(version)s::integer IS NULL THEN plan ELSE 'enterprise' END
WHERE id = %(account_id)s

-- name: version_next
-- The number of the version to be written; the writer has the lock.
SELECT coalesce(max(version), 0) + 1 FROM price_book

-- name: prices_list
-- Every version, for settling casts by the one they were accepted under.
SELECT version, per_cast_micros, per_gfuel_micros, platform_share_percent FROM price_book ORDER BY version

-- name: price_insert
-- Write a version; versions are never edited.
INSERT INTO price_book (version, per_cast_micros, per_gfuel_micros, platform_share_percent, for_everybody, created_at)
VALUES (
  %(version)s, %(per_cast_micros)s, %(per_gfuel_micros)s, %(platform_share_percent)s, %(for_everybody)s, %(now)s)
