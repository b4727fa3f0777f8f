-- name: entry_insert
-- Write one entry. Its id is a UUIDv7 of the instant, so that a log is read newest first by its index.
INSERT INTO audit_log (
  id, account_id, at, actor_kind, actor_id, user_id, action, target_kind, target_id, before, after, address, request_id)
VALUES (
  overlay(gen_random_uuid()::text PLACING left(uuid7_floor(%(at)s::timestamptz)::text, 14) || '7' FROM 1 FOR 15)::uuid,
  %(account_id)s, %(at)s, %(actor_kind)s, %(actor_id)s, %(user_id)s, %(action)s, %(target_kind)s, %(target_id)s,
  %(before)s::json, %(after)s::json, %(address)s, %(request_id)s)

-- name: entries_list
-- Page through an account's log, newest first.
SELECT id, at, actor_kind, actor_id, user_id, action, target_kind, target_id, before::text AS before,
  after::text AS after, address, request_id
FROM audit_log
WHERE account_id = %(account_id)s
  AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s::uuid)
  AND (%(action)s::text IS NULL OR action = %(action)s::text)
  AND (%(target_kind)s::text IS NULL OR target_kind = %(target_kind)s::text)
  AND (%(target_id)s::text IS NULL OR target_id = %(target_id)s::text)
  AND (%(created_after)s::timestamptz IS NULL OR at >= %(created_after)s::timestamptz)
  AND (%(created_before)s::timestamptz IS NULL OR at < %(created_before)s::timestamptz)
ORDER BY id DESC
LIMIT %(limit)s
