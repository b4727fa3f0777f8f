-- The form of a handle is checked when a handle is written.
--
-- Postgres looks at every CHECK of a row with every update, whatever it changes, and account rows change twice for each
-- cast (open casts, places on the wire): the regular expression was 2 % of what settling costs Postgres (perf). A
-- domain is asked only where a value becomes one.

-- up
SET LOCAL ROLE spell_owner;
CREATE DOMAIN account_handle AS text CHECK (VALUE ~ '^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$');
ALTER TABLE accounts DROP CONSTRAINT accounts_handle_check, ALTER COLUMN handle TYPE account_handle;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE accounts ALTER COLUMN handle TYPE text,
  ADD CONSTRAINT accounts_handle_check CHECK (handle ~ '^[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?$');
DROP DOMAIN account_handle;
RESET ROLE;
