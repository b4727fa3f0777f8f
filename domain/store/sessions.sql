-- name: session_insert
-- Begin a session.
INSERT INTO sessions
  (id, user_id, account_id, token_hash, kind, user_agent, address, created_at, last_used_at, expires_at)
VALUES
  (%(id)s, %(user_id)s, %(account_id)s, %(token_hash)s, %(kind)s, %(user_agent)s, %(address)s, %(now)s, %(now)s,
   %(expires_at)s)

-- name: sessions_trim
-- End the oldest living sessions of a user beyond the newest `kept`, and drop rows that ended too long ago to be shown.
WITH surplus AS (
  SELECT id FROM sessions
  WHERE account_id = %(account_id)s AND user_id = %(user_id)s AND ended_at IS NULL AND expires_at > %(now)s
  ORDER BY created_at DESC, id DESC OFFSET %(kept)s
), dropped AS (
  DELETE FROM sessions WHERE account_id = %(account_id)s AND user_id = %(user_id)s AND expires_at < %(drop_before)s
)
UPDATE sessions s SET ended_at = %(now)s FROM surplus WHERE s.id = surplus.id
RETURNING s.id

-- name: sessions_by_hash
-- Whose sessions these are and whether they may still be used; dead ones are shown dead. `budgets` are those of the
-- account that have a hard limit; NULL where none has.
WITH instant AS MATERIALIZED (
  SELECT now, (now AT TIME ZONE 'UTC')::date AS day, date_trunc('month', now AT TIME ZONE 'UTC')::date AS month
  FROM clock_timestamp() AS now
)
SELECT
  s.token_hash,
  s.id,
  s.user_id,
  s.account_id,
  a.handle,
  u.role,
  s.ended_at IS NULL AND s.expires_at > clock_timestamp()
    AND s.last_used_at > clock_timestamp() - make_interval(days => %(idle_days)s) AS alive,
  a.status = 'active' AS active, (
    SELECT json_agg(state)::text
    FROM (
-- include: windows.windows_now
    ) AS windows
    WHERE windows.account_id = s.account_id AND scope = 'account' AND hard_limit_micros IS NOT NULL
  ) AS budgets
FROM sessions s
JOIN accounts a ON a.id = s.account_id
JOIN users u ON u.id = s.user_id
CROSS JOIN instant
WHERE s.token_hash = ANY(%(hashes)s)

-- name: sessions_list
-- The living sessions of one user, the last used first.
SELECT id, kind, user_agent, address, created_at, last_used_at, expires_at
FROM sessions
WHERE account_id = %(account_id)s AND user_id = %(user_id)s AND ended_at IS NULL AND expires_at > clock_timestamp()
  AND last_used_at > clock_timestamp() - make_interval(days => %(idle_days)s)
ORDER BY last_used_at DESC, id DESC LIMIT %(limit)s

-- name: session_end
-- End one session of a user, and tell whether it was going on; also one that has ended is found.
WITH before AS (
  SELECT id, ended_at FROM sessions
  WHERE id = %(id)s AND account_id = %(account_id)s AND user_id = %(user_id)s
  FOR NO KEY UPDATE
)
UPDATE sessions s SET ended_at = coalesce(before.ended_at, %(now)s) FROM before WHERE s.id = before.id
RETURNING before.ended_at IS NULL

-- name: sessions_end
-- End the living sessions of a user but one.
UPDATE sessions SET ended_at = %(now)s
WHERE account_id = %(account_id)s AND user_id = %(user_id)s AND ended_at IS NULL
  AND id IS DISTINCT FROM %(kept)s::uuid
RETURNING id

-- name: sessions_use
-- Note when sessions were last used, at most once a minute for each, however many processes see it. Only a living one:
-- nothing wakes a session that was idle for too long. What somebody holds is left for the next time.
WITH used AS (
  SELECT id, used_at FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS u(id, used_at)
), free AS (
  SELECT s.id, used.used_at FROM sessions s JOIN used ON used.id = s.id
  WHERE s.last_used_at <= used.used_at - interval '1 minute'
    AND s.last_used_at > used.used_at - make_interval(days => %(idle_days)s)
  FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE sessions s SET last_used_at = free.used_at FROM free WHERE s.id = free.id
RETURNING s.id

-- name: user_get
-- Who a session belongs to.
SELECT id, account_id, email, name, role FROM users WHERE id = %(id)s AND account_id = %(account_id)s

-- name: user_of_account
-- Whose personal account this is.
SELECT id, account_id, email, name, role FROM users WHERE account_id = %(account_id)s
