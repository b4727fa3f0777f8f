-- What is used while billing is off is on nobody's bill, now or later: such casts have a funding of their own, decided
-- when they are accepted, and their ledger account is `unbilled:{account}` instead of `receivable:{account}`.
--
-- A transfer says when it was written, behind the lock of its account: the freeze of an invoice reads the same clock
-- behind the same lock, so what is in an invoice can be told from what came later.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE casts DROP CONSTRAINT casts_funding_check;
ALTER TABLE casts
  ADD CONSTRAINT casts_funding_check CHECK (funding IN ('free', 'credits', 'metered', 'unbilled', 'test'));
ALTER TABLE ledger_transfers ALTER COLUMN created_at SET DEFAULT clock_timestamp();
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE ledger_transfers ALTER COLUMN created_at SET DEFAULT now();
-- The word alone: the ledger stays as it was written, and bills none of it.
UPDATE casts SET funding = 'metered' WHERE funding = 'unbilled';
ALTER TABLE casts DROP CONSTRAINT casts_funding_check;
ALTER TABLE casts ADD CONSTRAINT casts_funding_check CHECK (funding IN ('free', 'credits', 'metered', 'test'));
RESET ROLE;
