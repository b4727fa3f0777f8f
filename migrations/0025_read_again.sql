-- What was decided on rows that were read before the locks holds only while they are still so: who finds them changed
-- under the locks says it like this, and everything may be done again.

-- up
SET LOCAL ROLE spell_owner;
CREATE FUNCTION read_again(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% finds other rows than were read before the locks', query USING ERRCODE = 'serialization_failure';
END $$;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP FUNCTION read_again(text);
RESET ROLE;
