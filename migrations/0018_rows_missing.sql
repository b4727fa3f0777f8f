-- A statement that leaves with its COMMIT has nobody behind it who could count what it found: it says so itself.

-- up
SET LOCAL ROLE spell_owner;
CREATE FUNCTION rows_missing(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% did not find every row it was to write', query USING ERRCODE = 'assert_failure';
END $$;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP FUNCTION rows_missing(text);
RESET ROLE;
