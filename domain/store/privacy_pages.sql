-- Every query here reads a page of one kind of an account's rows that were there at `instant`, in the order of `row_key`,
-- those behind `after`. Columns are called as in their table; what is added says what an id is called.

-- name: account_page
-- The account itself.
SELECT ARRAY[id::text] AS row_key,
  id, handle, kind, status, home_region, plan, billing, subscription_active, spend_paused, credits_ever,
  open_casts_max, created_at, data_days, has_webhooks, listening_until, price_version
FROM accounts
WHERE id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
ORDER BY id LIMIT %(rows_max)s

-- name: profile_page
-- Who the person is.
SELECT ARRAY[id::text] AS row_key,
  id, email, created_at, name, email_verified_at, role, erased_at
FROM users
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: identities_page
-- As whom others know the person.
SELECT ARRAY[id::text] AS row_key,
  id, user_id, issuer, subject, email, email_verified, created_at, last_login_at
FROM identities
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: sessions_page
-- Where the person signed in.
SELECT ARRAY[id::text] AS row_key,
  id, user_id, kind, user_agent, address, created_at, last_used_at, expires_at, ended_at
FROM sessions
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: device_logins_page
-- Command lines the person let in or turned down; there are few, for they are dropped soon.
SELECT ARRAY[d.user_code] AS row_key,
  d.device_name, d.created_at, d.expires_at, d.user_id, d.decided_at, d.approved, d.used_at
FROM device_logins d JOIN users u ON u.id = d.user_id
WHERE u.account_id = %(account_id)s AND d.user_code > coalesce((%(after)s::text[])[1], '')
  AND d.created_at <= %(instant)s
ORDER BY d.user_code LIMIT %(rows_max)s

-- name: keys_page
-- API keys, revoked ones too, without what proves them.
SELECT ARRAY[id::text] AS row_key,
  id, prefix, name, scopes, made_by_key, rate_limit_rpm, open_casts_max, created_at, expires_at, revoked_at,
  allowed_origins, last_used_at, rotated_at, previous_prefix, previous_until
FROM api_keys
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: spells_page
-- Spells, retired ones too.
SELECT ARRAY[id::text] AS row_key,
  id, name, description, visibility, suspended_at, created_at, deprecation
FROM spells
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: spell_versions_page
-- Their versions.
SELECT ARRAY[v.id::text] AS row_key,
  v.id, v.spell_id, v.version, 'sha256:' || encode(v.digest, 'hex') AS digest, v.size_bytes, v.manifest, v.imports,
  v.creator_price_micros, v.yanked_at, v.created_at, v.deprecation
FROM spells s JOIN spell_versions v ON v.spell_id = s.id
WHERE s.account_id = %(account_id)s AND v.account_id = %(account_id)s
  AND v.id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s) AND v.created_at <= %(instant)s
ORDER BY v.id LIMIT %(rows_max)s

-- name: spell_prices_page
-- What was asked for each version, and what was announced.
SELECT ARRAY[p.version_id::text, p.number::text] AS row_key,
  p.version_id, p.number, p.announced_at, p.effective_at, p.before_per_cast_micros, p.before_per_output_kib_micros,
  p.before_per_unit_micros, p.per_cast_micros, p.per_output_kib_micros, p.per_unit_micros, p.units_max
FROM spells s JOIN spell_versions v ON v.spell_id = s.id JOIN spell_prices p ON p.version_id = v.id
WHERE s.account_id = %(account_id)s AND p.account_id = %(account_id)s
  AND (p.version_id, p.number) > (coalesce((%(after)s::text[])[1]::uuid, %(floor)s),
    coalesce((%(after)s::text[])[2]::integer, 0))
  AND p.announced_at <= %(instant)s
ORDER BY p.version_id, p.number LIMIT %(rows_max)s

-- name: budgets_page
-- Budgets, deleted ones too.
SELECT ARRAY[id::text] AS row_key,
  id, scope, scope_id, period, soft_limit_micros, hard_limit_micros, notify, created_at, deleted_at
FROM budgets
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: budget_windows_page
-- What of them was spent in each period.
SELECT ARRAY[w.budget_id::text, w.starts_on::text] AS row_key,
  w.id, w.budget_id, w.starts_on, w.hard_limit_micros, w.spent_micros, w.held_micros, w.notified_percent
FROM budgets b JOIN budget_windows w ON w.budget_id = b.id
WHERE b.account_id = %(account_id)s AND w.account_id = %(account_id)s
  AND (w.budget_id, w.starts_on) > (coalesce((%(after)s::text[])[1]::uuid, %(floor)s),
    coalesce((%(after)s::text[])[2]::date, '-infinity'))
ORDER BY w.budget_id, w.starts_on LIMIT %(rows_max)s

-- name: months_page
-- What of each month was spent and held, and of the free allowance.
SELECT ARRAY[month::text] AS row_key,
  month, spent_micros, held_micros, free_used, free_held, test_casts
FROM account_months
WHERE account_id = %(account_id)s AND month > coalesce((%(after)s::text[])[1]::date, '-infinity')
ORDER BY month LIMIT %(rows_max)s

-- name: credits_page
-- Credits that were bought or given.
SELECT ARRAY[id::text] AS row_key,
  id, priority, granted_micros, balance_micros, held_micros, expires_at, created_at, order_id, reason, expired_micros,
  taken_back_micros
FROM credit_grants
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: credit_orders_page
-- What was bought.
SELECT ARRAY[id::text] AS row_key,
  id, origin, package_id, credits, price_micros, granted_micros, status, stripe_session, stripe_payment,
  stripe_payment_method, stripe_customer, stripe_refunded_micros, checkout_url, created_at, granted_at
FROM credit_orders
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: credit_takebacks_page
-- Refunds and disputes.
SELECT ARRAY[id::text] AS row_key,
  id, order_id, kind, reference, money_micros, credits_micros, owed_micros, created_at, reversed_at
FROM credit_takebacks
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: credit_history_page
-- Every change of the balance.
SELECT ARRAY[number::text] AS row_key,
  number, kind, amount_micros, balance_before_micros, balance_after_micros, reason, reference_type, reference_id,
  casts, created_at
FROM credit_transactions
WHERE account_id = %(account_id)s AND number > coalesce((%(after)s::text[])[1]::bigint, 0)
  AND created_at <= %(instant)s
ORDER BY number LIMIT %(rows_max)s

-- name: credit_consumptions_page
-- What services took.
SELECT ARRAY[id::text] AS row_key,
  id, idempotency_key, amount_micros, number, created_at
FROM credit_consumptions
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: auto_top_up_page
-- When credits are bought by themselves: a row at most.
SELECT ARRAY[account_id::text] AS row_key,
  enabled, package_id, threshold_micros, monthly_cap_micros, paused_at, updated_at
FROM auto_top_ups
WHERE account_id = %(account_id)s AND account_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
ORDER BY account_id LIMIT %(rows_max)s

-- name: idempotency_keys_page
-- Keys of requests of the last two days.
SELECT ARRAY[key, mode] AS row_key,
  key, mode, cast_ids, created_at
FROM idempotency_keys
WHERE account_id = %(account_id)s
  AND (key, mode) > (coalesce((%(after)s::text[])[1], ''), coalesce((%(after)s::text[])[2], ''))
  AND created_at <= %(instant)s
ORDER BY key, mode LIMIT %(rows_max)s

-- name: casts_page
-- Casts, with what they read and wrote as long as that is kept. Sizes are known without reading it: a page ends where
-- its data would be too much, but never before the first.
WITH sized AS MATERIALIZED (
  SELECT id, sum(coalesce(octet_length(input), 0) + coalesce(octet_length(output), 0)
    + coalesce(octet_length(log), 0)) OVER (ORDER BY id) AS bytes, row_number() OVER (ORDER BY id) AS place
  FROM (
    SELECT id, input, output, log FROM casts
    WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
      AND id < uuid7_floor(%(instant)s)
    ORDER BY id LIMIT %(rows_max)s) AS page
)
SELECT ARRAY[c.id::text] AS row_key,
  c.id, a.handle || '/' || s.name AS spell, v.version, c.key_id, c.spell_id, c.version_id, c.status, c.pool,
  c.cancel_requested, c.accepted_at, c.deadline_at, c.started_at, c.finished_at, c.data_expires_at, c.data_once,
  c.fuel_limit, c.wall_ms_limit, c.memory_bytes_limit, c.output_bytes_limit, c.log_bytes_limit, c.price_version,
  c.creator_price_micros, c.creator_rates, c.quote_id, c.held_micros, c.cost_micros,
  c.cost_micros / 10000 AS cost_cents, c.funding, c.window_ids, c.grant_ids, c.grant_micros,
  CASE WHEN k.kept THEN c.input END AS input, CASE WHEN k.kept THEN c.output END AS output,
  CASE WHEN k.kept THEN c.log END AS log,
  c.metadata::json AS metadata, c.traceparent, c.webhook_url, c.error_code, c.error_message, c.exit_code, c.fuel,
  c.cpu_us, c.memory_bytes_peak, c.wall_us, c.attempts, c.output_bytes, c.units
FROM sized
JOIN casts c ON c.id = sized.id
JOIN spells s ON s.id = c.spell_id
JOIN accounts a ON a.id = s.account_id
JOIN spell_versions v ON v.id = c.version_id
CROSS JOIN LATERAL (
  SELECT c.data_expires_at IS NULL OR c.data_expires_at > clock_timestamp() AS kept) AS k
WHERE sized.place = 1 OR sized.bytes <= %(bytes_max)s
ORDER BY c.id

-- name: usage_events_page
-- What each settled cast used; the casts lead, because they have an index by account. With it what was reported again
-- after the end, and never charged.
SELECT ARRAY[c.id::text] AS row_key,
  u.id, u.key_id, u.spell_id, u.outcome, u.month, u.fuel, u.cpu_us, u.memory_bytes_peak,
  u.wall_us, u.cost_micros, u.funding, u.settled_at, u.batch_id, coalesce((
    SELECT json_agg(json_build_object('outcome', t.outcome, 'fuel', t.fuel, 'cpu_us', t.cpu_us, 'wall_us', t.wall_us,
      'seen_at', t.seen_at) ORDER BY t.seen_at)
    FROM usage_strays t WHERE t.cast_id = c.id AND t.account_id = %(account_id)s), '[]') AS strays
FROM casts c JOIN usage_events u ON u.id = c.id
WHERE c.account_id = %(account_id)s AND c.id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND c.id < uuid7_floor(%(instant)s)
ORDER BY c.id LIMIT %(rows_max)s

-- name: usage_counters_page
-- Sums by day, of a creator's spells too.
SELECT ARRAY[dimension, subject_id::text, period, starts_on::text, funding] AS row_key,
  dimension, subject_id, period, starts_on, funding, sum(casts)::bigint AS casts, sum(failed)::bigint AS failed,
  sum(fuel)::bigint AS fuel, sum(cpu_us)::bigint AS cpu_us, sum(cost_micros)::bigint AS cost_micros
FROM usage_days
WHERE account_id = %(account_id)s
  AND (dimension, subject_id, period, starts_on, funding) > (coalesce((%(after)s::text[])[1], ''),
    coalesce((%(after)s::text[])[2]::uuid, %(floor)s), coalesce((%(after)s::text[])[3], ''),
    coalesce((%(after)s::text[])[4]::date, '-infinity'), coalesce((%(after)s::text[])[5], ''))
GROUP BY dimension, subject_id, period, starts_on, funding
ORDER BY dimension, subject_id, period, starts_on, funding LIMIT %(rows_max)s

-- name: ledger_page
-- What was booked on the account.
SELECT ARRAY[month::text, id::text] AS row_key,
  id, batch_id, kind, debit, credit, amount_micros, spell_id, month, casts, created_at
FROM ledger_transfers
WHERE account_id = %(account_id)s AND created_at <= %(instant)s
  AND (month, id) > (coalesce((%(after)s::text[])[1]::date, '-infinity'),
    coalesce((%(after)s::text[])[2]::uuid, %(floor)s))
ORDER BY month, id LIMIT %(rows_max)s

-- name: earnings_page
-- What a creator earned; who paid it is another person's data.
SELECT ARRAY[month::text, id::text] AS row_key,
  id, credit, amount_micros, spell_id, month, created_at
FROM ledger_transfers
WHERE credit = 'creator:' || %(account_id)s::uuid::text AND kind = 'creator_share' AND created_at <= %(instant)s
  AND (month, id) > (coalesce((%(after)s::text[])[1]::date, '-infinity'),
    coalesce((%(after)s::text[])[2]::uuid, %(floor)s))
ORDER BY month, id LIMIT %(rows_max)s

-- name: refunds_page
-- What was paid back for which cast.
SELECT ARRAY[cast_id::text] AS row_key,
  cast_id, amount_micros, reason, refunded_at
FROM cast_refunds
WHERE account_id = %(account_id)s AND cast_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND refunded_at <= %(instant)s
ORDER BY cast_id LIMIT %(rows_max)s

-- name: billing_page
-- How the account pays.
SELECT ARRAY[account_id::text] AS row_key,
  stripe_customer_id, stripe_subscription_id, status, plan, stripe_price_id, current_period_end, ends_at, grace_until,
  unpaid_invoices, created_at, updated_at
FROM billing_accounts
WHERE account_id = %(account_id)s AND account_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY account_id LIMIT %(rows_max)s

-- name: webhooks_page
-- Endpoints, deleted ones too.
SELECT ARRAY[id::text] AS row_key,
  id, mode, url, description, event_types, secret_version, previous_secret_until, failing_since, disabled_at,
  disabled_reason, created_at, deleted_at
FROM webhook_endpoints
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: deliveries_page
-- What endpoints were sent, with every attempt, as long as it is kept.
SELECT ARRAY[o.endpoint_id::text, o.created_at::text, o.id::text] AS row_key,
  o.id, o.kind, o.event_id, o.event_type, o.endpoint_id, o.target, o.cast_id, o.payload, o.created_at, o.attempts,
  o.next_attempt_at, o.status, o.finished_at, log.attempt_log
FROM webhook_endpoints e
JOIN outgoing o ON o.endpoint_id = e.id
CROSS JOIN LATERAL (
  SELECT coalesce(json_agg(json_build_object('attempt', t.attempt, 'started_at', t.started_at,
    'duration_ms', t.duration_ms, 'request_headers', t.request_headers, 'status_code', t.status_code,
    'response_body', encode(t.response_body, 'base64'), 'error', t.error) ORDER BY t.attempt), '[]') AS attempt_log
  FROM outgoing_attempts t WHERE t.outgoing_id = o.id AND t.account_id = %(account_id)s) AS log
WHERE e.account_id = %(account_id)s AND o.account_id = %(account_id)s AND o.created_at <= %(instant)s
  AND (o.endpoint_id, o.created_at, o.id) > (coalesce((%(after)s::text[])[1]::uuid, %(floor)s),
    coalesce((%(after)s::text[])[2]::timestamptz, '-infinity'), coalesce((%(after)s::text[])[3]::uuid, %(floor)s))
ORDER BY o.endpoint_id, o.created_at, o.id LIMIT %(rows_max)s

-- name: messages_page
-- Mail, what went to addresses that casts named, and what was followed.
SELECT ARRAY[o.id::text] AS row_key,
  o.id, o.kind, o.event_id, o.event_type, o.endpoint_id, o.target, o.cast_id, o.payload, o.created_at, o.attempts,
  o.next_attempt_at, o.status, o.finished_at, log.attempt_log
FROM outgoing o
CROSS JOIN LATERAL (
  SELECT coalesce(json_agg(json_build_object('attempt', t.attempt, 'started_at', t.started_at,
    'duration_ms', t.duration_ms, 'request_headers', t.request_headers, 'status_code', t.status_code,
    'response_body', encode(t.response_body, 'base64'), 'error', t.error) ORDER BY t.attempt), '[]') AS attempt_log
  FROM outgoing_attempts t WHERE t.outgoing_id = o.id AND t.account_id = %(account_id)s) AS log
WHERE o.account_id = %(account_id)s AND o.endpoint_id IS NULL AND o.created_at <= %(instant)s
  AND o.id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
ORDER BY o.id LIMIT %(rows_max)s

-- name: billing_runs_page
-- What became of the account in each run of monthly billing.
SELECT ARRAY[r.run_id::text] AS row_key,
  r.run_id, b.period, r.outcome, r.trouble
FROM billing_run_accounts r JOIN billing_runs b ON b.id = r.run_id
WHERE r.account_id = %(account_id)s AND r.run_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND b.started_at <= %(instant)s
ORDER BY r.run_id LIMIT %(rows_max)s

-- name: invoices_page
-- What was billed.
SELECT ARRAY[id::text] AS row_key,
  id, run_id, period, frozen_at, usage_micros, carry_in_micros, carry_out_micros, total_cents, calls, description,
  status, stripe_customer_id, stripe_invoice_id, number, hosted_url, pdf_url, finalized_at, closed_at
FROM invoices
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND frozen_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: invoice_lines_page
-- What each invoice is made of, with what the spell is called.
SELECT ARRAY[l.id::text] AS row_key,
  l.id, l.invoice_id, l.month, l.spell_id, a.handle || '/' || s.name AS spell, l.calls, l.amount_micros,
  l.settled_after, l.settled_until
FROM invoice_lines l JOIN spells s ON s.id = l.spell_id JOIN accounts a ON a.id = s.account_id
WHERE l.account_id = %(account_id)s AND l.id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND l.settled_until <= %(instant)s
ORDER BY l.id LIMIT %(rows_max)s

-- name: payout_account_page
-- Who the creator is at Stripe.
SELECT ARRAY[account_id::text] AS row_key,
  stripe_account_id, details_submitted, transfers_active, payouts_enabled, disabled_reason, created_at, updated_at
FROM payout_accounts
WHERE account_id = %(account_id)s AND account_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY account_id LIMIT %(rows_max)s

-- name: payout_runs_page
-- What became of the account in each run of monthly payouts.
SELECT ARRAY[r.run_id::text] AS row_key,
  r.run_id, p.period, r.outcome, r.payable_micros, r.trouble
FROM payout_run_accounts r JOIN payout_runs p ON p.id = r.run_id
WHERE r.account_id = %(account_id)s AND r.run_id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND p.started_at <= %(instant)s
ORDER BY r.run_id LIMIT %(rows_max)s

-- name: payouts_page
-- What was paid to the creator.
SELECT ARRAY[id::text] AS row_key,
  id, run_id, period, frozen_at, payable_micros, held_back_micros, amount_cents, stripe_account_id, status,
  stripe_transfer_id, reversed_cents, refused_code, finished_at
FROM payouts
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND frozen_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: outbox_page
-- What was asked of Stripe for the account.
SELECT ARRAY[id::text] AS row_key,
  id, kind, subject_id, frozen, created_at, step, known, trouble, is_blocked, status, finished_at
FROM outbox
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: audit_page
-- Who changed what, and from where.
SELECT ARRAY[id::text] AS row_key,
  id, at, actor_kind, actor_id, user_id, action, target_kind, target_id, before, after, address, request_id
FROM audit_log
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s) AND at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s

-- name: exports_page
-- Exports like this one.
SELECT ARRAY[id::text] AS row_key,
  id, user_id, status, progress_percent, created_at, finished_at, expires_at, error, size_bytes
FROM privacy_exports
WHERE account_id = %(account_id)s AND id > coalesce((%(after)s::text[])[1]::uuid, %(floor)s)
  AND created_at <= %(instant)s
ORDER BY id LIMIT %(rows_max)s
