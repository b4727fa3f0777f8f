-- The outbox of money: an invoice, a refund, a top-up or a payout is a row here before Stripe is asked for anything.
--
-- What is to be done is frozen: nobody may change it, the engine neither. What changes is how far it is: the step, the
-- epoch (with row and step it is the Idempotency-Key), what Stripe answered, and who works on it until when.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE outbox (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  kind text NOT NULL CHECK (kind IN ('invoice', 'refund', 'topup', 'payout')),
  -- The row this is done for: one intent for each, however often somebody asks.
  subject_id uuid NOT NULL,
  frozen json NOT NULL,
  created_at timestamptz NOT NULL,
  step text NOT NULL,
  epoch integer NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  -- Stripe's ids of what the steps before this one made.
  known json NOT NULL DEFAULT '{}',
  -- When the key of this step and epoch was first sent: Stripe forgets it after a day.
  tried_at timestamptz,
  -- The key has an answer that helps nobody: look at Stripe, then take the next epoch.
  must_look boolean NOT NULL DEFAULT false,
  -- Of this step.
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Of a row that somebody works on this is the end of the lease.
  next_attempt_at timestamptz NOT NULL,
  lease_until timestamptz,
  -- What the last attempt ended with; null when it went well.
  trouble text,
  -- Stripe said no: it is tried again rarely, and a person must look.
  is_blocked boolean NOT NULL DEFAULT false,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'refused')),
  finished_at timestamptz,
  UNIQUE (kind, subject_id),
  CHECK ((status = 'pending') = (finished_at IS NULL))
) WITH (fillfactor = 70); -- a handful of updates each
CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE status = 'pending';
CREATE INDEX outbox_of_account ON outbox (account_id, id);

GRANT SELECT, INSERT ON outbox TO spell_engine;
GRANT UPDATE (step, epoch, known, tried_at, must_look, attempts, next_attempt_at, lease_until, trouble, is_blocked,
  status, finished_at) ON outbox TO spell_engine;
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON outbox TO spell_engine, spell_owner USING (true) WITH CHECK (true);
CREATE POLICY own_account ON outbox TO spell_app
  USING (account_id = nullif(current_setting('spell.account_id', true), '')::uuid);
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE outbox;
RESET ROLE;
