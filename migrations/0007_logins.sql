-- Logins are looked for by address and dropped by age; and two secrets of theirs need not be kept at all: the PKCE
-- verifier and the nonce are derived from the browser's own cookie, which is stored nowhere.

-- up
SET LOCAL ROLE spell_owner;
-- Made anew, which ends what is under way for ten minutes at most.
DROP TABLE login_flows;
CREATE TABLE login_flows (
  state_hash bytea PRIMARY KEY CHECK (length(state_hash) = 32),
  browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
  provider text NOT NULL CHECK (provider IN ('github', 'oidc')),
  return_to text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON login_flows TO spell_engine;
CREATE INDEX login_flows_expired ON login_flows (expires_at);
CREATE INDEX magic_links_of_address ON magic_links (email, created_at);
CREATE INDEX magic_links_expired ON magic_links (expires_at);
-- One who proved the same address elsewhere is the same person.
CREATE INDEX users_of_address ON users (lower(email)) WHERE email_verified_at IS NOT NULL AND erased_at IS NULL;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
DROP INDEX users_of_address;
DROP INDEX magic_links_expired;
DROP INDEX magic_links_of_address;
DROP TABLE login_flows;
CREATE TABLE login_flows (
  state_hash bytea PRIMARY KEY CHECK (length(state_hash) = 32),
  browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
  provider text NOT NULL CHECK (provider IN ('github', 'oidc')),
  code_verifier text NOT NULL,
  nonce text,
  return_to text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON login_flows TO spell_engine;
RESET ROLE;
