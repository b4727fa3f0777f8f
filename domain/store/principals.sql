-- name: principals_by_prefix
-- Who each key belongs to and whether it may still be used, by the public part of the key; dead keys are shown dead.
-- The secret before a rotation stands beside the present one: by its own prefix, alive as long as it was given.
SELECT
  k.prefix,
  k.id,
  k.account_id,
  k.secret_hash,
  k.scopes,
  k.rate_limit_rpm,
  a.handle,
  k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AS alive,
  a.status = 'active' AS active,
  k.allowed_origins,
  false AS superseded
FROM api_keys k
JOIN accounts a ON a.id = k.account_id
WHERE k.prefix = ANY(%(prefixes)s)
UNION ALL
SELECT
  k.previous_prefix,
  k.id,
  k.account_id,
  k.previous_secret_hash,
  k.scopes,
  k.rate_limit_rpm,
  a.handle,
  k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    AND k.previous_until > clock_timestamp(),
  a.status = 'active',
  k.allowed_origins,
  true
FROM api_keys k
JOIN accounts a ON a.id = k.account_id
WHERE k.previous_prefix = ANY(%(prefixes)s)

-- name: origins_allowed
-- Which of these origins some living key allows.
SELECT origin FROM unnest(%(origins)s::text[]) AS origin
WHERE EXISTS (
  SELECT FROM api_keys k
  WHERE k.allowed_origins @> ARRAY[origin] AND k.allowed_origins <> '{}'
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
