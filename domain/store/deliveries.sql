-- name: deliveries_list
-- Page through what was sent to an endpoint, newest first.
SELECT id, account_id, event_id, event_type, endpoint_id, target, cast_id, payload, created_at, attempts, status,
  next_attempt_at, finished_at
FROM outgoing
WHERE endpoint_id = %(endpoint_id)s AND account_id = %(account_id)s
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s

-- name: deliveries_of_cast
-- What was sent to the address a cast came with: one row at most, for a cast ends once.
SELECT id, account_id, event_id, event_type, endpoint_id, target, cast_id, payload, created_at, attempts, status,
  next_attempt_at, finished_at
FROM outgoing
WHERE cast_id = %(cast_id)s AND account_id = %(account_id)s AND endpoint_id IS NULL AND kind = 'webhook'

-- name: delivery_get
-- One of them.
SELECT id, account_id, event_id, event_type, endpoint_id, target, cast_id, payload, created_at, attempts, status,
  next_attempt_at, finished_at
FROM outgoing
WHERE id = %(id)s AND account_id = %(account_id)s AND kind = 'webhook'

-- name: attempts_list
-- All attempts of these deliveries, in order.
SELECT outgoing_id, attempt, started_at, duration_ms, request_headers::text AS request_headers, status_code,
  response_body, error
FROM outgoing_attempts
WHERE outgoing_id = ANY(%(ids)s) AND account_id = %(account_id)s
ORDER BY outgoing_id, attempt

-- name: delivery_bring_forward
-- Send one that still waits for its next attempt now; one that a courier holds is being sent already.
UPDATE outgoing SET next_attempt_at = %(now)s
WHERE id = %(id)s AND account_id = %(account_id)s AND status = 'pending' AND kind = 'webhook'
  AND lease_until IS NULL AND next_attempt_at > %(now)s

-- name: deliveries_reset
-- Send again what an endpoint missed, oldest first; the retries begin anew, the log goes on.
UPDATE outgoing SET
  status = 'pending', finished_at = NULL, lease_until = NULL, next_attempt_at = %(now)s, attempts_before = attempts
WHERE id IN (
  SELECT id FROM outgoing
  WHERE endpoint_id = %(endpoint_id)s AND account_id = %(account_id)s AND status IN ('failed', 'canceled')
    AND created_at >= %(since)s AND created_at < %(until)s
  ORDER BY created_at, id
  LIMIT %(limit)s)
  AND status IN ('failed', 'canceled')

-- name: events_after
-- What happened since, for who follows the account's events. Rows of an account are written under its lock and dated
-- after it was taken, so none comes to light behind one that was seen.
SELECT id, event_id, event_type, cast_id, payload, created_at
FROM outgoing
WHERE account_id = %(account_id)s AND kind = 'listen' AND (created_at, id) > (%(after_at)s, %(after_id)s)
ORDER BY created_at, id
LIMIT %(limit)s
