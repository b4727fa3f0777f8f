-- API keys in full: what a rotation leaves valid for a while, when a key was last used, and which pages may use it.
--
-- A rotation keeps the row, and with it budgets, counters and casts; only the secret and its public prefix change.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE api_keys
  ADD COLUMN allowed_origins text[] NOT NULL DEFAULT '{}',
  ADD COLUMN last_used_at timestamptz,
  ADD COLUMN rotated_at timestamptz,
  ADD COLUMN previous_prefix text UNIQUE,
  ADD COLUMN previous_secret_hash text,
  ADD COLUMN previous_until timestamptz,
  ADD CHECK ((previous_prefix IS NULL) = (previous_secret_hash IS NULL)),
  ADD CHECK ((previous_prefix IS NULL) = (previous_until IS NULL));
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE api_keys
  DROP COLUMN allowed_origins, DROP COLUMN last_used_at, DROP COLUMN rotated_at, DROP COLUMN previous_prefix,
  DROP COLUMN previous_secret_hash, DROP COLUMN previous_until;
RESET ROLE;
