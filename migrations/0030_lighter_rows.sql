-- What every change of a row is checked for. A CHECK of a table is read from its text by each statement that changes a
-- row, whichever columns it changes; one of a domain is kept ready, and asked of what is assigned. One cast alone changes an
-- account, a month and a window twice: 18 texts each time.
--
-- And the cents of a cast are a division, which nobody asked the column for: to keep a generated column Postgres copies
-- the whole row, of 48 columns, at each change. (An export that a process of the version before makes meanwhile is made
-- anew.)

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE casts DROP COLUMN cost_cents;

CREATE DOMAIN micros_held_or_spent AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN count_of_casts AS integer CHECK (VALUE >= 0);
CREATE DOMAIN first_of_month AS date CHECK (extract(day FROM VALUE) = 1);
CREATE DOMAIN days_kept AS integer CHECK (VALUE BETWEEN 0 AND 90);
CREATE DOMAIN account_kind AS text CHECK (VALUE IN ('personal', 'organisation', 'platform'));
CREATE DOMAIN account_status AS text CHECK (VALUE IN ('active', 'suspended', 'erased'));
CREATE DOMAIN account_plan AS text CHECK (VALUE IN ('free', 'pro', 'enterprise'));
CREATE DOMAIN account_billing AS text CHECK (VALUE IN ('auto', 'on', 'off'));
ALTER TABLE accounts
  DROP CONSTRAINT accounts_kind_check, ALTER COLUMN kind TYPE account_kind,
  DROP CONSTRAINT accounts_status_check, ALTER COLUMN status TYPE account_status,
  DROP CONSTRAINT accounts_plan_check, ALTER COLUMN plan TYPE account_plan,
  DROP CONSTRAINT accounts_billing_check, ALTER COLUMN billing TYPE account_billing,
  DROP CONSTRAINT accounts_open_casts_check, ALTER COLUMN open_casts TYPE count_of_casts,
  DROP CONSTRAINT accounts_open_casts_max_check, ALTER COLUMN open_casts_max TYPE count_of_casts,
  DROP CONSTRAINT accounts_on_wire_default_check, ALTER COLUMN on_wire_default TYPE count_of_casts,
  DROP CONSTRAINT accounts_on_wire_large_check, ALTER COLUMN on_wire_large TYPE count_of_casts,
  DROP CONSTRAINT accounts_data_days_check, ALTER COLUMN data_days TYPE days_kept;
ALTER TABLE budget_windows
  DROP CONSTRAINT budget_windows_hard_limit_micros_check, ALTER COLUMN hard_limit_micros TYPE micros_held_or_spent,
  DROP CONSTRAINT budget_windows_spent_micros_check, ALTER COLUMN spent_micros TYPE micros_held_or_spent,
  DROP CONSTRAINT budget_windows_held_micros_check, ALTER COLUMN held_micros TYPE micros_held_or_spent;
ALTER TABLE account_months
  DROP CONSTRAINT account_months_month_check, ALTER COLUMN month TYPE first_of_month,
  DROP CONSTRAINT account_months_spent_micros_check, ALTER COLUMN spent_micros TYPE micros_held_or_spent,
  DROP CONSTRAINT account_months_held_micros_check, ALTER COLUMN held_micros TYPE micros_held_or_spent,
  DROP CONSTRAINT account_months_free_used_check, ALTER COLUMN free_used TYPE count_of_casts,
  DROP CONSTRAINT account_months_free_held_check, ALTER COLUMN free_held TYPE count_of_casts,
  DROP CONSTRAINT account_months_test_casts_check, ALTER COLUMN test_casts TYPE count_of_casts;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE account_months
  ALTER COLUMN month TYPE date, ADD CONSTRAINT account_months_month_check CHECK (extract(day FROM month) = 1),
  ALTER COLUMN spent_micros TYPE bigint, ADD CONSTRAINT account_months_spent_micros_check CHECK (spent_micros >= 0),
  ALTER COLUMN held_micros TYPE bigint, ADD CONSTRAINT account_months_held_micros_check CHECK (held_micros >= 0),
  ALTER COLUMN free_used TYPE integer, ADD CONSTRAINT account_months_free_used_check CHECK (free_used >= 0),
  ALTER COLUMN free_held TYPE integer, ADD CONSTRAINT account_months_free_held_check CHECK (free_held >= 0),
  ALTER COLUMN test_casts TYPE integer, ADD CONSTRAINT account_months_test_casts_check CHECK (test_casts >= 0);
ALTER TABLE budget_windows
  ALTER COLUMN hard_limit_micros TYPE bigint,
  ADD CONSTRAINT budget_windows_hard_limit_micros_check CHECK (hard_limit_micros >= 0),
  ALTER COLUMN spent_micros TYPE bigint, ADD CONSTRAINT budget_windows_spent_micros_check CHECK (spent_micros >= 0),
  ALTER COLUMN held_micros TYPE bigint, ADD CONSTRAINT budget_windows_held_micros_check CHECK (held_micros >= 0);
ALTER TABLE accounts
  ALTER COLUMN kind TYPE text,
  ADD CONSTRAINT accounts_kind_check CHECK (kind IN ('personal', 'organisation', 'platform')),
  ALTER COLUMN status TYPE text,
  ADD CONSTRAINT accounts_status_check CHECK (status IN ('active', 'suspended', 'erased')),
  ALTER COLUMN plan TYPE text, ADD CONSTRAINT accounts_plan_check CHECK (plan IN ('free', 'pro', 'enterprise')),
  ALTER COLUMN billing TYPE text, ADD CONSTRAINT accounts_billing_check CHECK (billing IN ('auto', 'on', 'off')),
  ALTER COLUMN open_casts TYPE integer, ADD CONSTRAINT accounts_open_casts_check CHECK (open_casts >= 0),
  ALTER COLUMN open_casts_max TYPE integer, ADD CONSTRAINT accounts_open_casts_max_check CHECK (open_casts_max >= 0),
  ALTER COLUMN on_wire_default TYPE integer, ADD CONSTRAINT accounts_on_wire_default_check CHECK (on_wire_default >= 0),
  ALTER COLUMN on_wire_large TYPE integer, ADD CONSTRAINT accounts_on_wire_large_check CHECK (on_wire_large >= 0),
  ALTER COLUMN data_days TYPE integer, ADD CONSTRAINT accounts_data_days_check CHECK (data_days BETWEEN 0 AND 90);
DROP DOMAIN micros_held_or_spent, count_of_casts, first_of_month, days_kept, account_kind, account_status, account_plan,
  account_billing;
ALTER TABLE casts ADD COLUMN cost_cents bigint GENERATED ALWAYS AS (cost_micros / 10000) STORED;
RESET ROLE;
