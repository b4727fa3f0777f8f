-- name: casts_by_id
-- Casts by id, whoever they belong to: the edge compares the account. One statement for all who ask in one tick.
SELECT id, account_id, key_id, version_id, status, accepted_at, started_at, finished_at, data_expires_at,
  coalesce(data_expires_at <= clock_timestamp(), false) AS data_expired, data_once, held_micros, cost_micros, funding,
  output, log, metadata, error_code, error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts
FROM casts
WHERE id = ANY(%(ids)b::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s

-- name: casts_list
-- A page of an account's live casts, newest first: ids are UUIDv7, so their order is that of acceptance.
-- Data that is kept until its first reading is not in it: looking over a list must not cost somebody their result.
SELECT id, account_id, key_id, version_id, status, accepted_at, started_at, finished_at, data_expires_at,
  coalesce(data_expires_at <= clock_timestamp(), false) AS data_expired, data_once, held_micros, cost_micros, funding,
  CASE WHEN NOT data_once THEN output END AS output, CASE WHEN NOT data_once THEN log END AS log, metadata, error_code,
  error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts
FROM casts
WHERE account_id = %(account_id)s AND funding <> 'test'
  AND id < %(before)s
  AND id >= %(after)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(spell_id)s::uuid IS NULL OR spell_id = %(spell_id)s)
  AND (%(key_id)s::uuid IS NULL OR key_id = %(key_id)s)
ORDER BY id DESC
LIMIT %(limit)s

-- name: casts_list_test
-- The same of test casts. A query of its own, because they have an index of their own: a plan for both would look
-- through every live cast there is for the few that are not.
SELECT id, account_id, key_id, version_id, status, accepted_at, started_at, finished_at, data_expires_at,
  coalesce(data_expires_at <= clock_timestamp(), false) AS data_expired, data_once, held_micros, cost_micros, funding,
  CASE WHEN NOT data_once THEN output END AS output, CASE WHEN NOT data_once THEN log END AS log, metadata, error_code,
  error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts
FROM casts
WHERE account_id = %(account_id)s AND funding = 'test'
  AND id < %(before)s
  AND id >= %(after)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(spell_id)s::uuid IS NULL OR spell_id = %(spell_id)s)
  AND (%(key_id)s::uuid IS NULL OR key_id = %(key_id)s)
ORDER BY id DESC
LIMIT %(limit)s

-- name: casts_status
-- How far these casts are; asked a few times a second for everything somebody waits for, so it reads no blobs.
SELECT id, status FROM casts WHERE id = ANY(%(ids)b::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s

-- name: casts_exist
-- Which of these ids were committed. Waits for a batch that is still committing, by asking for its accounts' locks.
SELECT id FROM casts WHERE id = ANY(%(ids)b::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s

-- name: accounts_lock
-- Wait until no batch is open that wrote for these accounts.
SELECT id FROM accounts WHERE id = ANY(%(account_ids)s) ORDER BY id FOR NO KEY UPDATE

-- name: version_names
-- What versions are called.
SELECT v.id, a.handle || '/' || s.name, v.version, v.digest, v.manifest ->> 'output_encoding'
FROM spell_versions v
JOIN spells s ON s.id = v.spell_id
JOIN accounts a ON a.id = s.account_id
WHERE v.id = ANY(%(ids)s)
