-- name: flow_insert
-- Begin a login that goes elsewhere and comes back; some of those that are over go.
WITH dropped AS (
  DELETE FROM login_flows WHERE state_hash IN (
    SELECT state_hash FROM login_flows WHERE expires_at < %(now)s LIMIT %(dropped_max)s)
)
INSERT INTO login_flows (state_hash, browser_hash, provider, return_to, created_at, expires_at)
VALUES (%(state_hash)s, %(browser_hash)s, %(provider)s, %(return_to)s, %(now)s, %(expires_at)s)

-- name: flow_use
-- Take a login up where it came back: once, in time, in its own browser, from where it was sent.
UPDATE login_flows SET used_at = %(now)s
WHERE state_hash = %(state_hash)s AND browser_hash = %(browser_hash)s AND provider = %(provider)s
  AND used_at IS NULL AND expires_at > %(now)s
RETURNING return_to

-- name: turn_take
-- Logins of one name go one after the other until the transaction ends: two must not make two accounts, or too many mails.
SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))

-- name: links_count
-- How many links an address got since then.
SELECT count(*) FROM magic_links WHERE email = %(email)s AND created_at > %(since)s

-- name: link_insert
-- A link is on its way; some of those that are over go.
WITH dropped AS (
  DELETE FROM magic_links WHERE token_hash IN (
    SELECT token_hash FROM magic_links WHERE expires_at < %(now)s LIMIT %(dropped_max)s)
)
INSERT INTO magic_links (token_hash, browser_hash, email, return_to, created_at, expires_at)
VALUES (%(token_hash)s, %(browser_hash)s, %(email)s, %(return_to)s, %(now)s, %(expires_at)s)

-- name: link_mail_insert
-- The mail with the link, for the courier. It names the account of the address, or an id that stands for the address.
INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, payload, created_at, next_attempt_at)
VALUES (%(id)s,
  coalesce((SELECT account_id FROM identities WHERE issuer = %(issuer)s AND subject = %(email)s), %(stranger_id)s),
  'mail', %(id)s, %(event_type)s, %(email)s, %(payload)s, %(now)s, %(now)s)

-- name: link_read
-- Whether a link is still good, and for whom; looking changes nothing.
SELECT email, browser_hash = %(browser_hash)s AS same_browser FROM magic_links
WHERE token_hash = %(token_hash)s AND used_at IS NULL AND expires_at > %(now)s

-- name: link_use
-- Follow a link: once, in time, in the browser that asked for it.
UPDATE magic_links SET used_at = %(now)s
WHERE token_hash = %(token_hash)s AND browser_hash = %(browser_hash)s AND used_at IS NULL AND expires_at > %(now)s
RETURNING email, return_to

-- name: identity_use
-- Who this identity is; a login of it is noted, with what its issuer says of it now.
UPDATE identities i SET last_login_at = %(now)s, email = %(email)s, email_verified = %(email_verified)s
FROM accounts a
WHERE i.issuer = %(issuer)s AND i.subject = %(subject)s AND a.id = i.account_id
RETURNING i.user_id, i.account_id, a.handle, a.status

-- name: user_by_address
-- The person who proved this address before: the first, should several have.
SELECT u.id AS user_id, u.account_id, a.handle, a.status
FROM users u JOIN accounts a ON a.id = u.account_id
WHERE lower(u.email) = %(email)s AND u.email_verified_at IS NOT NULL AND u.erased_at IS NULL
ORDER BY u.created_at, u.id LIMIT 1

-- name: person_insert
-- The user of a new account.
INSERT INTO users (id, account_id, email, email_verified_at, name, created_at)
VALUES (%(user_id)s, %(account_id)s, %(email)s, CASE WHEN %(email_verified)s THEN %(now)s::timestamptz END, %(name)s,
  %(now)s)

-- name: identity_insert
-- One more way in for a user.
INSERT INTO identities
  (id, user_id, account_id, issuer, subject, email, email_verified, created_at, last_login_at)
VALUES
  (%(id)s, %(user_id)s, %(account_id)s, %(issuer)s, %(subject)s, %(email)s, %(email_verified)s, %(now)s, %(now)s)
