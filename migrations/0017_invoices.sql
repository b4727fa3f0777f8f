-- Monthly billing: a run of a month, whom it looks at, and the invoices it freezes out of the ledger, with their lines.
--
-- A run bills a difference: what the ledger says an account owes for metered casts, by month of acceptance and spell,
-- minus what lines say already. What is frozen never changes; what becomes of an invoice at Stripe does.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE billing_runs (
  id uuid PRIMARY KEY,
  -- The month that is billed, which is over. One run each: whoever starts it again goes on with it.
  period date NOT NULL UNIQUE CHECK (extract(day FROM period) = 1),
  started_at timestamptz NOT NULL,
  -- Since then everybody who is to be looked at stands in billing_run_accounts.
  listed_at timestamptz,
  finished_at timestamptz
);
CREATE INDEX billing_runs_open ON billing_runs (period) WHERE finished_at IS NULL;

CREATE TABLE billing_run_accounts (
  run_id uuid NOT NULL REFERENCES billing_runs,
  account_id uuid NOT NULL REFERENCES accounts,
  -- 'waiting': casts of the month are open, or it is not its turn yet; 'frozen': there is an invoice; 'carried': too
  -- little to collect; 'nothing': nothing is owed; the others are skipped and nothing is lost.
  outcome text NOT NULL DEFAULT 'waiting' CHECK (outcome IN (
    'waiting', 'frozen', 'carried', 'nothing', 'no_customer', 'billing_off')),
  look_at timestamptz NOT NULL,
  trouble text,
  PRIMARY KEY (run_id, account_id)
);
CREATE INDEX billing_run_accounts_waiting ON billing_run_accounts (run_id, look_at) WHERE outcome = 'waiting';
CREATE INDEX billing_run_accounts_of_account ON billing_run_accounts (account_id);

CREATE TABLE invoices (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  run_id uuid NOT NULL REFERENCES billing_runs,
  period date NOT NULL CHECK (extract(day FROM period) = 1),
  -- Under the account's lock, by the database's clock: casts settled until then are in it, later ones are not.
  frozen_at timestamptz NOT NULL,
  usage_micros bigint NOT NULL,
  -- What the invoice before left over, and what this one does.
  carry_in_micros bigint NOT NULL,
  carry_out_micros bigint NOT NULL,
  total_cents bigint NOT NULL CHECK (total_cents >= 0),
  calls bigint NOT NULL,
  description text NOT NULL,
  status text NOT NULL CHECK (status IN ('carried', 'pending', 'open', 'paid', 'uncollectible', 'void')),
  stripe_customer_id text,
  stripe_invoice_id text UNIQUE,
  number text,
  hosted_url text,
  pdf_url text,
  finalized_at timestamptz,
  closed_at timestamptz,
  UNIQUE (account_id, period),
  CHECK (carry_in_micros + usage_micros = total_cents * 10000 + carry_out_micros),
  CHECK ((status = 'carried') = (total_cents = 0)),
  CHECK (status NOT IN ('carried', 'pending') OR stripe_invoice_id IS NULL)
);
CREATE INDEX invoices_of_account ON invoices (account_id, frozen_at, id);
CREATE INDEX invoices_of_run ON invoices (run_id, status);

CREATE TABLE invoice_lines (
  id uuid PRIMARY KEY,
  invoice_id uuid NOT NULL REFERENCES invoices,
  account_id uuid NOT NULL REFERENCES accounts,
  month date NOT NULL CHECK (extract(day FROM month) = 1),
  spell_id uuid NOT NULL REFERENCES spells,
  calls bigint NOT NULL,
  amount_micros bigint NOT NULL,
  -- The casts behind it were settled behind the first instant and until the second.
  settled_after timestamptz NOT NULL,
  settled_until timestamptz NOT NULL,
  UNIQUE (invoice_id, month, spell_id)
);
CREATE INDEX invoice_lines_of_account ON invoice_lines (account_id, month, spell_id);

GRANT SELECT, INSERT ON billing_runs, billing_run_accounts, invoices, invoice_lines TO spell_engine;
GRANT UPDATE (started_at, listed_at, finished_at) ON billing_runs TO spell_engine;
GRANT UPDATE (outcome, look_at, trouble) ON billing_run_accounts TO spell_engine;
GRANT UPDATE (status, stripe_invoice_id, number, hosted_url, pdf_url, finalized_at, closed_at) ON invoices
  TO spell_engine;
GRANT SELECT ON invoices, invoice_lines TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['billing_run_accounts', 'invoices', 'invoice_lines'] LOOP
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
DROP TABLE invoice_lines, invoices, billing_run_accounts, billing_runs;
RESET ROLE;
