-- name: events_insert
-- One row for each receiver of each event: endpoints that subscribe to its type, the address a cast came with, who
-- follows the account at the moment, and the user's mail. The caller holds the locks of the accounts.
INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, target, cast_id, payload, created_at,
  next_attempt_at, status, finished_at)
SELECT gen_random_uuid(), e.account_id, receiver.kind, e.event_id, e.type, receiver.endpoint_id, receiver.target,
  e.cast_id, CASE receiver.kind WHEN 'mail' THEN e.letter ELSE e.payload END, now, now,
  CASE receiver.kind WHEN 'listen' THEN 'delivered' ELSE 'pending' END,
  CASE receiver.kind WHEN 'listen' THEN now END
FROM clock_timestamp() AS now
CROSS JOIN json_to_recordset(%(rows)s::json) AS e(event_id uuid, account_id uuid, mode text, type text, cast_id uuid,
  webhook_url text, payload text, letter text, except_endpoint_id uuid)
CROSS JOIN LATERAL (
  SELECT 'webhook' AS kind, w.id AS endpoint_id, NULL::text AS target
  FROM webhook_endpoints w
  WHERE w.account_id = e.account_id AND w.mode = e.mode AND w.deleted_at IS NULL AND w.disabled_at IS NULL
    AND w.event_types && ARRAY['*', e.type, split_part(e.type, '.', 1) || '.*']
    AND w.id IS DISTINCT FROM e.except_endpoint_id
  UNION ALL
  SELECT 'webhook', NULL, e.webhook_url WHERE e.webhook_url IS NOT NULL
  UNION ALL
  SELECT 'listen', NULL, NULL FROM accounts a WHERE a.id = e.account_id AND a.listening_until > now
  UNION ALL
  SELECT 'mail', NULL, u.email FROM users u
  WHERE u.account_id = e.account_id AND u.email IS NOT NULL AND e.letter IS NOT NULL
) AS receiver

-- name: casts_read
-- Final casts as they are told of. Long data is left out, and so is data that goes with its first reading: a delivery
-- may be repeated or lost, and must not be that reading.
SELECT c.id, account_id, key_id, version_id, status, accepted_at, started_at, finished_at, data_expires_at,
  coalesce(data_expires_at <= clock_timestamp(), false) AS data_expired, data_once, held_micros, cost_micros, funding,
  CASE WHEN NOT omitted THEN output END AS output, CASE WHEN NOT omitted THEN log END AS log, metadata, error_code,
  error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts, omitted AS data_omitted
FROM casts c
CROSS JOIN LATERAL (
  SELECT data_once OR coalesce(length(output), 0) + coalesce(length(log), 0) > %(bytes_max)s AS omitted) AS size
WHERE id = ANY(%(ids)b::uuid[])
