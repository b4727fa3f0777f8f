-- Test keys (sk_test_…): their casts run for real, hold nothing, cost nothing and are counted apart.
--
-- What a key is for stands in its prefix and nowhere else. A cast of a test key has the funding 'test'; that such a
-- cast moves money is refused here as well, whatever the program believes.

-- up
SET LOCAL ROLE spell_owner;
-- A rotation never makes a live key of a test key, or the other way round.
ALTER TABLE api_keys ADD CONSTRAINT api_keys_keep_their_mode
  CHECK (starts_with(previous_prefix, 'sk_test_') = starts_with(prefix, 'sk_test_'));

ALTER TABLE account_months ADD COLUMN test_casts integer NOT NULL DEFAULT 0 CHECK (test_casts >= 0);

ALTER TABLE casts DROP CONSTRAINT casts_funding_check;
ALTER TABLE casts
  ADD CONSTRAINT casts_funding_check CHECK (funding IN ('free', 'credits', 'metered', 'test')),
  ADD CONSTRAINT casts_of_test_keys_hold_nothing CHECK (
    funding <> 'test' OR (held_micros = 0 AND creator_price_micros = 0 AND creator_rates IS NULL
      AND window_ids = '{}' AND grant_ids = '{}'));
ALTER TABLE usage_events ADD CONSTRAINT usage_of_test_keys_costs_nothing CHECK (funding <> 'test' OR cost_micros = 0);
ALTER TABLE usage_counters ADD CONSTRAINT counters_of_test_keys_cost_nothing
  CHECK (funding <> 'test' OR cost_micros = 0);
-- A list of test casts does not look through ten million live ones. A live cast costs it nothing.
CREATE INDEX casts_test_of_account ON casts (account_id, id) WHERE funding = 'test';

-- The same Idempotency-Key is two keys: one for the casts of test keys, one for everything else.
ALTER TABLE idempotency_keys ADD COLUMN mode text NOT NULL DEFAULT 'live' CHECK (mode IN ('live', 'test'));
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey, ADD PRIMARY KEY (account_id, key, mode);

-- An endpoint is told of what happens live, unless it was made for tests.
ALTER TABLE webhook_endpoints ADD COLUMN mode text NOT NULL DEFAULT 'live' CHECK (mode IN ('live', 'test'));
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE webhook_endpoints DROP COLUMN mode;
DELETE FROM idempotency_keys WHERE mode = 'test';
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey, ADD PRIMARY KEY (account_id, key);
ALTER TABLE idempotency_keys DROP COLUMN mode;
DROP INDEX casts_test_of_account;
ALTER TABLE usage_counters DROP CONSTRAINT counters_of_test_keys_cost_nothing;
ALTER TABLE usage_events DROP CONSTRAINT usage_of_test_keys_costs_nothing;
-- What test keys did stays, as casts that cost nothing.
UPDATE casts SET funding = 'free' WHERE funding = 'test';
ALTER TABLE casts DROP CONSTRAINT casts_of_test_keys_hold_nothing, DROP CONSTRAINT casts_funding_check;
ALTER TABLE casts ADD CONSTRAINT casts_funding_check CHECK (funding IN ('free', 'credits', 'metered'));
ALTER TABLE account_months DROP COLUMN test_casts;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_keep_their_mode;
RESET ROLE;
