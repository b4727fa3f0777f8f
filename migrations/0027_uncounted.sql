-- A batch names the casts it ended, in one row, and the counters of their accounts are raised from many batches at once:
-- three counters for each account of each batch were a third of what settling cost Postgres.
--
-- Who reads usage reads both, in one snapshot: nothing is late, and nothing is counted twice.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE usage_uncounted (
  cast_ids uuid[] NOT NULL,
  -- Whose they are, one for each: who asks for one account looks up its casts alone.
  account_ids uuid[] NOT NULL
);
ALTER TABLE usage_uncounted ALTER COLUMN cast_ids SET STORAGE EXTERNAL, ALTER COLUMN account_ids SET STORAGE EXTERNAL;
-- Read whole, a few rows at a time: one that does not shrink would be read for its empty pages.
ALTER TABLE usage_uncounted SET (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_uncounted TO spell_engine;

-- A row names casts of many accounts, so row-level security cannot show it to one: nobody but the engine reads the table,
-- and this view shows others the casts of the account that their transaction names, as a policy would.
CREATE VIEW usage_uncounted_days WITH (security_barrier) AS
SELECT one.account_id, d.dimension, d.subject_id, 'day' AS period, (c.accepted_at AT TIME ZONE 'UTC')::date AS starts_on,
  c.funding, 1 AS casts, (c.error_code IS NOT NULL)::integer AS failed, coalesce(c.fuel, 0) AS fuel, c.cpu_us,
  c.cost_micros
FROM usage_uncounted u
CROSS JOIN LATERAL unnest(u.cast_ids, u.account_ids) AS one(id, account_id)
JOIN casts c ON c.id = one.id
CROSS JOIN LATERAL (VALUES
  ('account', one.account_id), ('key', c.key_id), ('account_spell', c.spell_id)) AS d(dimension, subject_id)
WHERE d.subject_id IS NOT NULL AND (
  (SELECT pg_has_role(current_user, 'spell_engine', 'USAGE'))
  OR one.account_id = (SELECT nullif(current_setting('spell.account_id', true), '')::uuid));

-- What each account used by day, whether counted yet or not; the casts of a spell, its creator's, are always counted.
CREATE VIEW usage_days WITH (security_invoker) AS
SELECT account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel, cpu_us, cost_micros
FROM usage_counters
UNION ALL
SELECT account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel, cpu_us, cost_micros
FROM usage_uncounted_days;
GRANT SELECT ON usage_days, usage_uncounted_days TO spell_engine, spell_app;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
INSERT INTO usage_counters AS u (account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel,
  cpu_us, cost_micros)
SELECT account_id, dimension, subject_id, period, starts_on, funding, sum(casts), sum(failed), sum(fuel), sum(cpu_us),
  sum(cost_micros)
FROM usage_uncounted_days
GROUP BY account_id, dimension, subject_id, period, starts_on, funding
ON CONFLICT (account_id, dimension, subject_id, period, starts_on, funding) DO UPDATE SET
  casts = u.casts + excluded.casts, failed = u.failed + excluded.failed, fuel = u.fuel + excluded.fuel,
  cpu_us = u.cpu_us + excluded.cpu_us, cost_micros = u.cost_micros + excluded.cost_micros;
DROP VIEW usage_days, usage_uncounted_days;
DROP TABLE usage_uncounted;
RESET ROLE;
