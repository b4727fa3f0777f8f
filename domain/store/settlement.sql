-- name: accounts_lock
-- Lock the accounts of these casts; a cast's account never changes, so the subquery needs no second look.
SELECT id FROM accounts
WHERE id IN (
  SELECT account_id FROM casts WHERE id = ANY(%(cast_ids)b::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s)
ORDER BY id FOR NO KEY UPDATE

-- name: accounts_lock_free
-- The same without waiting.
SELECT id FROM accounts
WHERE id IN (
  SELECT account_id FROM casts WHERE id = ANY(%(cast_ids)b::uuid[]) AND id BETWEEN %(first_id)s AND %(last_id)s)
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED

-- name: accounts_lock_named
-- Lock these accounts.
SELECT id FROM accounts WHERE id = ANY(%(account_ids)b::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: casts_read
-- What the gate needs of each cast, read after the locks or to be read again under them: an array in the order of HeldCast's fields, for their names
-- cost Postgres as much as everything else about this (12.6 microseconds a cast with, 6.7 without).
SELECT coalesce(json_agg(json_build_array(
  c.id, c.account_id, c.key_id, c.spell_id, c.creator_id, encode(v.digest, 'base64'), c.status, c.pool, c.on_wire,
  c.cancel_requested, (date_part('epoch', c.accepted_at) * 1000)::bigint, c.deadline_at <= clock_timestamp(),
  c.fuel_limit, c.wall_ms_limit, c.memory_bytes_limit, c.output_bytes_limit, c.log_bytes_limit,
  c.price_version, c.creator_price_micros, c.held_micros, c.funding, c.window_ids, c.grant_ids, c.grant_micros,
  a.data_days, c.creator_rates, c.webhook_url,
  a.has_webhooks OR coalesce(a.listening_until > clock_timestamp(), false),
  a.open_casts > a.on_wire_default + a.on_wire_large)), '[]')::text
FROM casts c JOIN spell_versions v ON v.id = c.version_id JOIN accounts a ON a.id = c.account_id
WHERE c.id = ANY(%(cast_ids)b::uuid[]) AND c.id BETWEEN %(first_id)s AND %(last_id)s

-- name: prices_read
-- The whole price book: a handful of rows.
SELECT coalesce(json_agg(json_build_object('version', version, 'per_cast_micros', per_cast_micros,
  'per_gfuel_micros', per_gfuel_micros, 'platform_share_percent', platform_share_percent)), '[]')::text
FROM price_book

-- name: casts_start
-- A cast that has been running for a while says so; a final one does not change.
UPDATE casts c SET status = 'running', started_at = to_timestamp(r.started_ms / 1000::float8)
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, started_ms bigint)
WHERE c.id = r.id AND c.id BETWEEN %(first_id)s AND %(last_id)s AND c.status = 'queued'

-- name: casts_end
-- The gate: a cast goes from open to final exactly once. Everything booked comes from what this returns; usage events
-- and what is counted are written here from it, so they cannot come from anything else. A second event of a cast cannot be.
-- A budget that began since the cast was read has added a window to it, and what is booked would not be all.
-- Its data is kept for as long as its account said when the cast was read, to the next full hour: at most a day where
-- the first reading ends it.
-- Each cast must be looked up by its key, not compared with every open one between the first and the last (a third of
-- the time of 500, and of a backlog nearly all). So few rows of `r` are expected, as its range says once more, and many
-- of `c`: a BETWEEN would look short to the planner, and `IN` offer it the indexes of open casts.
WITH ended AS (
UPDATE casts c SET
  status = r.status, error_code = r.error_code, error_message = r.error_message, exit_code = r.exit_code,
  fuel = r.fuel, cpu_us = r.cpu_us, memory_bytes_peak = r.memory_bytes_peak, wall_us = r.wall_us,
  attempts = r.attempts, cost_micros = r.cost_micros, units = r.units, output_bytes = octet_length(r.output),
  started_at = coalesce(c.started_at, to_timestamp(r.started_ms / 1000::float8)),
  finished_at = coalesce(to_timestamp(r.finished_ms / 1000::float8), clock_timestamp()),
  data_expires_at = (SELECT date_trunc('hour', clock_timestamp()))
    + CASE r.data_days WHEN 0 THEN 24 ELSE 24 * r.data_days + 1 END * interval '1 hour',
  data_once = r.data_days = 0,
  output = r.output, log = r.log
FROM unnest(
  %(rows.id)b::uuid[], %(rows.status)b::text[], %(rows.error_code)b::text[], %(rows.error_message)b::text[],
  %(rows.exit_code)b::bigint[], %(rows.fuel)b::bigint[], %(rows.cpu_us)b::bigint[], %(rows.memory_bytes_peak)b::bigint[],
  %(rows.wall_us)b::bigint[], %(rows.attempts)b::bigint[], %(rows.cost_micros)b::bigint[], %(rows.started_ms)b::bigint[],
  %(rows.finished_ms)b::bigint[], %(rows.units)b::bigint[], %(rows.windows)b::bigint[], %(rows.data_days)b::bigint[],
  %(rows.output)b::bytea[], %(rows.log)b::bytea[]
) AS r(id, status, error_code, error_message, exit_code, fuel, cpu_us, memory_bytes_peak, wall_us, attempts,
  cost_micros, started_ms, finished_ms, units, windows, data_days, output, log)
WHERE c.id = r.id AND r.id BETWEEN %(first_id)s AND %(last_id)s
  AND c.id >= %(first_id)s AND c.id <= ANY(ARRAY[%(last_id)s]::uuid[])
  AND c.status NOT IN ('succeeded', 'failed', 'canceled', 'expired') AND cardinality(c.window_ids) = r.windows
RETURNING c.id, c.account_id, c.key_id, c.spell_id, c.creator_id, c.funding, c.accepted_at, c.error_code, c.fuel,
  c.cpu_us, c.memory_bytes_peak, c.wall_us, c.cost_micros
), used AS (
INSERT INTO usage_events (id, account_id, key_id, spell_id, outcome, month, fuel, cpu_us, memory_bytes_peak, wall_us,
  cost_micros, funding, batch_id, settled_at)
SELECT id, account_id, key_id, spell_id, coalesce(error_code, 'succeeded'),
  date_trunc('month', accepted_at AT TIME ZONE 'UTC')::date, fuel, cpu_us, memory_bytes_peak, wall_us,
  cost_micros, funding, %(batch_id)s, clock_timestamp()
FROM ended
), uncounted AS (
INSERT INTO usage_uncounted (cast_ids, account_ids) SELECT array_agg(id), array_agg(account_id) FROM ended HAVING count(*) > 0
), raised AS (
-- In one order, for the rows of a spell are shared between accounts.
INSERT INTO usage_counters AS u (account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel,
  cpu_us, cost_micros)
SELECT creator_id, 'spell', spell_id, 'day', (accepted_at AT TIME ZONE 'UTC')::date AS day, funding, count(*),
  count(error_code), coalesce(sum(fuel), 0), sum(cpu_us), sum(cost_micros)
FROM ended
GROUP BY creator_id, spell_id, day, funding
ORDER BY creator_id, spell_id, day, funding
ON CONFLICT (account_id, dimension, subject_id, period, starts_on, funding) DO UPDATE SET
  casts = u.casts + excluded.casts, failed = u.failed + excluded.failed, fuel = u.fuel + excluded.fuel,
  cpu_us = u.cpu_us + excluded.cpu_us, cost_micros = u.cost_micros + excluded.cost_micros
)
SELECT id FROM ended

-- name: casts_cancel_request
-- Ask whoever runs these casts to stop.
UPDATE casts SET cancel_requested = true WHERE id = ANY(%(cast_ids)b::uuid[])
  AND id BETWEEN %(first_id)s AND %(last_id)s AND status IN ('queued', 'running')

-- name: casts_of_account
-- Which of these casts belong to the account.
SELECT id FROM casts
WHERE id BETWEEN %(first_id)s AND %(last_id)s AND id = ANY(%(cast_ids)b::uuid[]) AND account_id = %(account_id)s

-- name: account_lock
-- Take the mutex of one account.
SELECT id FROM accounts WHERE id = %(account_id)s FOR NO KEY UPDATE

-- name: strays_insert
-- Events for casts that were already final: kept to be seen, never charged.
INSERT INTO usage_strays (cast_id, account_id, outcome, fuel, cpu_us, wall_us, worker, seen_at)
SELECT cast_id, account_id, outcome, fuel, cpu_us, wall_us, worker, clock_timestamp()
FROM json_to_recordset(%(rows)s::json)
  AS r(cast_id uuid, account_id uuid, outcome text, fuel bigint, cpu_us bigint, wall_us bigint, worker text)

-- name: windows_settle
-- Give back what was held and count what was spent, in exactly the windows the hold names. A window remembers the
-- highest share of the soft limit it has told of, so each is told once: `was` is the row as the account's lock keeps it.
UPDATE budget_windows w SET held_micros = w.held_micros - r.held, spent_micros = w.spent_micros + r.spent,
  notified_percent = greatest(was.notified_percent, (
    SELECT
    -- include: windows.share_reached
    FROM (SELECT was.spent_micros + r.spent AS spent_micros) AS after))
FROM unnest(%(rows.id)b::uuid[], %(rows.held)b::bigint[], %(rows.spent)b::bigint[]) AS r(id, held, spent)
JOIN budget_windows was ON was.id = r.id
JOIN budgets b ON b.id = was.budget_id
WHERE w.id = r.id
RETURNING CASE WHEN was.notified_percent < w.notified_percent THEN json_build_object('window_id', w.id,
  'account_id', w.account_id, 'budget_id', w.budget_id, 'scope', b.scope, 'scope_id', b.scope_id, 'period', b.period,
  'starts_on', w.starts_on, 'percent', w.notified_percent, 'soft_limit_micros', b.soft_limit_micros,
  'hard_limit_micros', w.hard_limit_micros, 'spent_micros', w.spent_micros, 'held_micros', w.held_micros) END AS reached

-- name: windows_settle_untold
-- The same where nobody is told: whether spending has reached the next share of the soft limit that is to be told of.
UPDATE budget_windows w
SET held_micros = w.held_micros - r.held, spent_micros = w.spent_micros + r.spent
FROM unnest(%(rows.id)b::uuid[], %(rows.held)b::bigint[], %(rows.spent)b::bigint[]) AS r(id, held, spent), budgets b
WHERE w.id = r.id AND b.id = w.budget_id
RETURNING w.notified_percent < (
    SELECT
    -- include: windows.share_reached
    FROM (SELECT w.spent_micros) AS after) AS reached

-- name: months_settle
-- The same for the account's month and its free allowance.
UPDATE account_months m SET held_micros = m.held_micros - r.held, spent_micros = m.spent_micros + r.spent,
  free_held = m.free_held - r.free_held, free_used = m.free_used + r.free_used
FROM unnest(%(rows.account_id)b::uuid[], %(rows.month)b::date[], %(rows.held)b::bigint[], %(rows.spent)b::bigint[],
  %(rows.free_held)b::bigint[], %(rows.free_used)b::bigint[])
  AS r(account_id, month, held, spent, free_held, free_used)
WHERE m.account_id = r.account_id AND m.month = r.month
RETURNING m.account_id

-- name: grants_settle
-- Take from each grant what the cast cost of it and release the rest of the hold.
UPDATE credit_grants g SET held_micros = g.held_micros - r.held, balance_micros = g.balance_micros - r.spent
FROM unnest(%(rows.id)b::uuid[], %(rows.held)b::bigint[], %(rows.spent)b::bigint[]) AS r(id, held, spent)
WHERE g.id = r.id
RETURNING g.id

-- name: credits_spent_insert
-- The history of a balance has one line for each batch of casts; what is left by now is what the grants say.
INSERT INTO credit_transactions (
  account_id, number, kind, amount_micros, balance_before_micros, balance_after_micros, reference_type, reference_id,
  casts, created_at)
SELECT r.account_id, coalesce(
    (SELECT max(t.number) FROM credit_transactions t WHERE t.account_id = r.account_id), 0) + 1,
  'casts', -r.micros, left_over.micros + r.micros, left_over.micros, 'batch', %(batch_id)s::uuid::text, r.casts,
  clock_timestamp()
FROM json_to_recordset(%(rows)s::json) AS r(account_id uuid, micros bigint, casts integer)
CROSS JOIN LATERAL (
  SELECT coalesce(sum(g.balance_micros), 0)::bigint AS micros FROM credit_grants g
  WHERE g.account_id = r.account_id AND g.balance_micros > 0) AS left_over

-- name: keys_close
-- Count the casts a key no longer has open, where it may have so many only.
UPDATE api_keys k SET open_casts = k.open_casts - r.casts
FROM unnest(%(rows.id)b::uuid[], %(rows.casts)b::bigint[]) AS r(id, casts)
WHERE k.id = r.id AND k.open_casts_max IS NOT NULL

-- name: accounts_close
-- Count the casts an account no longer has open; tell which still have casts waiting for a place on the wire, and of
-- which somebody wants to hear who did not when the casts were read, and which keep data longer or shorter since then.
UPDATE accounts a
SET open_casts = a.open_casts - r.casts,
    on_wire_default = a.on_wire_default - r.on_wire_default, on_wire_large = a.on_wire_large - r.on_wire_large
FROM unnest(%(rows.id)b::uuid[], %(rows.casts)b::bigint[], %(rows.on_wire_default)b::bigint[],
  %(rows.on_wire_large)b::bigint[], %(rows.told)b::boolean[], %(rows.data_days)b::bigint[])
  AS r(id, casts, on_wire_default, on_wire_large, told, data_days)
WHERE a.id = r.id
RETURNING a.id, a.open_casts > a.on_wire_default + a.on_wire_large AS waits,
  NOT r.told AND (a.has_webhooks OR coalesce(a.listening_until > clock_timestamp(), false)) AS unheard,
  a.data_days <> r.data_days AS kept_otherwise

-- name: transfers_insert
-- Book the money. A plain INSERT: an id that exists already aborts the batch instead of hiding a row.
INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month, casts,
  source_id)
SELECT id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month, casts, source_id
FROM unnest(%(rows.id)b::uuid[], %(rows.batch_id)b::uuid[], %(rows.kind)b::text[], %(rows.debit)b::text[],
  %(rows.credit)b::text[], %(rows.amount_micros)b::bigint[], %(rows.account_id)b::uuid[], %(rows.spell_id)b::uuid[],
  %(rows.month)b::date[], %(rows.casts)b::bigint[], %(rows.source_id)b::uuid[]
) AS r(id, batch_id, kind, debit, credit, amount_micros, account_id, spell_id, month, casts, source_id)

-- name: casts_name_next
-- Give the places that came free to the account's oldest waiting casts.
WITH place AS (
  SELECT a.id AS account_id, p.pool, p.free
  FROM accounts a
  CROSS JOIN LATERAL (VALUES
    ('default', %(on_wire_max)s - a.on_wire_default), ('large', %(on_wire_max)s - a.on_wire_large)) AS p(pool, free)
  WHERE a.id = ANY(%(account_ids)b::uuid[]) AND p.free > 0
), next AS (
  SELECT n.id FROM place
  CROSS JOIN LATERAL (
    SELECT c.id FROM casts c
    WHERE c.account_id = place.account_id AND c.pool = place.pool AND NOT c.on_wire AND c.status = 'queued'
    ORDER BY c.id LIMIT place.free) AS n
)
UPDATE casts c SET on_wire = true
FROM spell_versions v
WHERE c.id IN (SELECT id FROM next) AND v.id = c.version_id
RETURNING c.id, c.account_id, c.pool, v.digest, c.fuel_limit, c.wall_ms_limit, c.memory_bytes_limit,
  c.output_bytes_limit, c.log_bytes_limit, c.input, (extract(epoch FROM c.accepted_at) * 1000)::bigint,
  (extract(epoch FROM c.deadline_at) * 1000)::bigint, c.traceparent

-- name: accounts_wire
-- Count the casts that were just put on the wire.
UPDATE accounts a
SET on_wire_default = a.on_wire_default + r.on_wire_default, on_wire_large = a.on_wire_large + r.on_wire_large
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, on_wire_default integer, on_wire_large integer)
WHERE a.id = r.id

-- name: casts_overdue
-- Casts whose deadline passed so long ago that no worker's report can still be on its way.
SELECT id FROM casts
WHERE status IN ('queued', 'running') AND deadline_at < %(before)s
ORDER BY deadline_at LIMIT %(limit)s

-- name: casts_meant_for_wire
-- Open casts that should be on the wire and were accepted more than a moment ago, oldest first from a given id, and
-- whether somebody asked to stop them: the sign of that on the wire may have been lost with who should have put it up.
SELECT id, cancel_requested FROM casts
WHERE pool = %(pool)s AND on_wire AND status IN ('queued', 'running') AND id > %(after)s AND id < %(before)s
ORDER BY id LIMIT %(limit)s

-- name: casts_jobs
-- What a worker needs of each of these casts, if it is still open.
SELECT c.id, c.account_id, c.pool, v.digest, c.fuel_limit, c.wall_ms_limit, c.memory_bytes_limit,
  c.output_bytes_limit, c.log_bytes_limit, c.input, (extract(epoch FROM c.accepted_at) * 1000)::bigint,
  (extract(epoch FROM c.deadline_at) * 1000)::bigint, c.traceparent
FROM casts c JOIN spell_versions v ON v.id = c.version_id
WHERE c.id = ANY(%(cast_ids)b::uuid[]) AND c.id BETWEEN %(first_id)s AND %(last_id)s AND c.status IN ('queued', 'running')
