-- What Stripe told, and how each account pays.
--
-- An event is kept as the news that something changed and no more: what it says is never believed, because events come
-- late, twice and in any order. What is applied is the object itself, fetched after the event was read from here.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE stripe_events (
  id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
  type text NOT NULL CHECK (length(type) BETWEEN 1 AND 255),
  -- What to fetch: the object it is about, its customer, and the connected account it lives in.
  object_id text,
  customer_id text,
  connected_account_id text,
  made_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  -- 'ignored': of a type nobody here asks for; 'parked': it failed too often, and a person must look.
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'applied', 'ignored', 'parked')),
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Of an event that somebody works on this is the end of the lease.
  next_attempt_at timestamptz NOT NULL,
  trouble text,
  finished_at timestamptz,
  CHECK ((status = 'pending') = (finished_at IS NULL))
);
CREATE INDEX stripe_events_due ON stripe_events (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX stripe_events_finished ON stripe_events (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX stripe_events_parked ON stripe_events (received_at) WHERE status = 'parked';

-- How an account pays, as Stripe last said. What admission asks of it stands in `accounts`: plan, subscription_active.
CREATE TABLE billing_accounts (
  account_id uuid PRIMARY KEY REFERENCES accounts,
  stripe_customer_id text UNIQUE,
  stripe_subscription_id text,
  -- Stripe's word for the subscription; 'none': there never was one.
  status text NOT NULL DEFAULT 'none' CHECK (status IN (
    'none', 'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')),
  plan text NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'pro', 'enterprise')),
  stripe_price_id text,
  current_period_end timestamptz,
  -- When the subscription ends, if somebody canceled it.
  ends_at timestamptz,
  -- Metered casts go on until then although a payment failed; set by the first failure, taken away by a payment.
  grace_until timestamptz,
  -- Invoices that Stripe tried to collect in vain, of the subscription or of usage.
  unpaid_invoices text[] NOT NULL DEFAULT '{}',
  -- The page that is open to subscribe; another one ends it, so that nobody pays in two tabs.
  checkout_session_id text,
  -- When Stripe was asked for what stands here. An answer to an earlier question never replaces it.
  asked_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX billing_accounts_in_grace ON billing_accounts (grace_until) WHERE grace_until IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON stripe_events TO spell_engine;
GRANT SELECT, INSERT, UPDATE ON billing_accounts TO spell_engine;
GRANT SELECT ON billing_accounts TO spell_app;
ALTER TABLE billing_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON billing_accounts TO spell_engine, spell_owner USING (true) WITH CHECK (true);
CREATE POLICY own_account ON billing_accounts TO spell_app
  USING (account_id = nullif(current_setting('spell.account_id', true), '')::uuid);
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE billing_accounts, stripe_events;
RESET ROLE;
