-- name: prices_latest
-- The newest price of each of these versions that ever had one; it tells what is in force since it was announced.
SELECT coalesce(json_agg(json_build_object(
  'version_id', p.version_id, 'number', p.number,
  'announced_ms', (extract(epoch FROM p.announced_at) * 1000)::bigint,
  'effective_ms', (extract(epoch FROM p.effective_at) * 1000)::bigint,
  'before', json_build_object('per_cast_micros', p.before_per_cast_micros,
    'per_output_kib_micros', p.before_per_output_kib_micros, 'per_unit_micros', p.before_per_unit_micros,
    'units_max', p.units_max),
  'after', json_build_object('per_cast_micros', p.per_cast_micros,
    'per_output_kib_micros', p.per_output_kib_micros, 'per_unit_micros', p.per_unit_micros,
    'units_max', p.units_max))), '[]')::text
FROM unnest(%(version_ids)b::uuid[]) AS asked(id)
CROSS JOIN LATERAL (
  SELECT * FROM spell_prices s WHERE s.version_id = asked.id ORDER BY s.number DESC LIMIT 1) AS p

-- name: price_insert
-- Write the next price of a version; rows never change, and one of that number is an error.
INSERT INTO spell_prices (version_id, number, account_id, announced_at, effective_at, before_per_cast_micros,
  before_per_output_kib_micros, before_per_unit_micros, per_cast_micros, per_output_kib_micros, per_unit_micros,
  units_max)
VALUES (%(version_id)s, %(number)s, %(account_id)s, to_timestamp(%(announced_ms)s / 1000.0),
  to_timestamp(%(effective_ms)s / 1000.0), %(before_per_cast)s, %(before_per_output_kib)s, %(before_per_unit)s,
  %(per_cast)s, %(per_output_kib)s, %(per_unit)s, %(units_max)s)

-- name: clock_read
-- Epoch microseconds by the clock that casts are priced by, read after the spell's lock.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
