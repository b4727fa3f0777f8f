-- API keys in full: what a rotation leaves valid for a while, when a key was last used, and which pages may use it.
--
-- A rotation keeps the row, and with it budgets, counters and casts; only the secret and its public prefix change.
-- To cast and to read casts are scopes from here on. Every key there is could do both, so it is given both.

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
  ADD CHECK ((previous_prefix IS NULL) = (previous_until IS NULL)),
  ADD CHECK (previous_prefix <> prefix),
  ALTER COLUMN scopes SET DEFAULT '{casts:read,casts:write}';
UPDATE api_keys SET scopes = ARRAY(SELECT DISTINCT unnest(scopes || '{casts:read,casts:write}'::text[]) ORDER BY 1);
-- A browser's preflight names its origin and no key: it asks whether any living key allows the origin.
CREATE INDEX api_keys_by_origin ON api_keys USING gin (allowed_origins) WHERE allowed_origins <> '{}';
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP INDEX api_keys_by_origin;
UPDATE api_keys SET scopes = array_remove(array_remove(scopes, 'casts:read'), 'casts:write');
ALTER TABLE api_keys
  ALTER COLUMN scopes SET DEFAULT '{}',
  DROP COLUMN allowed_origins, DROP COLUMN last_used_at, DROP COLUMN rotated_at, DROP COLUMN previous_prefix,
  DROP COLUMN previous_secret_hash, DROP COLUMN previous_until;
RESET ROLE;
