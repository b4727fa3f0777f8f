-- Credits around the grants: what is sold, who ordered it, what was taken back of an order, and the history of each
-- account's balance. Rows of an account are written under its lock.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE credit_packages (
  id text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
  name text NOT NULL,
  credits integer NOT NULL CHECK (credits > 0),
  price_cents integer NOT NULL CHECK (price_cents > 0),
  -- Stripe's id of the price; null: the checkout says name and amount itself.
  stripe_price text,
  retired_at timestamptz
);
INSERT INTO credit_packages (id, name, credits, price_cents) VALUES
  ('starter', 'Starter', 1000, 999),
  ('writer', 'Writer', 5000, 3999),
  ('author', 'Author', 15000, 9999),
  ('publisher', 'Publisher', 50000, 29999);

-- An order keeps the terms of its package as they were. Granted once: `credit_grants.order_id` is unique.
CREATE TABLE credit_orders (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  origin text NOT NULL CHECK (origin IN ('checkout', 'top_up')),
  package_id text NOT NULL REFERENCES credit_packages,
  credits integer NOT NULL CHECK (credits > 0),
  price_micros bigint NOT NULL CHECK (price_micros > 0),
  granted_micros bigint NOT NULL CHECK (granted_micros > 0),
  status text NOT NULL DEFAULT 'pending' CHECK (status IN (
    'pending', 'completed', 'failed', 'expired', 'partly_refunded', 'refunded', 'disputed')),
  stripe_session text UNIQUE,
  -- The payment intent: what refunds and disputes name.
  stripe_payment text UNIQUE,
  -- The card that may be charged again, where the buyer let it be kept, and Stripe's customer it belongs to.
  stripe_payment_method text,
  stripe_customer text,
  -- The most that Stripe ever said was refunded, of the package's price.
  stripe_refunded_micros bigint NOT NULL DEFAULT 0 CHECK (stripe_refunded_micros >= 0),
  checkout_url text,
  created_at timestamptz NOT NULL,
  granted_at timestamptz,
  CHECK ((status IN ('pending', 'failed', 'expired')) = (granted_at IS NULL))
);
CREATE INDEX credit_orders_of_account ON credit_orders (account_id, created_at, id);
CREATE INDEX credit_orders_pending ON credit_orders (created_at) WHERE status = 'pending';
-- At most one payment of an automatic top-up is under way.
CREATE UNIQUE INDEX credit_orders_one_top_up ON credit_orders (account_id)
  WHERE origin = 'top_up' AND status = 'pending';

ALTER TABLE credit_grants
  ADD COLUMN order_id uuid UNIQUE REFERENCES credit_orders,
  ADD COLUMN reason text NOT NULL DEFAULT '',
  ADD COLUMN expired_micros bigint NOT NULL DEFAULT 0 CHECK (expired_micros >= 0),
  ADD COLUMN taken_back_micros bigint NOT NULL DEFAULT 0 CHECK (taken_back_micros >= 0),
  ADD CHECK (balance_micros + expired_micros + taken_back_micros <= granted_micros);
CREATE INDEX credit_grants_by_expiry ON credit_grants (expires_at) WHERE balance_micros > 0 AND expires_at IS NOT NULL;

-- A refund or a dispute: money that went back, the credits taken for it, and what could not be taken any more.
CREATE TABLE credit_takebacks (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  order_id uuid NOT NULL REFERENCES credit_orders,
  kind text NOT NULL CHECK (kind IN ('refund', 'dispute')),
  -- The dispute's id; of a refund the id of ours, or of those made at Stripe itself which one of the order it is.
  reference text NOT NULL,
  money_micros bigint NOT NULL CHECK (money_micros > 0),
  credits_micros bigint NOT NULL CHECK (credits_micros >= 0),
  owed_micros bigint NOT NULL CHECK (owed_micros BETWEEN 0 AND money_micros),
  created_at timestamptz NOT NULL,
  -- A dispute that was won, a refund that Stripe would not make: everything was given back.
  reversed_at timestamptz,
  UNIQUE (order_id, kind, reference)
);
CREATE INDEX credit_takebacks_of_account ON credit_takebacks (account_id, id);

-- Append-only, numbered without gaps: each row begins at the balance the one before ended at. Casts are one row for
-- each batch in which they were settled. The sum is the balance of the grants, and the ledger's `credits:{account}`.
CREATE TABLE credit_transactions (
  account_id uuid NOT NULL REFERENCES accounts,
  number bigint NOT NULL CHECK (number > 0),
  kind text NOT NULL CHECK (kind IN (
    'purchase', 'top_up', 'grant', 'casts', 'consume', 'expiry', 'refund', 'dispute', 'refund_failed', 'dispute_won')),
  amount_micros bigint NOT NULL CHECK (amount_micros <> 0),
  balance_before_micros bigint NOT NULL CHECK (balance_before_micros >= 0),
  balance_after_micros bigint NOT NULL CHECK (balance_after_micros >= 0),
  reason text NOT NULL DEFAULT '',
  reference_type text,
  reference_id text,
  casts integer NOT NULL DEFAULT 0 CHECK (casts >= 0),
  created_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, number),
  CHECK (balance_after_micros = balance_before_micros + amount_micros),
  CHECK ((reference_type IS NULL) = (reference_id IS NULL))
);

-- What services took of an account's credits, each once: `caller_id` is the account of the service's key.
CREATE TABLE credit_consumptions (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  caller_id uuid NOT NULL REFERENCES accounts,
  idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32),
  amount_micros bigint NOT NULL CHECK (amount_micros > 0),
  number bigint NOT NULL,
  created_at timestamptz NOT NULL,
  UNIQUE (caller_id, idempotency_key),
  FOREIGN KEY (account_id, number) REFERENCES credit_transactions
);
CREATE INDEX credit_consumptions_of_account ON credit_consumptions (account_id, id);

CREATE TABLE auto_top_ups (
  account_id uuid PRIMARY KEY REFERENCES accounts,
  enabled boolean NOT NULL,
  package_id text NOT NULL REFERENCES credit_packages,
  threshold_micros bigint NOT NULL CHECK (threshold_micros > 0),
  monthly_cap_micros bigint NOT NULL CHECK (monthly_cap_micros > 0),
  -- A payment failed: nothing is tried until somebody has set it again.
  paused_at timestamptz,
  updated_at timestamptz NOT NULL
);
CREATE INDEX auto_top_ups_on ON auto_top_ups (account_id) WHERE enabled AND paused_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON credit_packages, credit_orders, credit_takebacks, auto_top_ups TO spell_engine;
GRANT SELECT, INSERT ON credit_transactions, credit_consumptions TO spell_engine;
GRANT SELECT ON credit_packages, credit_orders, credit_takebacks, credit_transactions, credit_consumptions, auto_top_ups
  TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['credit_orders', 'credit_takebacks', 'credit_transactions', 'credit_consumptions',
      'auto_top_ups'] LOOP
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
DROP TABLE auto_top_ups, credit_consumptions, credit_transactions, credit_takebacks;
DROP INDEX credit_grants_by_expiry;
ALTER TABLE credit_grants DROP COLUMN order_id, DROP COLUMN reason, DROP COLUMN expired_micros,
  DROP COLUMN taken_back_micros;
DROP TABLE credit_orders, credit_packages;
RESET ROLE;
