-- name: budget_insert
-- Make a budget; a second one alive of the same scope and period is an error.
INSERT INTO budgets (
  id, account_id, scope, scope_id, period, soft_limit_micros, hard_limit_micros, notify, created_at)
VALUES (
  %(id)s, %(account_id)s, %(scope)s, %(scope_id)s, %(period)s, %(soft_limit_micros)s, %(hard_limit_micros)s,
  %(notify)s, %(now)s)

-- name: budgets_list
-- The budgets of an account that are alive, with what their windows of the day or month hold; none made reads as zeros.
SELECT b.id, b.account_id, b.scope, b.scope_id, b.period, b.soft_limit_micros, b.hard_limit_micros, b.notify,
  b.created_at, coalesce(w.spent_micros, 0) AS spent_micros, coalesce(w.held_micros, 0) AS held_micros
FROM budgets b
LEFT JOIN budget_windows w
  ON w.budget_id = b.id AND w.starts_on = CASE b.period WHEN 'daily' THEN %(day)s::date ELSE %(month)s::date END
WHERE b.account_id = %(account_id)s AND b.deleted_at IS NULL
ORDER BY b.created_at DESC, b.id DESC

-- name: budget_update
-- Change a budget that is alive.
UPDATE budgets
SET soft_limit_micros = %(soft_limit_micros)s, hard_limit_micros = %(hard_limit_micros)s, notify = %(notify)s
WHERE account_id = %(account_id)s AND id = %(id)s AND deleted_at IS NULL

-- name: window_limit_update
-- Admission reads the window's own copy of the limit.
UPDATE budget_windows SET hard_limit_micros = %(hard_limit_micros)s
WHERE budget_id = %(budget_id)s AND starts_on >= %(starts_on)s

-- name: budget_delete
-- End a budget. Its windows stay, because open holds point at them.
UPDATE budgets SET deleted_at = %(now)s
WHERE account_id = %(account_id)s AND id = %(id)s AND deleted_at IS NULL

-- name: spent_read
-- What the scope's casts accepted since the day have cost. The days of a month add up to it, for every dimension.
SELECT coalesce(sum(cost_micros), 0)::bigint FROM usage_days
WHERE account_id = %(account_id)s AND dimension = %(dimension)s AND subject_id = %(scope_id)s
  AND period = 'day' AND starts_on >= %(starts_on)s

-- name: holds_adopt
-- Add a new window to the open casts it applies to, and return what they hold: each gives it back to the window it lists.
WITH adopted AS (
  UPDATE casts SET window_ids = window_ids || %(window_id)s::uuid
  WHERE account_id = %(account_id)s AND status IN ('queued', 'running')
    AND id >= uuid7_floor(%(starts_at)s)
    AND (%(scope)s = 'account'
      OR (%(scope)s = 'key' AND key_id = %(scope_id)s)
      OR (%(scope)s = 'spell' AND spell_id = %(scope_id)s))
    AND NOT window_ids @> ARRAY[%(window_id)s::uuid]
  RETURNING held_micros
)
SELECT coalesce(sum(held_micros), 0)::bigint FROM adopted

-- name: window_insert
-- Make the first window of a new budget with what its period has spent and holds already.
INSERT INTO budget_windows (id, account_id, budget_id, starts_on, hard_limit_micros, spent_micros, held_micros)
VALUES (
  %(id)s, %(account_id)s, %(budget_id)s, %(starts_on)s, %(hard_limit_micros)s, %(spent_micros)s, %(held_micros)s)

-- name: scope_exists
-- Whether the account may set a limit on this: itself, a key of its own, a spell it can cast.
SELECT CASE %(scope)s
  WHEN 'account' THEN %(scope_id)s = %(account_id)s
  WHEN 'key' THEN EXISTS (SELECT FROM api_keys WHERE id = %(scope_id)s AND account_id = %(account_id)s)
  ELSE EXISTS (
    SELECT FROM spells
    WHERE id = %(scope_id)s AND (account_id = %(account_id)s OR visibility <> 'private'))
END

-- name: holds_list
-- Page through the open casts of an account and what each holds, newest first.
SELECT id, key_id, spell_id, status, held_micros, funding, accepted_at, deadline_at, window_ids
FROM casts
WHERE account_id = %(account_id)s AND status IN ('queued', 'running')
  AND (%(before)s::uuid IS NULL OR id < %(before)s::uuid)
ORDER BY id DESC
LIMIT %(limit)s

-- name: holds_total
-- How many casts of an account are open and what they hold together.
SELECT count(*)::bigint, coalesce(sum(held_micros), 0)::bigint
FROM casts WHERE account_id = %(account_id)s AND status IN ('queued', 'running')

-- name: month_get
-- What an account used of a month, whatever budgets it has.
SELECT spent_micros, held_micros FROM account_months WHERE account_id = %(account_id)s AND month = %(month)s
