-- name: principals_by_prefix
-- Who each key belongs to and whether it may still be used, by the public part of the key; dead keys are shown dead.
SELECT
  k.prefix,
  k.id,
  k.account_id,
  k.secret_hash,
  k.scopes,
  k.rate_limit_rpm,
  a.handle,
  k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AS alive,
  a.status = 'active' AS active
FROM api_keys k
JOIN accounts a ON a.id = k.account_id
WHERE k.prefix = ANY(%(prefixes)s)
