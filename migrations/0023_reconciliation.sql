-- Reconciliation with Stripe: what Stripe has is listed into rows, page by page, and compared with ours in SQL.
--
-- A comparison goes on where it stopped. What differs at first is asked for once more an hour later, because news of
-- Stripe's may be on their way; what differs then is reported. The rows of the last comparison stay, to be looked at.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE reconciliation_reports
  ADD COLUMN scope text NOT NULL DEFAULT 'books' CHECK (scope IN ('books', 'stripe'));

CREATE TABLE stripe_comparisons (
  id uuid PRIMARY KEY,
  started_at timestamptz NOT NULL,
  -- Objects made at Stripe since then are listed; of ours also older ones that are not over.
  since timestamptz NOT NULL,
  -- The list that is being read, and Stripe's id of the last object that was; null: none of it yet.
  kind text NOT NULL,
  last_id text,
  -- All lists are read.
  listed_at timestamptz,
  finished_at timestamptz,
  -- Why Stripe did not answer last; null when it did.
  trouble text
);
CREATE UNIQUE INDEX stripe_comparisons_one_open ON stripe_comparisons ((true)) WHERE finished_at IS NULL;

CREATE TABLE stripe_listed (
  comparison_id uuid NOT NULL REFERENCES stripe_comparisons ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('invoice', 'payment', 'refund', 'transfer')),
  stripe_id text NOT NULL,
  -- The row of ours that made it, as its metadata says.
  mark uuid,
  -- Of a refund: the payment it is of.
  payment text,
  status text NOT NULL,
  amount_cents bigint NOT NULL,
  -- Of a transfer: what was taken back of it.
  back_cents bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (comparison_id, kind, stripe_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON stripe_comparisons, stripe_listed TO spell_engine;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE stripe_listed, stripe_comparisons;
ALTER TABLE reconciliation_reports DROP COLUMN scope;
RESET ROLE;
