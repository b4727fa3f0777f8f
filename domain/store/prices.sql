-- name: prices_lock
-- One writer at a time; readers are not held up.
SELECT pg_advisory_xact_lock(hashtext('spell.price_book'))

-- name: price_latest
-- The price new casts are accepted under.
SELECT version, per_cast_micros, per_gfuel_micros, platform_share_percent FROM price_book ORDER BY version DESC LIMIT 1

-- name: prices_list
-- Every version, for settling casts by the one they were accepted under.
SELECT version, per_cast_micros, per_gfuel_micros, platform_share_percent FROM price_book ORDER BY version

-- name: price_insert
-- Write a version; versions are never edited.
INSERT INTO price_book (version, per_cast_micros, per_gfuel_micros, platform_share_percent, created_at)
VALUES (%(version)s, %(per_cast_micros)s, %(per_gfuel_micros)s, %(platform_share_percent)s, %(now)s)
