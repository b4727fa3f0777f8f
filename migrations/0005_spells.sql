-- Spells and versions that their creator advises against: they work as before, and whoever uses them is told why not to.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE spells ADD COLUMN deprecation text CHECK (length(deprecation) BETWEEN 1 AND 500);
ALTER TABLE spell_versions ADD COLUMN deprecation text CHECK (length(deprecation) BETWEEN 1 AND 500);
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE spells DROP COLUMN deprecation;
ALTER TABLE spell_versions DROP COLUMN deprecation;
RESET ROLE;
