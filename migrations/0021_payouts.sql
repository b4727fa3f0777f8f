-- Payouts: who a creator is at Stripe, a run of a month, and what each creator was paid.
--
-- What is owed stands in the ledger (`payable:{account}`). A payout takes it from there when it is frozen, so that no
-- second one can; what Stripe refuses or takes back is booked back.

-- up
SET LOCAL ROLE spell_owner;
-- A creator's account at Stripe, as Stripe last said. The row is there before Stripe is asked for one.
CREATE TABLE payout_accounts (
  account_id uuid PRIMARY KEY REFERENCES accounts,
  -- Of the request that makes it: with the account's id it is the Idempotency-Key. Raised when that is of no use any more.
  epoch integer NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  -- When the key of this epoch was first sent, or is about to be: Stripe forgets it after a day.
  tried_at timestamptz NOT NULL,
  stripe_account_id text UNIQUE,
  details_submitted boolean NOT NULL DEFAULT false,
  -- Whether Stripe takes transfers for it; and whether it hands on what it has to a bank.
  transfers_active boolean NOT NULL DEFAULT false,
  payouts_enabled boolean NOT NULL DEFAULT false,
  -- Stripe's word for why it may not do all it should.
  disabled_reason text,
  -- When Stripe was asked for what stands here. An answer to an earlier question never replaces it.
  asked_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE payout_runs (
  id uuid PRIMARY KEY,
  -- The month that is paid out, which is over. One run each: whoever starts it again goes on with it.
  period date NOT NULL UNIQUE CHECK (extract(day FROM period) = 1),
  started_at timestamptz NOT NULL,
  -- Since then everybody who is to be looked at stands in payout_run_accounts.
  listed_at timestamptz,
  finished_at timestamptz
);
CREATE INDEX payout_runs_open ON payout_runs (period) WHERE finished_at IS NULL;

CREATE TABLE payout_run_accounts (
  run_id uuid NOT NULL REFERENCES payout_runs,
  account_id uuid NOT NULL REFERENCES accounts,
  -- 'waiting': it is not its turn yet; 'frozen': there is a payout; 'nothing': nothing is owed any more; the others are
  -- skipped and nothing is lost.
  outcome text NOT NULL DEFAULT 'waiting' CHECK (outcome IN (
    'waiting', 'frozen', 'nothing', 'below_minimum', 'held_back', 'no_account', 'account_disabled', 'suspended')),
  payable_micros bigint NOT NULL DEFAULT 0,
  look_at timestamptz NOT NULL,
  trouble text,
  PRIMARY KEY (run_id, account_id)
);
CREATE INDEX payout_run_accounts_waiting ON payout_run_accounts (run_id, look_at) WHERE outcome = 'waiting';
CREATE INDEX payout_run_accounts_of_account ON payout_run_accounts (account_id);

CREATE TABLE payouts (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  run_id uuid NOT NULL REFERENCES payout_runs,
  period date NOT NULL CHECK (extract(day FROM period) = 1),
  frozen_at timestamptz NOT NULL,
  -- What was owed at that moment, and what of it was too fresh to be paid.
  payable_micros bigint NOT NULL,
  held_back_micros bigint NOT NULL CHECK (held_back_micros >= 0),
  amount_cents bigint NOT NULL CHECK (amount_cents > 0),
  stripe_account_id text NOT NULL,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'refused')),
  stripe_transfer_id text UNIQUE,
  -- Taken back at Stripe afterwards, and owed again.
  reversed_cents bigint NOT NULL DEFAULT 0 CHECK (reversed_cents BETWEEN 0 AND amount_cents),
  -- Stripe's code of a refusal.
  refused_code text,
  finished_at timestamptz,
  UNIQUE (account_id, period),
  CHECK (amount_cents * 10000 <= payable_micros - held_back_micros),
  CHECK ((status = 'pending') = (finished_at IS NULL)),
  CHECK ((status = 'refused') = (refused_code IS NOT NULL))
);
CREATE INDEX payouts_of_account ON payouts (account_id, frozen_at, id);
CREATE INDEX payouts_of_run ON payouts (run_id, status);

-- What a creator is owed is a sum over all there ever was. Both are read without the table.
CREATE INDEX ledger_transfers_to_payable ON ledger_transfers (credit, created_at) INCLUDE (amount_micros, kind)
  WHERE credit LIKE 'payable:%';
CREATE INDEX ledger_transfers_from_payable ON ledger_transfers (debit, created_at) INCLUDE (amount_micros, kind)
  WHERE debit LIKE 'payable:%';

GRANT SELECT, INSERT ON payout_accounts, payout_runs, payout_run_accounts, payouts TO spell_engine;
GRANT UPDATE (epoch, tried_at, stripe_account_id, details_submitted, transfers_active, payouts_enabled,
  disabled_reason, asked_at, updated_at) ON payout_accounts TO spell_engine;
GRANT UPDATE (started_at, listed_at, finished_at) ON payout_runs TO spell_engine;
GRANT UPDATE (outcome, payable_micros, look_at, trouble) ON payout_run_accounts TO spell_engine;
GRANT UPDATE (status, stripe_transfer_id, reversed_cents, refused_code, finished_at) ON payouts TO spell_engine;
GRANT SELECT ON payout_accounts, payouts TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['payout_accounts', 'payout_run_accounts', 'payouts'] LOOP
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
DROP INDEX ledger_transfers_to_payable, ledger_transfers_from_payable;
DROP TABLE payouts, payout_run_accounts, payout_runs, payout_accounts;
RESET ROLE;
