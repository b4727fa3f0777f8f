-- name: turn_take
-- One courier claims at a time, for some milliseconds, so that what is in flight is counted before more is taken. The
-- lock goes with the transaction. The time is read after it: no lease that another gave ends before it began.
SELECT pg_try_advisory_xact_lock(%(lock)s), clock_timestamp()

-- name: due_exists
-- Whether there is anything to take; most of the time there is not, and this is all a courier asks.
SELECT EXISTS (SELECT FROM outgoing WHERE status = 'pending' AND next_attempt_at <= %(now)s)

-- name: deliveries_claim
-- Go from destination to destination after `after`, by one look into the index each, and take what is due as far as
-- each destination, each account and the courier have room: the first of every destination before the second of any.
-- A claimed row is due again when its lease ends.
WITH RECURSIVE destinations AS (
  (
    SELECT o.destination, o.next_attempt_at, 1 AS number
    FROM outgoing o
    WHERE o.status = 'pending' AND o.destination > %(after)s
    ORDER BY o.destination, o.next_attempt_at
    LIMIT 1
  )
  UNION ALL
  SELECT later.destination, later.next_attempt_at, d.number + 1
  FROM destinations d
  CROSS JOIN LATERAL (
    SELECT o.destination, o.next_attempt_at
    FROM outgoing o
    WHERE o.status = 'pending' AND o.destination > d.destination
    ORDER BY o.destination, o.next_attempt_at
    LIMIT 1
  ) later
  WHERE d.number < %(destinations_max)s
),
flying AS MATERIALIZED (
  SELECT destination, account_id FROM outgoing WHERE lease_until > %(now)s AND status = 'pending'
),
-- As JSON, so that looking one up costs the same whatever plan is chosen.
flights AS MATERIALIZED (
  SELECT
    (SELECT coalesce(jsonb_object_agg(destination, number), '{}')
     FROM (SELECT destination, count(*) AS number FROM flying GROUP BY destination) f) AS to_destination,
    (SELECT coalesce(jsonb_object_agg(account_id, number), '{}')
     FROM (SELECT account_id, count(*) AS number FROM flying GROUP BY account_id) f) AS of_account
),
places AS (
  SELECT due.id, due.account_id, due.next_attempt_at, busy.flying + due.number AS place
  FROM destinations d
  CROSS JOIN LATERAL (
    SELECT coalesce((f.to_destination ->> d.destination)::integer, 0) AS flying,
      coalesce((%(windows)s::jsonb ->> d.destination)::integer, %(window_new)s) AS allowed
    FROM flights f
  ) busy
  CROSS JOIN LATERAL (
    SELECT o.id, o.account_id, o.next_attempt_at, row_number() OVER (ORDER BY o.next_attempt_at) AS number
    FROM outgoing o
    WHERE o.status = 'pending' AND o.destination = d.destination AND o.next_attempt_at <= %(now)s
    ORDER BY o.next_attempt_at
    LIMIT greatest(busy.allowed - busy.flying, 0)
  ) due
  WHERE d.next_attempt_at <= %(now)s
),
account_places AS (
  SELECT p.id, p.place, p.next_attempt_at, coalesce((f.of_account ->> p.account_id::text)::integer, 0)
    + row_number() OVER (PARTITION BY p.account_id ORDER BY p.place, p.next_attempt_at) AS account_place
  FROM places p CROSS JOIN flights f
),
chosen AS MATERIALIZED (
  SELECT id FROM account_places
  WHERE account_place <= %(account_max)s
  ORDER BY place, next_attempt_at
  LIMIT %(room)s
),
-- Looked at again: a row may have been canceled since.
claimed AS (
  UPDATE outgoing o SET
    attempts = o.attempts + 1, lease_until = %(lease_until)s, next_attempt_at = %(lease_until)s
  WHERE o.id = ANY(ARRAY(SELECT id FROM chosen)) AND o.status = 'pending' AND o.next_attempt_at <= %(now)s
  RETURNING o.id
)
SELECT coalesce((SELECT array_agg(id) FROM claimed), '{}'),
  (SELECT max(destination) FROM destinations HAVING count(*) = %(destinations_max)s)

-- name: deliveries_read
-- What was claimed, with the endpoint as it is now.
SELECT o.id, o.account_id, o.kind, o.event_id, o.event_type, coalesce(e.url, o.target) AS target, o.destination,
  o.cast_id, o.payload, o.created_at, o.attempts, o.attempts_before, o.lease_until,
  e.id AS endpoint_id, e.secret_version,
  e.secret_version > 1 AND coalesce(e.previous_secret_until > %(now)s, false) AS previous_secret_signs,
  e.disabled_at IS NULL AND e.deleted_at IS NULL AS endpoint_usable
FROM outgoing o LEFT JOIN webhook_endpoints e ON e.id = o.endpoint_id
WHERE o.id = ANY(%(ids)s)

-- name: attempts_insert
-- The log. Recording twice, after a COMMIT in doubt, finds its own rows; a row deleted meanwhile needs none.
INSERT INTO outgoing_attempts
  (outgoing_id, attempt, account_id, started_at, duration_ms, request_headers, status_code, response_body, error)
SELECT r.outgoing_id, r.attempt, r.account_id, r.started_at, r.duration_ms, r.request_headers, r.status_code,
  r.response_body, r.error
FROM unnest(%(ids)s::uuid[], %(attempts)s::integer[], %(account_ids)s::uuid[], %(started_at)s::timestamptz[],
  %(durations_ms)s::integer[], %(request_headers)s::json[], %(status_codes)s::integer[], %(response_bodies)s::bytea[],
  %(errors)s::text[])
  AS r(outgoing_id, attempt, account_id, started_at, duration_ms, request_headers, status_code, response_body, error)
JOIN outgoing o ON o.id = r.outgoing_id
ORDER BY r.outgoing_id
ON CONFLICT DO NOTHING

-- name: deliveries_finish
-- Whose lease has ended and was given to another changes nothing, unless the receiver has it: that is final.
UPDATE outgoing o SET
  status = r.status,
  next_attempt_at = coalesce(r.next_attempt_at, o.next_attempt_at),
  lease_until = NULL,
  finished_at = CASE WHEN r.status <> 'pending' THEN %(now)s END
FROM unnest(%(ids)s::uuid[], %(leases)s::timestamptz[], %(statuses)s::text[], %(next_attempts_at)s::timestamptz[])
  AS r(id, lease_until, status, next_attempt_at)
WHERE o.id = r.id AND o.id = ANY(%(ids)s) AND o.status = 'pending'
  AND (o.lease_until = r.lease_until OR r.status = 'delivered')

-- name: endpoints_succeed
-- Something arrived.
UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ANY(%(ids)s) AND failing_since IS NOT NULL

-- name: endpoints_fail
-- Nothing arrived, and nothing else did since it began.
UPDATE webhook_endpoints SET failing_since = %(now)s
WHERE id = ANY(%(ids)s) AND failing_since IS NULL AND disabled_at IS NULL

-- name: endpoints_hopeless
-- Those of these endpoints that have failed for so long that they are given up.
SELECT id FROM webhook_endpoints
WHERE id = ANY(%(ids)s) AND failing_since <= %(since)s AND disabled_at IS NULL AND deleted_at IS NULL

-- name: accounts_lock
-- The accounts of these endpoints; an endpoint never changes its account.
SELECT id FROM accounts
WHERE id IN (SELECT account_id FROM webhook_endpoints WHERE id = ANY(%(ids)s))
ORDER BY id FOR NO KEY UPDATE

-- name: endpoints_disable
-- Give endpoints up, once; what is due for them is canceled when it is its turn. Under the locks of their accounts.
UPDATE webhook_endpoints SET disabled_at = %(now)s, disabled_reason = %(reason)s
WHERE id = ANY(%(ids)s) AND disabled_at IS NULL AND deleted_at IS NULL
RETURNING id AS endpoint_id, account_id, url, coalesce(failing_since, disabled_at) AS failing_since, disabled_at

-- name: deliveries_release
-- Give back what is held and will not be finished: another courier takes it at once.
UPDATE outgoing o SET lease_until = NULL, next_attempt_at = %(now)s
FROM unnest(%(ids)s::uuid[], %(leases)s::timestamptz[]) AS r(id, lease_until)
WHERE o.id = r.id AND o.id = ANY(%(ids)s) AND o.status = 'pending' AND o.lease_until = r.lease_until

-- name: delivery_reset
-- Send it again, whatever became of it: the retries begin anew, the log goes on.
UPDATE outgoing SET
  status = 'pending', finished_at = NULL, lease_until = NULL, next_attempt_at = %(now)s, attempts_before = attempts
WHERE id = %(id)s AND account_id = %(account_id)s AND status <> 'pending' AND kind <> 'listen'

-- name: due_count
-- How many rows wait for a courier, as far as anybody needs to know.
SELECT count(*) FROM (
  SELECT 1 FROM outgoing WHERE status = 'pending' AND next_attempt_at <= %(now)s LIMIT %(limit)s) AS due

-- name: finished_trim
-- Delete what was finished long ago, and with it its attempts.
DELETE FROM outgoing WHERE id IN (
  SELECT id FROM outgoing WHERE finished_at <= %(before)s ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
