-- How long an account's inputs, outputs and logs are kept. Rows, usage and money are kept for ever.
--
-- The index holds the casts whose data is still there: one entry a cast, made once, when the cast ends, and gone when
-- its data is. `data_expires_at` is a full hour, so an hour's entries share their key, and a settled batch appends to
-- one leaf. The update that ends a cast is no HOT update in any case (its status is in the predicates of three indexes).

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE accounts ADD COLUMN data_days integer NOT NULL DEFAULT 30 CHECK (data_days BETWEEN 0 AND 90);
-- The data goes with the first answer that shows it.
ALTER TABLE casts ADD COLUMN data_once boolean NOT NULL DEFAULT false;
CREATE INDEX casts_with_data ON casts (data_expires_at) WHERE input IS NOT NULL AND data_expires_at IS NOT NULL;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP INDEX casts_with_data;
ALTER TABLE casts DROP COLUMN data_once;
ALTER TABLE accounts DROP COLUMN data_days;
RESET ROLE;
