-- name: export_insert
-- Begin an export; none when the account has one under way.
INSERT INTO privacy_exports (id, account_id, user_id, created_at) VALUES (%(id)s, %(account_id)s, %(user_id)s, %(now)s)
ON CONFLICT (account_id) WHERE status IN ('pending', 'running') DO NOTHING

-- name: export_get
-- An export as its owner may see it.
SELECT id, account_id, user_id, status, progress_percent, created_at, finished_at, expires_at, error, pieces, size_bytes
FROM privacy_exports WHERE id = %(id)s AND account_id = %(account_id)s

-- name: exports_count
-- How many archives an account has lying here.
SELECT count(*) FROM privacy_exports WHERE account_id = %(account_id)s AND status = 'ready' AND expires_at > %(now)s

-- name: export_claim
-- Take the export that waits longest for its next piece, so that a large one delays no small one. Whoever took it
-- before and said nothing for a lease has died.
UPDATE privacy_exports SET status = 'running', lease_until = %(lease_until)s, attempts = attempts + 1
WHERE id = (
  SELECT id FROM privacy_exports
  WHERE status IN ('pending', 'running') AND (lease_until IS NULL OR lease_until <= %(now)s)
    AND attempts < %(attempts_max)s
  ORDER BY lease_until NULLS FIRST, created_at LIMIT 1
  FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, account_id, user_id, created_at, pieces, state::text AS state

-- name: exports_give_up
-- What fails again and again in one place is ended, and says so.
UPDATE privacy_exports SET status = 'failed', finished_at = %(now)s, lease_until = NULL, error = %(error)s
WHERE status IN ('pending', 'running') AND attempts >= %(attempts_max)s AND lease_until <= %(now)s
RETURNING id

-- name: casts_count
-- How many casts an account has, near enough to say how far an export is: no cast is read for it.
SELECT coalesce((SELECT sum(casts) FROM usage_counters
  WHERE account_id = %(account_id)s AND dimension = 'account' AND period = 'day'), 0)::bigint
  + (SELECT open_casts FROM accounts WHERE id = %(account_id)s)

-- name: export_advance
-- Note the next piece. Only who knows how many there are may: of two who work on one, the second finds no row.
UPDATE privacy_exports SET
  state = %(state)s::json, pieces = pieces + 1, size_bytes = size_bytes + %(bytes)s,
  progress_percent = greatest(progress_percent, %(progress_percent)s::smallint), attempts = 0,
  lease_until = %(now)s
WHERE id = %(id)s AND pieces = %(pieces)s AND status = 'running'

-- name: piece_insert
-- Keep the piece.
INSERT INTO privacy_export_pieces (export_id, account_id, piece, bytes)
VALUES (%(id)s, %(account_id)s, %(piece)s, %(bytes)b)

-- name: export_finish
-- The archive is whole.
UPDATE privacy_exports SET
  status = 'ready', progress_percent = 100, finished_at = %(now)s, expires_at = %(expires_at)s, lease_until = NULL,
  state = NULL
WHERE id = %(id)s AND status = 'running'

-- name: piece_read
-- One piece of an archive that may still be fetched.
SELECT p.bytes FROM privacy_export_pieces p JOIN privacy_exports e ON e.id = p.export_id
WHERE p.export_id = %(id)s AND p.piece = %(piece)s AND p.account_id = %(account_id)s
  AND e.status = 'ready' AND e.expires_at > clock_timestamp()

-- name: exports_expire
-- What had its week can no longer be fetched.
UPDATE privacy_exports SET status = 'expired' WHERE status = 'ready' AND expires_at <= %(now)s

-- name: pieces_drop
-- Bytes that nobody may fetch any more, or ever could, a bounded number at a time.
DELETE FROM privacy_export_pieces WHERE (export_id, piece) IN (
  SELECT p.export_id, p.piece FROM privacy_exports e JOIN privacy_export_pieces p ON p.export_id = e.id
  WHERE e.status IN ('expired', 'failed') LIMIT %(limit)s)
