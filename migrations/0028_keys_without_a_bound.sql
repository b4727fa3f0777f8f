-- The open casts of a key are counted where they are bounded; of another key the count says nothing.
--
-- While a deploy is under way the version before takes off what the new one has not added.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_open_casts_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_open_casts_check CHECK (open_casts >= 0 OR open_casts_max IS NULL);
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
UPDATE api_keys k SET open_casts = (
  SELECT count(*) FROM casts c
  WHERE c.account_id = k.account_id AND c.key_id = k.id AND c.status IN ('queued', 'running'))
WHERE open_casts_max IS NULL;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_open_casts_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_open_casts_check CHECK (open_casts >= 0);
RESET ROLE;
