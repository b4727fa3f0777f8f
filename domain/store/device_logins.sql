-- name: device_login_insert
-- Begin the login of a program; what was never finished goes, a bounded piece at a time. A code that is taken makes none.
WITH dropped AS (
  DELETE FROM device_logins WHERE device_hash IN (
    SELECT device_hash FROM device_logins WHERE expires_at < %(drop_before)s LIMIT 100)
)
INSERT INTO device_logins (device_hash, user_code, device_name, created_at, expires_at)
VALUES (%(device_hash)s, %(user_code)s, %(device_name)s, %(now)s, %(expires_at)s)
ON CONFLICT DO NOTHING

-- name: device_login_by_code
-- What a person is asked to confirm: only what nobody has decided yet.
SELECT user_code, device_name, created_at FROM device_logins
WHERE user_code = %(user_code)s AND expires_at > %(now)s AND decided_at IS NULL

-- name: device_login_decide
-- Decide once.
UPDATE device_logins SET user_id = %(user_id)s, decided_at = %(now)s, approved = %(approved)s
WHERE user_code = %(user_code)s AND expires_at > %(now)s AND decided_at IS NULL

-- name: device_login_get
-- How far a login is; locked, because two polls may come at once and one session must come of them.
SELECT d.device_name, d.approved, d.user_id, u.account_id
FROM device_logins d LEFT JOIN users u ON u.id = d.user_id
WHERE d.device_hash = %(device_hash)s AND d.expires_at > %(now)s AND d.used_at IS NULL
FOR NO KEY UPDATE OF d

-- name: device_login_use
-- Give the session once.
UPDATE device_logins SET used_at = %(now)s WHERE device_hash = %(device_hash)s AND used_at IS NULL
