-- name: event_insert
-- Keep the news once, however often and by however many ways it comes.
INSERT INTO stripe_events (id, type, object_id, customer_id, connected_account_id, made_at, received_at, next_attempt_at)
VALUES (%(id)s, %(type)s, %(object_id)s, %(customer_id)s, %(connected_account_id)s, %(made_at)s, %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING

-- name: events_claim
-- Take what is due, oldest first, under a lease; `asked_at` is the instant from which on Stripe is asked, by one clock.
WITH instant AS MATERIALIZED (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now),
due AS (
  SELECT e.id FROM stripe_events e, instant
  WHERE e.status = 'pending' AND e.next_attempt_at <= instant.now AND e.type = ANY(%(types)s)
  ORDER BY e.next_attempt_at, e.id
  LIMIT %(limit)s
  FOR UPDATE OF e SKIP LOCKED
)
UPDATE stripe_events e SET attempts = e.attempts + 1, next_attempt_at = instant.now + %(lease)s
FROM due, instant WHERE e.id = due.id
RETURNING e.id, e.type, e.object_id, e.customer_id, e.connected_account_id, e.attempts, instant.now AS asked_at

-- name: events_ignore
-- Put away what nobody asks for.
UPDATE stripe_events SET status = 'ignored', finished_at = clock_timestamp()
WHERE id IN (
  SELECT id FROM stripe_events WHERE status = 'pending' AND type <> ALL(%(types)s)
  ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)

-- name: events_revive
-- Take up what an older version of this program ignored while the two ran side by side.
UPDATE stripe_events SET status = 'pending', finished_at = NULL, attempts = 0, next_attempt_at = clock_timestamp()
WHERE status = 'ignored' AND finished_at > clock_timestamp() - %(within)s AND type = ANY(%(types)s)

-- name: events_finish
-- What was done with these events is committed together with this.
UPDATE stripe_events SET status = 'applied', finished_at = clock_timestamp(), trouble = NULL
WHERE id = ANY(%(ids)s) AND status = 'pending'

-- name: events_delay
-- Try these again later; an attempt that failed through no fault of theirs is not counted.
UPDATE stripe_events SET next_attempt_at = %(now)s + make_interval(secs => %(pause_s)s), trouble = %(trouble)s,
  attempts = CASE WHEN %(counted)s THEN attempts ELSE greatest(attempts - 1, 0) END
WHERE id = ANY(%(ids)s) AND status = 'pending'

-- name: events_park
-- Leave these to a person.
UPDATE stripe_events SET status = 'parked', finished_at = clock_timestamp(), trouble = %(trouble)s
WHERE id = ANY(%(ids)s) AND status = 'pending'

-- name: events_unpark
-- Begin anew with what a person has looked at; without ids with everything that is parked.
UPDATE stripe_events SET status = 'pending', finished_at = NULL, attempts = 0, next_attempt_at = clock_timestamp()
WHERE status = 'parked' AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s::text[]))

-- name: events_parked
-- What waits for a person, oldest first.
SELECT id, type, object_id, customer_id, received_at, attempts, trouble
FROM stripe_events WHERE status = 'parked' ORDER BY received_at, id LIMIT %(limit)s

-- name: standing_read
-- How many events wait, how long the oldest has been due, and how many are parked.
SELECT
  (SELECT count(*) FROM stripe_events WHERE status = 'pending'),
  (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(next_attempt_at)), 0)::bigint
   FROM stripe_events WHERE status = 'pending' AND next_attempt_at < clock_timestamp()),
  (SELECT count(*) FROM stripe_events WHERE status = 'parked')

-- name: events_trim
-- Forget what was done long ago, a piece at a time; what is parked stays.
DELETE FROM stripe_events WHERE id IN (
  SELECT id FROM stripe_events
  WHERE finished_at < %(before)s AND status IN ('applied', 'ignored') ORDER BY finished_at LIMIT %(limit)s)
