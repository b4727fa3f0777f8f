-- name: row_insert
-- An intent is written once for what it is about; whoever asks again finds it.
INSERT INTO outbox (id, account_id, kind, subject_id, frozen, created_at, step, next_attempt_at)
VALUES (%(id)s, %(account_id)s, %(kind)s, %(subject_id)s, %(frozen)s::json, %(now)s, %(step)s, %(now)s)
ON CONFLICT (kind, subject_id) DO NOTHING

-- name: rows_claim
-- Take what is due, each row by one worker while its lease lasts. That the key is about to be sent is written before it
-- is: after a crash nobody can tell.
UPDATE outbox o SET
  attempts = o.attempts + 1, lease_until = %(lease_until)s, next_attempt_at = %(lease_until)s,
  tried_at = coalesce(o.tried_at, %(now)s)
WHERE o.id IN (
  SELECT id FROM outbox
  WHERE status = 'pending' AND next_attempt_at <= %(now)s
  ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING o.id, o.account_id, o.kind, o.subject_id, o.frozen::text, o.created_at, o.step, o.epoch, o.known::text,
  o.tried_at, o.must_look, o.attempts, o.lease_until

-- name: row_advance
-- A step is done and the next one begins, under a key of its own; only of who still has the lease.
UPDATE outbox SET
  step = %(next)s, known = %(known)s::json, tried_at = %(now)s, must_look = false, attempts = 1, trouble = NULL,
  is_blocked = false, lease_until = %(new_lease_until)s, next_attempt_at = %(new_lease_until)s
WHERE id = %(id)s AND status = 'pending' AND step = %(step)s AND epoch = %(epoch)s AND lease_until = %(lease_until)s

-- name: row_epoch_raise
-- Compare and set: of two who looked and found nothing one sends, under a key nobody has used.
UPDATE outbox SET
  epoch = epoch + 1, tried_at = %(now)s, must_look = false, lease_until = %(new_lease_until)s,
  next_attempt_at = %(new_lease_until)s
WHERE id = %(id)s AND status = 'pending' AND step = %(step)s AND epoch = %(epoch)s AND lease_until = %(lease_until)s

-- name: row_trouble
-- A step did not end: why, and when it is tried again. A key that is spent stays spent.
UPDATE outbox SET
  lease_until = NULL, next_attempt_at = %(next_attempt_at)s, must_look = must_look OR %(spends_key)s,
  trouble = %(reason)s, is_blocked = %(blocks)s
WHERE id = %(id)s AND status = 'pending' AND step = %(step)s AND epoch = %(epoch)s AND lease_until = %(lease_until)s

-- name: row_finish
-- The end, once: what is applied is applied by whoever this statement changed a row for.
UPDATE outbox SET
  status = %(status)s, finished_at = %(now)s, known = %(known)s::json, lease_until = NULL, trouble = NULL,
  is_blocked = false
WHERE id = %(id)s AND status = 'pending' AND step = %(step)s AND epoch = %(epoch)s AND lease_until = %(lease_until)s

-- name: account_lock
-- What the end of an intent changes is money of its account, whose row is locked before anything else.
SELECT id FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE

-- name: rows_now
-- Operators' "try again now": what waits for its pause, or for somebody to look, is due, and in trouble only when it is
-- refused again; what is worked on is left alone.
UPDATE outbox SET next_attempt_at = %(now)s, is_blocked = false, attempts = 0
WHERE status = 'pending' AND kind = %(kind)s AND lease_until IS NULL AND next_attempt_at > %(now)s

-- name: standing_read
-- How much waits, how much of it in trouble, and since when, for the gauges.
SELECT count(*), count(*) FILTER (WHERE is_blocked OR attempts >= %(troubled_attempts)s AND trouble IS NOT NULL),
  min(created_at)
FROM outbox WHERE status = 'pending'
