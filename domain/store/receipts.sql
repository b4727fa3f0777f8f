-- name: receipt_read
-- All a receipt says of an ended cast but its terms. What was read and written may be gone; what it was and cost stays.
-- The engine is that of the newest artifact of the module when the cast ended: casts do not keep which worker ran them.
SELECT c.id AS cast_id, c.account_id, payer.handle AS account, k.prefix AS key, creator.handle || '/' || s.name AS spell,
  v.version, v.digest, v.manifest -> 'units' ->> 'name' AS unit, c.status, coalesce(c.error_code, 'succeeded') AS outcome,
  c.accepted_at, c.started_at, c.finished_at, u.settled_at, u.batch_id, c.quote_id, c.fuel, c.output_bytes, c.units,
  c.cost_micros, r.amount_micros AS refund_micros, r.reason AS refund_reason, r.refunded_at,
  (SELECT a.engine_key FROM artifacts a WHERE a.module_digest = v.digest AND a.created_at <= c.finished_at
   ORDER BY a.created_at DESC, a.engine_key LIMIT 1) AS engine_key
FROM casts c
JOIN accounts payer ON payer.id = c.account_id
JOIN spell_versions v ON v.id = c.version_id
JOIN spells s ON s.id = c.spell_id
JOIN accounts creator ON creator.id = s.account_id
LEFT JOIN api_keys k ON k.id = c.key_id
LEFT JOIN usage_events u ON u.id = %(cast_id)s
LEFT JOIN cast_refunds r ON r.cast_id = %(cast_id)s
WHERE c.id = %(cast_id)s AND c.account_id = %(account_id)s

-- name: refund_insert
-- Pay a cast back, once: for a second time there is no room.
INSERT INTO cast_refunds (cast_id, account_id, amount_micros, reason, refunded_at)
VALUES (%(cast_id)s, %(account_id)s, %(amount_micros)s, %(reason)s, %(now)s)
ON CONFLICT (cast_id) DO NOTHING

-- name: refund_get
-- What was paid back for a cast.
SELECT cast_id, account_id, amount_micros, reason, refunded_at FROM cast_refunds
WHERE cast_id = %(cast_id)s AND account_id = %(account_id)s

-- name: grants_return
-- Give credits back to the grants they came from; one that has expired meanwhile takes them all the same.
UPDATE credit_grants g SET balance_micros = g.balance_micros + r.micros
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, micros bigint)
WHERE g.id = r.id AND g.account_id = %(account_id)s
RETURNING g.id
