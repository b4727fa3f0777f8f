-- Prices agreed with one account: a version of the book that is nobody else's, in force while it is on plan enterprise.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE price_book ADD COLUMN for_everybody boolean NOT NULL DEFAULT true;
ALTER TABLE accounts ADD COLUMN price_version integer REFERENCES price_book;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE accounts DROP COLUMN price_version;
ALTER TABLE price_book DROP COLUMN for_everybody;
RESET ROLE;
