-- name: expired_lock
-- Casts whose data has had its time, oldest first, with its size (known without reading it); what somebody else is
-- emptying is left to them.
SELECT id, octet_length(input) + coalesce(octet_length(output), 0) + coalesce(octet_length(log), 0) FROM casts
WHERE input IS NOT NULL AND data_expires_at <= %(now)s
ORDER BY data_expires_at LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED

-- name: read_lock
-- Those of these casts whose data was to be kept until somebody reads it, and is still there.
SELECT id FROM casts
WHERE id = ANY(%(ids)s) AND data_once AND input IS NOT NULL AND data_expires_at IS NOT NULL
FOR NO KEY UPDATE SKIP LOCKED

-- name: data_drop
-- Empty what the caller has locked. What the cast was, used and cost stays.
UPDATE casts SET
  input = NULL, output = NULL, log = NULL, data_expires_at = least(data_expires_at, clock_timestamp())
WHERE id = ANY(%(ids)s)

-- name: data_days_set
-- How long the data of casts that end from now on is kept.
WITH before AS (
  SELECT id, data_days FROM accounts WHERE handle = %(handle)s AND kind <> 'platform' FOR NO KEY UPDATE
)
UPDATE accounts a SET data_days = %(data_days)s FROM before WHERE a.id = before.id
RETURNING a.id AS account_id, before.data_days AS data_days_before
