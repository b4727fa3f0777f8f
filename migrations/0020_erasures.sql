-- Erasure: an account becomes a pseudonym. What named the person goes, what was booked stays.
--
-- The request empties what is small in one transaction; casts, deliveries and exports are emptied in pieces, and a row
-- here says how far that is.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE accounts DROP CONSTRAINT accounts_status_check;
ALTER TABLE accounts ADD CONSTRAINT accounts_status_check CHECK (status IN ('active', 'suspended', 'erased'));

CREATE TABLE erasures (
  account_id uuid PRIMARY KEY REFERENCES accounts,
  requested_at timestamptz NOT NULL,
  -- The last cast whose data is gone.
  casts_after uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  -- Who waits longest is gone on with first.
  looked_at timestamptz NOT NULL,
  finished_at timestamptz
);
CREATE INDEX erasures_under_way ON erasures (looked_at) WHERE finished_at IS NULL;
GRANT SELECT, INSERT, UPDATE ON erasures TO spell_engine;
GRANT SELECT ON erasures TO spell_app;
ALTER TABLE erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON erasures TO spell_engine, spell_owner USING (true) WITH CHECK (true);
CREATE POLICY own_account ON erasures TO spell_app
  USING (account_id = nullif(current_setting('spell.account_id', true), '')::uuid);

-- Handles of accounts that were erased, as hashes. Nobody gets one again: who casts `ada/wordcount` must never run what
-- another Ada made. Which account had it stands nowhere.
CREATE TABLE retired_handles (handle_hash bytea PRIMARY KEY CHECK (length(handle_hash) = 32));
GRANT SELECT, INSERT ON retired_handles TO spell_engine;

-- The one exception to a log that nobody changes: of an account that is erased, where its entries came from and what
-- somebody wrote into names goes. Who did what when to what stays, under ids that lead to nobody.
CREATE FUNCTION audit_forget(erased uuid, personal_fields text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  changed bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM public.accounts WHERE id = erased AND status = 'erased') THEN
    RAISE EXCEPTION 'account % is not erased: its audit log stays as it is', erased;
  END IF;
  UPDATE public.audit_log SET address = '', request_id = '',
    before = (before::jsonb - personal_fields)::json, after = (after::jsonb - personal_fields)::json
  WHERE account_id = erased;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END $$;
REVOKE ALL ON FUNCTION audit_forget(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_forget(uuid, text[]) TO spell_engine;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP FUNCTION audit_forget(uuid, text[]);
DROP TABLE retired_handles, erasures;
UPDATE accounts SET status = 'suspended' WHERE status = 'erased';
ALTER TABLE accounts DROP CONSTRAINT accounts_status_check;
ALTER TABLE accounts ADD CONSTRAINT accounts_status_check CHECK (status IN ('active', 'suspended'));
RESET ROLE;
