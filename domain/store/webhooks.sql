-- name: endpoint_insert
-- Make an endpoint.
INSERT INTO webhook_endpoints (id, account_id, mode, url, description, event_types, created_at)
VALUES (%(id)s, %(account_id)s, %(mode)s, %(url)s, %(description)s, %(event_types)s, %(now)s)

-- name: endpoint_get
-- Read one endpoint of the account that is not deleted.
SELECT id, account_id, mode, url, description, event_types, secret_version, previous_secret_until, failing_since,
  disabled_at, disabled_reason, created_at
FROM webhook_endpoints WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL

-- name: endpoints_list
-- Page through the endpoints of the account, newest first.
SELECT id, account_id, mode, url, description, event_types, secret_version, previous_secret_until, failing_since,
  disabled_at, disabled_reason, created_at
FROM webhook_endpoints
WHERE account_id = %(account_id)s AND deleted_at IS NULL
  AND (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s

-- name: endpoints_count
-- How many endpoints the account has, disabled ones too.
SELECT count(*) FROM webhook_endpoints WHERE account_id = %(account_id)s AND deleted_at IS NULL

-- name: endpoint_update
-- Write all that its owner may change. One that is enabled again has not failed yet; one disabled before keeps its time.
UPDATE webhook_endpoints SET
  url = %(url)s, description = %(description)s, event_types = %(event_types)s,
  failing_since = CASE WHEN %(disabled)s = (disabled_at IS NOT NULL) AND url = %(url)s THEN failing_since END,
  disabled_at = CASE WHEN %(disabled)s THEN coalesce(disabled_at, %(now)s) END,
  disabled_reason = CASE WHEN %(disabled)s THEN coalesce(disabled_reason, 'owner') END
WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL

-- name: endpoint_delete
-- End an endpoint; its row stays, for the deliveries that name it.
UPDATE webhook_endpoints SET deleted_at = %(now)s
WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL

-- name: endpoint_rotate
-- Sign with the next secret; until then the one before signs as well.
UPDATE webhook_endpoints SET secret_version = secret_version + 1, previous_secret_until = %(until)s
WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL

-- name: deliveries_cancel
-- What waits for an endpoint that gets nothing more. A piece: the courier cancels what is left in its turn.
UPDATE outgoing SET status = 'canceled', finished_at = %(now)s, lease_until = NULL
WHERE id IN (
  SELECT id FROM outgoing WHERE destination = (%(id)s::uuid)::text AND status = 'pending' LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
  AND status = 'pending'

-- name: accounts_refresh
-- Whether an account has an endpoint to tell.
UPDATE accounts a SET has_webhooks = EXISTS (
  SELECT FROM webhook_endpoints w
  WHERE w.account_id = a.id AND w.disabled_at IS NULL AND w.deleted_at IS NULL)
WHERE a.id = ANY(%(account_ids)s::uuid[])

-- name: account_listen
-- Write the account's events down for who follows them, until then.
UPDATE accounts SET listening_until = %(until)s WHERE id = %(account_id)s

-- name: listening_read
-- Until when the account's events are written down for who follows them.
SELECT listening_until FROM accounts WHERE id = %(account_id)s

-- name: test_insert
-- An event for one endpoint alone, whatever it subscribes to.
INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, payload, created_at, next_attempt_at)
VALUES (%(id)s, %(account_id)s, 'webhook', %(event_id)s, %(event_type)s, %(endpoint_id)s, %(payload)s, %(now)s, %(now)s)
