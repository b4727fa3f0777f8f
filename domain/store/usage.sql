-- name: months_read
-- What an account used, by month and funding, from a month on: of live casts, or of test casts.
SELECT date_trunc('month', starts_on)::date AS month, funding, sum(casts)::bigint, sum(failed)::bigint,
  sum(fuel)::bigint, sum(cpu_us)::bigint, sum(cost_micros)::bigint
FROM usage_days
WHERE account_id = %(account_id)s AND dimension = 'account' AND subject_id = %(account_id)s AND period = 'day'
  AND starts_on >= %(first)s AND starts_on < %(last)s::date + interval '1 month'
  AND (funding = 'test') = %(test)s
GROUP BY month, funding
ORDER BY month, funding

-- name: days_read
-- What an account used, by day.
SELECT starts_on, sum(casts)::bigint, sum(failed)::bigint, sum(fuel)::bigint, sum(cpu_us)::bigint,
  sum(cost_micros)::bigint
FROM usage_days
WHERE account_id = %(account_id)s AND dimension = 'account' AND subject_id = %(account_id)s AND period = 'day'
  AND starts_on >= %(begins)s AND starts_on < %(ends)s AND (funding = 'test') = %(test)s
GROUP BY starts_on

-- name: keys_read
-- What each key of an account used, the costliest first.
SELECT used.subject_id, k.prefix, k.name, used.casts, used.failed, used.fuel, used.cpu_us, used.cost_micros
FROM (
  SELECT subject_id, sum(casts)::bigint AS casts, sum(failed)::bigint AS failed, sum(fuel)::bigint AS fuel,
    sum(cpu_us)::bigint AS cpu_us, sum(cost_micros)::bigint AS cost_micros
  FROM usage_days
  WHERE account_id = %(account_id)s AND dimension = 'key' AND period = 'day'
    AND starts_on >= %(begins)s AND starts_on < %(ends)s AND (funding = 'test') = %(test)s
  GROUP BY subject_id
) used
JOIN api_keys k ON k.id = used.subject_id
ORDER BY used.cost_micros DESC, used.casts DESC, used.subject_id

-- name: spells_read
-- What an account used of each spell, the costliest first.
SELECT used.subject_id, a.handle || '/' || s.name, '', used.casts, used.failed, used.fuel, used.cpu_us,
  used.cost_micros
FROM (
  SELECT subject_id, sum(casts)::bigint AS casts, sum(failed)::bigint AS failed, sum(fuel)::bigint AS fuel,
    sum(cpu_us)::bigint AS cpu_us, sum(cost_micros)::bigint AS cost_micros
  FROM usage_days
  WHERE account_id = %(account_id)s AND dimension = 'account_spell' AND period = 'day'
    AND starts_on >= %(begins)s AND starts_on < %(ends)s AND (funding = 'test') = %(test)s
  GROUP BY subject_id
) used
JOIN spells s ON s.id = used.subject_id
JOIN accounts a ON a.id = s.account_id
ORDER BY used.cost_micros DESC, used.casts DESC, used.subject_id
LIMIT %(limit)s

-- name: usage_count
-- Raise the counters of accounts for casts that ended, and say for how many. Batches that another one counts are left to
-- it; counters are raised in one order.
WITH taken AS (
DELETE FROM usage_uncounted WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM usage_uncounted LIMIT %(batches_max)s FOR UPDATE SKIP LOCKED))
RETURNING cast_ids
), alike AS (
-- Casts that raise the same counters.
SELECT account_id, key_id, spell_id, funding, (accepted_at AT TIME ZONE 'UTC')::date AS day,
  count(*) AS casts, count(error_code) AS failed, sum(fuel) AS fuel, sum(cpu_us) AS cpu_us, sum(cost_micros) AS cost
FROM taken CROSS JOIN LATERAL unnest(cast_ids) AS one(id) JOIN casts c ON c.id = one.id
GROUP BY account_id, key_id, spell_id, funding, day
), raised AS (
INSERT INTO usage_counters AS u (account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel,
  cpu_us, cost_micros)
SELECT account_id, d.dimension, d.subject_id, 'day', day, funding, sum(casts), sum(failed),
  coalesce(sum(fuel), 0), sum(cpu_us), sum(cost)
FROM alike CROSS JOIN LATERAL (VALUES
  ('account', account_id), ('key', key_id), ('account_spell', spell_id)) AS d(dimension, subject_id)
WHERE d.subject_id IS NOT NULL
GROUP BY account_id, d.dimension, d.subject_id, day, funding
ORDER BY account_id, d.dimension, d.subject_id, day, funding
ON CONFLICT (account_id, dimension, subject_id, period, starts_on, funding) DO UPDATE SET
  casts = u.casts + excluded.casts, failed = u.failed + excluded.failed, fuel = u.fuel + excluded.fuel,
  cpu_us = u.cpu_us + excluded.cpu_us, cost_micros = u.cost_micros + excluded.cost_micros
)
SELECT coalesce(sum(cardinality(cast_ids)), 0)::bigint FROM taken

-- name: allowance_read
-- How many casts of a month's free allowance are used and held, and how many test casts were made.
SELECT free_used, free_held, spent_micros, held_micros, test_casts FROM account_months
WHERE account_id = %(account_id)s AND month = %(month)s

-- name: events_read
-- The usage events of an account, live or of test casts, within a range of ids, oldest first, with what everything is called. The account's
-- casts lead, because they have an index by account; an event's id is its cast's.
SELECT u.id, c.accepted_at, c.finished_at, a.handle || '/' || s.name AS spell, v.version, k.prefix AS key_prefix,
  k.name AS key_name, c.status, u.outcome, u.fuel, u.cpu_us, u.memory_bytes_peak, u.wall_us, u.funding, u.cost_micros
FROM casts c
JOIN usage_events u ON u.id = c.id
JOIN spells s ON s.id = c.spell_id
JOIN accounts a ON a.id = s.account_id
JOIN spell_versions v ON v.id = c.version_id
LEFT JOIN api_keys k ON k.id = c.key_id
WHERE c.account_id = %(account_id)s AND c.id > %(after)s AND c.id < %(ends)s AND (c.funding = 'test') = %(test)s
ORDER BY c.id
LIMIT %(limit)s
