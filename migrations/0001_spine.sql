-- The spine: accounts, keys, spells, budgets, casts, usage, counters, the ledger.
--
-- Roles are objects of the whole cluster: made here when missing, never dropped by the down part.
-- spell_owner owns every table; spell_app serves the requests of one account and is bound by row-level security;
-- spell_engine works across accounts (admission, ledger, scheduler) and owns nothing.
-- Money is micros of a US dollar (bigint). Ids of casts are UUIDv7, so a month is a range of ids.

-- up
DO $$
DECLARE role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['spell_owner', 'spell_app', 'spell_engine'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- another database of this cluster, or another runner, made it first
    END;
    IF NOT pg_has_role(current_user, role_name, 'MEMBER') OR NOT pg_has_role(current_user, role_name, 'USAGE') THEN
      EXECUTE format('GRANT %I TO %I', role_name, current_user);
    END IF;
  END LOOP;
END $$;
GRANT USAGE, CREATE ON SCHEMA public TO spell_owner;
GRANT USAGE ON SCHEMA public TO spell_app, spell_engine;
SET LOCAL ROLE spell_owner;

-- An account owns everything; a user signs in and has a personal account.
-- Its row is the one mutex of its money: lock it first, then read anything about its limits.
CREATE TABLE accounts (
  id uuid PRIMARY KEY,
  handle text NOT NULL UNIQUE CHECK (handle ~ '^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$'),
  kind text NOT NULL DEFAULT 'personal' CHECK (kind IN ('personal', 'organisation', 'platform')),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  home_region text NOT NULL DEFAULT 'local',
  plan text NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'pro', 'enterprise')),
  -- 'on': metered casts need a subscription; 'off': never billed; 'auto': off while the platform has no Stripe keys.
  billing text NOT NULL DEFAULT 'auto' CHECK (billing IN ('auto', 'on', 'off')),
  subscription_active boolean NOT NULL DEFAULT false,
  spend_paused boolean NOT NULL DEFAULT false,
  credits_ever boolean NOT NULL DEFAULT false,
  open_casts integer NOT NULL DEFAULT 0 CHECK (open_casts >= 0),
  open_casts_max integer NOT NULL DEFAULT 100000 CHECK (open_casts_max >= 0),
  on_wire_default integer NOT NULL DEFAULT 0 CHECK (on_wire_default >= 0),
  on_wire_large integer NOT NULL DEFAULT 0 CHECK (on_wire_large >= 0),
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50); -- updated by every batch: room for HOT updates

CREATE TABLE users (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL UNIQUE REFERENCES accounts,
  email text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  prefix text NOT NULL UNIQUE,
  secret_hash text NOT NULL,
  name text NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  made_by_key uuid REFERENCES api_keys,
  rate_limit_rpm integer CHECK (rate_limit_rpm > 0),
  open_casts integer NOT NULL DEFAULT 0 CHECK (open_casts >= 0),
  open_casts_max integer CHECK (open_casts_max >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX api_keys_of_account ON api_keys (account_id);

-- Spells: versions are immutable; bytes are stored once by digest, in pieces.
CREATE TABLE blobs (
  digest bytea PRIMARY KEY CHECK (length(digest) = 32),
  size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE blob_pieces (
  digest bytea NOT NULL REFERENCES blobs ON DELETE CASCADE,
  piece integer NOT NULL CHECK (piece >= 0),
  bytes bytea NOT NULL,
  PRIMARY KEY (digest, piece)
);
ALTER TABLE blob_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL; -- artifacts do not compress enough to pay for it

CREATE TABLE artifacts (
  module_digest bytea NOT NULL REFERENCES blobs,
  engine_key text NOT NULL,
  artifact_digest bytea NOT NULL REFERENCES blobs,
  signature bytea NOT NULL CHECK (length(signature) = 64),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (module_digest, engine_key)
);

CREATE TABLE spells (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  name text NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'),
  description text NOT NULL DEFAULT '',
  visibility text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'unlisted', 'private')),
  suspended_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (account_id, name)
);

CREATE TABLE spell_versions (
  id uuid PRIMARY KEY,
  spell_id uuid NOT NULL REFERENCES spells,
  account_id uuid NOT NULL REFERENCES accounts,
  version text NOT NULL,
  digest bytea NOT NULL REFERENCES blobs,
  size_bytes integer NOT NULL,
  manifest json NOT NULL,
  imports text[] NOT NULL DEFAULT '{}',
  creator_price_micros bigint NOT NULL DEFAULT 0 CHECK (creator_price_micros >= 0),
  yanked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (spell_id, version)
);
CREATE INDEX spell_versions_by_digest ON spell_versions (digest);

-- Prices are versions, never edited: a cast is settled by the version it was accepted under.
CREATE TABLE price_book (
  version integer PRIMARY KEY,
  per_cast_micros bigint NOT NULL CHECK (per_cast_micros >= 0),
  per_gfuel_micros bigint NOT NULL CHECK (per_gfuel_micros >= 0),
  platform_share_percent integer NOT NULL CHECK (platform_share_percent BETWEEN 0 AND 100),
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Budgets: scope_id is the account's, the key's or the spell's id. Deleted softly, because holds point at windows.
CREATE TABLE budgets (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  scope text NOT NULL CHECK (scope IN ('account', 'key', 'spell')),
  scope_id uuid NOT NULL,
  period text NOT NULL CHECK (period IN ('daily', 'monthly')),
  soft_limit_micros bigint CHECK (soft_limit_micros >= 0),
  hard_limit_micros bigint CHECK (hard_limit_micros >= 0),
  notify boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX budgets_one_alive ON budgets (account_id, scope, scope_id, period) WHERE deleted_at IS NULL;

-- No CHECK (spent + held <= limit): a limit may be lowered below it; then nothing is taken back and nothing admitted.
CREATE TABLE budget_windows (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  budget_id uuid NOT NULL REFERENCES budgets,
  starts_on date NOT NULL,
  hard_limit_micros bigint CHECK (hard_limit_micros >= 0),
  spent_micros bigint NOT NULL DEFAULT 0 CHECK (spent_micros >= 0),
  held_micros bigint NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
  UNIQUE (budget_id, starts_on)
) WITH (fillfactor = 50);

-- What an account used of a month, by list price, and of its free allowance, by casts.
CREATE TABLE account_months (
  account_id uuid NOT NULL REFERENCES accounts,
  month date NOT NULL CHECK (extract(day FROM month) = 1),
  spent_micros bigint NOT NULL DEFAULT 0 CHECK (spent_micros >= 0),
  held_micros bigint NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
  free_used integer NOT NULL DEFAULT 0 CHECK (free_used >= 0),
  free_held integer NOT NULL DEFAULT 0 CHECK (free_held >= 0),
  PRIMARY KEY (account_id, month)
) WITH (fillfactor = 50);

CREATE TABLE credit_grants (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  priority integer NOT NULL DEFAULT 100,
  granted_micros bigint NOT NULL CHECK (granted_micros > 0),
  balance_micros bigint NOT NULL CHECK (balance_micros BETWEEN 0 AND granted_micros),
  held_micros bigint NOT NULL DEFAULT 0 CHECK (held_micros BETWEEN 0 AND balance_micros),
  expires_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX credit_grants_alive ON credit_grants (account_id) WHERE balance_micros > 0;

CREATE TABLE idempotency_keys (
  account_id uuid NOT NULL REFERENCES accounts,
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
  cast_ids uuid[] NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at);

-- A cast and the hold it is: windows, funding, grants and price version say what was taken, so that settle,
-- cancel and expire give back exactly that.
CREATE TABLE casts (
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  key_id uuid,
  spell_id uuid NOT NULL,
  version_id uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
  pool text NOT NULL,
  on_wire boolean NOT NULL,
  cancel_requested boolean NOT NULL DEFAULT false,
  accepted_at timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  data_expires_at timestamptz,
  fuel_limit bigint NOT NULL,
  wall_ms_limit integer NOT NULL,
  memory_bytes_limit bigint NOT NULL,
  output_bytes_limit integer NOT NULL,
  log_bytes_limit integer NOT NULL,
  price_version integer NOT NULL,
  creator_price_micros bigint NOT NULL,
  creator_id uuid NOT NULL,
  held_micros bigint NOT NULL CHECK (held_micros >= 0),
  cost_micros bigint CHECK (cost_micros BETWEEN 0 AND held_micros),
  cost_cents bigint GENERATED ALWAYS AS (cost_micros / 10000) STORED,
  funding text NOT NULL CHECK (funding IN ('free', 'credits', 'metered')),
  window_ids uuid[] NOT NULL DEFAULT '{}',
  grant_ids uuid[] NOT NULL DEFAULT '{}',
  grant_micros bigint[] NOT NULL DEFAULT '{}',
  input bytea,
  output bytea,
  log bytea,
  metadata text NOT NULL DEFAULT '{}',
  traceparent text,
  error_code text,
  error_message text,
  exit_code integer,
  fuel bigint,
  cpu_us bigint,
  memory_bytes_peak bigint,
  wall_us bigint,
  attempts integer,
  CHECK ((status IN ('queued', 'running')) = (cost_micros IS NULL)),
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
DO $$ BEGIN
  ALTER TABLE casts ALTER COLUMN input SET COMPRESSION lz4;
  ALTER TABLE casts ALTER COLUMN output SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  NULL; -- the embedded server is built without lz4; pglz is slower, not different
END $$;
CREATE INDEX casts_of_account ON casts (account_id, id);
CREATE INDEX casts_on_wire ON casts (pool, id) WHERE on_wire AND status IN ('queued', 'running');
CREATE INDEX casts_waiting ON casts (account_id, pool, id) WHERE NOT on_wire AND status = 'queued';
CREATE INDEX casts_open_by_deadline ON casts (deadline_at) WHERE status IN ('queued', 'running');

CREATE TABLE usage_events (
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  key_id uuid,
  spell_id uuid NOT NULL,
  outcome text NOT NULL,
  month date NOT NULL,
  fuel bigint,
  cpu_us bigint NOT NULL,
  memory_bytes_peak bigint NOT NULL,
  wall_us bigint NOT NULL,
  cost_micros bigint NOT NULL CHECK (cost_micros >= 0),
  funding text NOT NULL,
  settled_at timestamptz NOT NULL,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- Events for casts that were already final: kept to be seen, never charged.
CREATE TABLE usage_strays (
  cast_id uuid NOT NULL,
  account_id uuid NOT NULL,
  outcome text NOT NULL,
  fuel bigint,
  cpu_us bigint NOT NULL,
  wall_us bigint NOT NULL,
  worker text NOT NULL,
  seen_at timestamptz NOT NULL
);
CREATE INDEX usage_strays_by_cast ON usage_strays (cast_id);

-- dimension: 'account' and 'key' (subject is its id), 'account_spell' (an account's use of a spell),
-- 'spell' (all use of a spell; account_id is its creator's). For showing; invoices come from the ledger alone.
CREATE TABLE usage_counters (
  account_id uuid NOT NULL REFERENCES accounts,
  dimension text NOT NULL CHECK (dimension IN ('account', 'key', 'account_spell', 'spell')),
  subject_id uuid NOT NULL,
  period text NOT NULL CHECK (period IN ('day', 'month')),
  starts_on date NOT NULL,
  funding text NOT NULL,
  casts bigint NOT NULL,
  failed bigint NOT NULL,
  fuel bigint NOT NULL,
  cpu_us bigint NOT NULL,
  cost_micros bigint NOT NULL,
  PRIMARY KEY (account_id, dimension, subject_id, period, starts_on, funding)
) WITH (fillfactor = 50);

-- Append-only double entry. A row moves amount_micros from `debit` to `credit`; no role but the owner may change one.
CREATE TABLE ledger_transfers (
  id uuid PRIMARY KEY,
  batch_id uuid NOT NULL,
  kind text NOT NULL,
  debit text NOT NULL,
  credit text NOT NULL,
  amount_micros bigint NOT NULL CHECK (amount_micros > 0),
  account_id uuid NOT NULL REFERENCES accounts,
  spell_id uuid,
  month date NOT NULL,
  casts integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (debit <> credit)
);
CREATE INDEX ledger_transfers_of_account ON ledger_transfers (account_id, month);

CREATE TABLE scheduled_runs (
  job text NOT NULL,
  slot timestamptz NOT NULL,
  started_at timestamptz NOT NULL,
  finished_at timestamptz,
  result text,
  PRIMARY KEY (job, slot)
);

CREATE TABLE reconciliation_reports (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  made_at timestamptz NOT NULL,
  balanced boolean NOT NULL,
  report json NOT NULL
);

-- Partitions by month, made and dropped only through these functions, which run as the owner.
CREATE FUNCTION uuid7_floor(instant timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION partitions_ensure(first_month date, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  parent text;
  month date;
  made integer := 0;
  suffix text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('spell.partitions'));
  FOREACH parent IN ARRAY ARRAY['casts', 'usage_events'] LOOP
    FOR step IN 0 .. months - 1 LOOP
      month := (date_trunc('month', first_month::timestamp) + make_interval(months => step))::date;
      suffix := to_char(month, 'YYYY_MM');
      IF to_regclass(format('public.%I', parent || '_' || suffix)) IS NULL THEN
        EXECUTE format(
          'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L) '
          'WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1)',
          parent || '_' || suffix, parent,
          public.uuid7_floor(month::timestamp AT TIME ZONE 'UTC'),
          public.uuid7_floor((month + interval '1 month') AT TIME ZONE 'UTC'));
        made := made + 1;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

CREATE FUNCTION partition_drop(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  open_casts bigint;
BEGIN
  SELECT count(*) INTO open_casts FROM public.casts
  WHERE id >= public.uuid7_floor(month::timestamp AT TIME ZONE 'UTC')
    AND id < public.uuid7_floor((month + interval '1 month') AT TIME ZONE 'UTC')
    AND status IN ('queued', 'running');
  IF open_casts > 0 THEN
    RAISE EXCEPTION 'month % still has % open casts: expire or settle them before dropping it', month, open_casts;
  END IF;
  EXECUTE format('DROP TABLE public.%I', 'casts_' || to_char(month, 'YYYY_MM'));
  EXECUTE format('DROP TABLE public.%I', 'usage_events_' || to_char(month, 'YYYY_MM'));
END $$;
REVOKE ALL ON FUNCTION partitions_ensure(date, integer), partition_drop(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION partitions_ensure(date, integer), partition_drop(date) TO spell_engine;
SELECT partitions_ensure((now() AT TIME ZONE 'UTC')::date, 4);

-- Privileges. The ledger and usage events are insert-and-read for everyone.
GRANT SELECT, INSERT, UPDATE ON accounts, users, api_keys, spells, spell_versions, budgets, budget_windows,
  account_months, credit_grants, casts, usage_counters, scheduled_runs TO spell_engine;
GRANT SELECT, INSERT ON blobs, blob_pieces, artifacts, price_book, usage_events, usage_strays, ledger_transfers,
  reconciliation_reports TO spell_engine;
GRANT SELECT, INSERT, DELETE ON idempotency_keys, scheduled_runs TO spell_engine;

GRANT SELECT ON accounts, users, api_keys, spells, spell_versions, price_book, budgets, budget_windows,
  account_months, credit_grants, casts, usage_events, usage_counters, ledger_transfers TO spell_app;
GRANT UPDATE (handle) ON accounts TO spell_app; -- what SELECT … FOR NO KEY UPDATE asks for
GRANT INSERT, UPDATE ON api_keys, budgets, budget_windows TO spell_app;

-- Row-level security: spell_app sees the rows of the account named by `SET LOCAL spell.account_id`, and nothing without it.
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['users', 'api_keys', 'spells', 'spell_versions', 'budgets', 'budget_windows',
      'account_months', 'credit_grants', 'idempotency_keys', 'casts', 'usage_events', 'usage_strays',
      'usage_counters', 'ledger_transfers', 'accounts'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY engine ON %I TO spell_engine, spell_owner USING (true) WITH CHECK (true)', table_name);
    EXECUTE format(
      'CREATE POLICY own_account ON %I TO spell_app USING (%I = nullif(current_setting(''spell.account_id'', true), '''')::uuid)',
      table_name, CASE WHEN table_name = 'accounts' THEN 'id' ELSE 'account_id' END);
  END LOOP;
END $$;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE reconciliation_reports, scheduled_runs, ledger_transfers, usage_counters, usage_strays, usage_events, casts,
  idempotency_keys, credit_grants, account_months, budget_windows, budgets, price_book, spell_versions, spells,
  artifacts, blob_pieces, blobs, api_keys, users, accounts;
DROP FUNCTION partition_drop(date), partitions_ensure(date, integer), uuid7_floor(timestamptz);
RESET ROLE;
REVOKE ALL ON SCHEMA public FROM spell_owner, spell_app, spell_engine;
