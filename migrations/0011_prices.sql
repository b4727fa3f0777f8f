-- What creators ask: rows that never change, of which the newest tells the price at every instant since it was announced.
-- And what a receipt needs for ever: which batch of the ledger a cast was booked in, how much it wrote and reported,
-- and what was paid back.

-- up
SET LOCAL ROLE spell_owner;
CREATE TABLE spell_prices (
  version_id uuid NOT NULL REFERENCES spell_versions,
  -- 1 is what the version was published with.
  number integer NOT NULL CHECK (number > 0),
  account_id uuid NOT NULL REFERENCES accounts,
  announced_at timestamptz NOT NULL,
  effective_at timestamptz NOT NULL CHECK (effective_at >= announced_at),
  -- In force until `effective_at`.
  before_per_cast_micros bigint NOT NULL CHECK (before_per_cast_micros >= 0),
  before_per_output_kib_micros bigint NOT NULL CHECK (before_per_output_kib_micros >= 0),
  before_per_unit_micros bigint NOT NULL CHECK (before_per_unit_micros >= 0),
  -- In force from then on.
  per_cast_micros bigint NOT NULL CHECK (per_cast_micros >= 0),
  per_output_kib_micros bigint NOT NULL CHECK (per_output_kib_micros >= 0),
  per_unit_micros bigint NOT NULL CHECK (per_unit_micros >= 0),
  units_max bigint NOT NULL CHECK (units_max >= 0),
  PRIMARY KEY (version_id, number)
);
INSERT INTO spell_prices (version_id, number, account_id, announced_at, effective_at, before_per_cast_micros,
  before_per_output_kib_micros, before_per_unit_micros, per_cast_micros, per_output_kib_micros, per_unit_micros, units_max)
SELECT id, 1, account_id, date_trunc('milliseconds', created_at), date_trunc('milliseconds', created_at), 0, 0, 0,
  creator_price_micros, 0, 0, 0
FROM spell_versions WHERE creator_price_micros > 0;

-- What the creator asks for this cast beside the fixed price: per KiB of output, per unit, units at most. Null: nothing.
ALTER TABLE casts
  ADD COLUMN creator_rates bigint[] CHECK (cardinality(creator_rates) = 3),
  ADD COLUMN quote_id uuid,
  ADD COLUMN output_bytes integer CHECK (output_bytes >= 0),
  ADD COLUMN units bigint CHECK (units >= 0);
ALTER TABLE usage_events ADD COLUMN batch_id uuid;

-- What the operator paid back: once for each cast, whole.
CREATE TABLE cast_refunds (
  cast_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  amount_micros bigint NOT NULL CHECK (amount_micros > 0),
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
  refunded_at timestamptz NOT NULL
);
CREATE INDEX cast_refunds_of_account ON cast_refunds (account_id, cast_id);

GRANT SELECT, INSERT ON spell_prices, cast_refunds TO spell_engine;
GRANT SELECT ON spell_prices, cast_refunds TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['spell_prices', 'cast_refunds'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY engine ON %I TO spell_engine, spell_owner USING (true) WITH CHECK (true)', table_name);
    EXECUTE format(
      'CREATE POLICY own_account ON %I TO spell_app USING (account_id = nullif(current_setting(''spell.account_id'', true), '''')::uuid)',
      table_name);
  END LOOP;
END $$;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP TABLE cast_refunds, spell_prices;
ALTER TABLE usage_events DROP COLUMN batch_id;
ALTER TABLE casts DROP COLUMN units, DROP COLUMN output_bytes, DROP COLUMN quote_id, DROP COLUMN creator_rates;
RESET ROLE;
