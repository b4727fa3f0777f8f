-- name: windows_now
-- For other files to include, beside an `instant` with its day and month: the living budgets, each with its window of
-- that time, as an array in the order of WindowState's fields. A window not made yet has the budget's limit.
SELECT b.account_id, b.scope, b.scope_id,
  CASE WHEN w.id IS NULL THEN b.hard_limit_micros ELSE w.hard_limit_micros END AS hard_limit_micros,
  json_build_array(
    b.id, b.account_id, b.scope, b.scope_id, b.period,
    CASE b.period WHEN 'daily' THEN instant.day ELSE instant.month END,
    w.id IS NOT NULL,
    CASE WHEN w.id IS NULL THEN b.hard_limit_micros ELSE w.hard_limit_micros END,
    coalesce(w.spent_micros, 0), coalesce(w.held_micros, 0)) AS state
FROM budgets b
LEFT JOIN budget_windows w
  ON w.budget_id = b.id AND w.starts_on = CASE b.period WHEN 'daily' THEN instant.day ELSE instant.month END
WHERE b.deleted_at IS NULL

-- name: share_reached
-- For other files to include, where a budget `b` stands and `after` with what a window of it has spent: the highest share
-- of the soft limit that is to be told of, in percent; 0: none.
CASE
  WHEN b.soft_limit_micros IS NULL OR NOT b.notify OR b.deleted_at IS NOT NULL OR after.spent_micros = 0 THEN 0
  WHEN after.spent_micros * 100 >= b.soft_limit_micros * 100 THEN 100
  WHEN after.spent_micros * 100 >= b.soft_limit_micros * 80 THEN 80
  WHEN after.spent_micros * 100 >= b.soft_limit_micros * 50 THEN 50
  ELSE 0
END
