-- name: principals_by_prefix
-- Who each key belongs to and whether it may still be used, by the public part of the key; dead keys are shown dead.
-- The secret before a rotation stands beside the present one: by its own prefix, alive as long as it was given.
-- `budgets` are those of its account and its own that have a hard limit; NULL where none has.
WITH instant AS MATERIALIZED (
  SELECT now, (now AT TIME ZONE 'UTC')::date AS day, date_trunc('month', now AT TIME ZONE 'UTC')::date AS month
  FROM clock_timestamp() AS now
), found AS (
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
)
SELECT found.*, (
  SELECT json_agg(state)::text
  FROM (
-- include: windows.windows_now
  ) AS windows
  WHERE windows.account_id = found.account_id AND hard_limit_micros IS NOT NULL
    AND scope IN ('account', 'key') AND scope_id IN (found.account_id, found.id)
) AS budgets
FROM found, instant

-- name: origins_allowed
-- Which of these origins some living key allows.
SELECT origin FROM unnest(%(origins)s::text[]) AS origin
WHERE EXISTS (
  SELECT FROM api_keys k
  WHERE k.allowed_origins @> ARRAY[origin] AND k.allowed_origins <> '{}'
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
