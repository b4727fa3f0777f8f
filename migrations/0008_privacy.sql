-- An export of all of an account's data is made in pieces, and may be gone on with by another process at any of them.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE privacy_exports
  -- How far it is: what the next piece begins with. Written with each piece, in one transaction.
  ADD COLUMN state json,
  ADD COLUMN pieces integer NOT NULL DEFAULT 0 CHECK (pieces >= 0),
  ADD COLUMN size_bytes bigint NOT NULL DEFAULT 0 CHECK (size_bytes >= 0),
  -- How often somebody began the next piece and did not come to its end.
  ADD COLUMN attempts smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0);
CREATE UNIQUE INDEX privacy_exports_one_open ON privacy_exports (account_id) WHERE status IN ('pending', 'running');
CREATE INDEX privacy_exports_of_account ON privacy_exports (account_id, created_at);
CREATE INDEX privacy_exports_to_drop ON privacy_exports (expires_at) WHERE status = 'ready';
ALTER TABLE privacy_export_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL; -- parts of a zip do not compress again
-- What went out without an endpoint: mail, and what casts named. The deliveries of endpoints have an index already.
CREATE INDEX outgoing_of_account ON outgoing (account_id, id) WHERE endpoint_id IS NULL;
-- What a creator earned: rows of the payers' accounts.
CREATE INDEX ledger_transfers_of_creator ON ledger_transfers (credit, month, id) WHERE kind = 'creator_share';
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP INDEX ledger_transfers_of_creator;
DROP INDEX outgoing_of_account;
ALTER TABLE privacy_export_pieces ALTER COLUMN bytes SET STORAGE EXTENDED;
DROP INDEX privacy_exports_to_drop;
DROP INDEX privacy_exports_of_account;
DROP INDEX privacy_exports_one_open;
ALTER TABLE privacy_exports DROP COLUMN state, DROP COLUMN pieces, DROP COLUMN size_bytes, DROP COLUMN attempts;
RESET ROLE;
