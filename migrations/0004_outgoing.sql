-- What leaves the platform: webhooks and mail. Each is a row first, written in the transaction of what it tells, and a
-- network call second, made by the courier under a lease; it may be made twice, and says so by its id.
--
-- No secret is stored: an endpoint's is derived from WEBHOOK_SIGNING_KEY, its id and `secret_version`.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE webhook_endpoints (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
  description text NOT NULL DEFAULT '',
  event_types text[] NOT NULL CHECK (cardinality(event_types) > 0),
  secret_version integer NOT NULL DEFAULT 1 CHECK (secret_version > 0),
  -- Until then the version before signs as well.
  previous_secret_until timestamptz,
  -- Since then no delivery succeeded.
  failing_since timestamptz,
  disabled_at timestamptz,
  disabled_reason text CHECK (disabled_reason IN ('owner', 'failing', 'gone')),
  created_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE INDEX webhook_endpoints_of_account ON webhook_endpoints (account_id, created_at) WHERE deleted_at IS NULL;
-- Settlement looks for receivers only where there are any. `listening_until`: somebody follows the account's events
-- (`spell webhooks listen`), so until then they are written for them as well.
ALTER TABLE accounts
  ADD COLUMN has_webhooks boolean NOT NULL DEFAULT false,
  ADD COLUMN listening_until timestamptz;
ALTER TABLE casts ADD COLUMN webhook_url text;
-- The highest of 50, 80 and 100 percent of the soft limit that this window has told of.
ALTER TABLE budget_windows ADD COLUMN notified_percent smallint NOT NULL DEFAULT 0;

-- Written behind the gate, many rows a cast where an account has many endpoints: no foreign keys, as `casts` has none
-- (accounts and endpoints are never deleted), and an index only where somebody looks.
CREATE TABLE outgoing (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL,
  -- 'listen': to be read by who follows the account's events; never sent, so it is 'delivered' from the start.
  kind text NOT NULL CHECK (kind IN ('webhook', 'mail', 'listen')),
  -- The same for every receiver of an event and for every attempt: what a receiver drops repeats by.
  event_id uuid NOT NULL,
  event_type text NOT NULL,
  endpoint_id uuid,
  -- Where no endpoint is named: the address given with a cast, or of the mail.
  target text,
  -- Deliveries to one destination never delay those to another: an endpoint, an account's mail, or the host of the
  -- addresses an account gives with its casts.
  destination text COLLATE "C" NOT NULL GENERATED ALWAYS AS (CASE
    WHEN endpoint_id IS NOT NULL THEN endpoint_id::text
    WHEN kind = 'mail' THEN account_id::text || ' mail'
    ELSE account_id::text || ' ' || coalesce(lower(substring(target FROM '^[A-Za-z]+://([^/?#]*)')), '')
  END) STORED,
  cast_id uuid,
  -- JSON of `data` for a webhook, of subject and text for a mail. Null: made from the cast, which is final.
  payload text,
  created_at timestamptz NOT NULL,
  -- How often a courier took it, and how often before the last redelivery: the retries begin anew with that.
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  attempts_before integer NOT NULL DEFAULT 0 CHECK (attempts_before BETWEEN 0 AND attempts),
  -- Of a row that a courier holds this is the end of its lease: should the courier die, the row is due again then.
  next_attempt_at timestamptz NOT NULL,
  lease_until timestamptz,
  -- Delivered, given up or canceled: never sent again, unless somebody asks for a redelivery.
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed', 'canceled')),
  finished_at timestamptz,
  CHECK (num_nonnulls(endpoint_id, target) = CASE kind WHEN 'listen' THEN 0 ELSE 1 END),
  CHECK ((status = 'pending') = (finished_at IS NULL))
);
-- A courier goes from destination to destination: 100,000 due rows of one hide no other.
CREATE INDEX outgoing_due ON outgoing (destination, next_attempt_at) WHERE status = 'pending';
-- Whether there is anything to do at all, asked five times a second.
CREATE INDEX outgoing_next ON outgoing (next_attempt_at) WHERE status = 'pending';
CREATE INDEX outgoing_leased ON outgoing (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX outgoing_finished ON outgoing (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX outgoing_of_endpoint ON outgoing (endpoint_id, created_at, id) WHERE endpoint_id IS NOT NULL;
-- Rows of an account are written under its lock, so their times rise in the order of commits: who reads on from the
-- last one it saw misses none.
CREATE INDEX outgoing_followed ON outgoing (account_id, created_at, id) WHERE kind = 'listen';
CREATE INDEX outgoing_of_cast ON outgoing (cast_id) WHERE endpoint_id IS NULL AND kind = 'webhook';

CREATE TABLE outgoing_attempts (
  outgoing_id uuid NOT NULL REFERENCES outgoing ON DELETE CASCADE,
  attempt integer NOT NULL CHECK (attempt > 0),
  account_id uuid NOT NULL REFERENCES accounts,
  started_at timestamptz NOT NULL,
  duration_ms integer NOT NULL CHECK (duration_ms >= 0),
  request_headers json NOT NULL,
  -- Both null: no answer, and `error` says why.
  status_code integer,
  response_body bytea,
  error text,
  PRIMARY KEY (outgoing_id, attempt)
);

GRANT SELECT, INSERT, UPDATE ON webhook_endpoints, outgoing, outgoing_attempts TO spell_engine;
GRANT DELETE ON outgoing, outgoing_attempts TO spell_engine;
GRANT SELECT ON webhook_endpoints, outgoing, outgoing_attempts TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['webhook_endpoints', 'outgoing', 'outgoing_attempts'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY engine ON %I TO spell_engine, spell_owner USING (true) WITH CHECK (true)', table_name);
    EXECUTE format(
      'CREATE POLICY own_account ON %I TO spell_app USING (account_id = nullif(current_setting(''spell.account_id'', true), '''')::uuid)',
      table_name);
  END LOOP;
END $$;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE outgoing_attempts, outgoing, webhook_endpoints;
ALTER TABLE budget_windows DROP COLUMN notified_percent;
ALTER TABLE casts DROP COLUMN webhook_url;
ALTER TABLE accounts DROP COLUMN has_webhooks, DROP COLUMN listening_until;
RESET ROLE;
