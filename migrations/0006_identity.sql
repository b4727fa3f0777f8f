-- Who people are: logins by GitHub, OpenID Connect and mailed link, sessions, the login of a command line, and the
-- append-only log of what was changed by whom.
--
-- No token is stored: columns ending in `_hash` hold the SHA-256 of 32 random bytes, which nobody can guess back.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE users
  ADD COLUMN name text NOT NULL DEFAULT '',
  ADD COLUMN email_verified_at timestamptz,
  ADD COLUMN role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
  ADD COLUMN erased_at timestamptz;

-- A person as somebody else knows them. `issuer` is the address of who says so: GitHub's, an OpenID issuer's, or
-- 'email' for a mailed link, whose subject is the address itself in lower case.
CREATE TABLE identities (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users,
  account_id uuid NOT NULL REFERENCES accounts,
  issuer text NOT NULL,
  subject text NOT NULL,
  email text,
  email_verified boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  last_login_at timestamptz NOT NULL,
  UNIQUE (issuer, subject)
);
CREATE INDEX identities_of_account ON identities (account_id);

CREATE TABLE sessions (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users,
  account_id uuid NOT NULL REFERENCES accounts,
  token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  kind text NOT NULL CHECK (kind IN ('browser', 'cli')),
  user_agent text NOT NULL DEFAULT '',
  address text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL,
  last_used_at timestamptz NOT NULL,
  -- Absolute; the idle limit is counted from `last_used_at`.
  expires_at timestamptz NOT NULL,
  ended_at timestamptz
);
CREATE INDEX sessions_of_account ON sessions (account_id, created_at);

-- A login under way at somebody else's page. It belongs to the browser that began it and is used once.
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

CREATE TABLE magic_links (
  token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
  browser_hash bytea NOT NULL CHECK (length(browser_hash) = 32),
  email text NOT NULL,
  return_to text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);

-- `spell login`: a program shows a short code, a person confirms it in a browser where they are logged in.
CREATE TABLE device_logins (
  device_hash bytea PRIMARY KEY CHECK (length(device_hash) = 32),
  user_code text NOT NULL UNIQUE,
  device_name text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  user_id uuid REFERENCES users,
  decided_at timestamptz,
  approved boolean,
  used_at timestamptz
);

-- Append-only: nobody updates or deletes a row; erasure removes the key that names the person, not the row.
CREATE TABLE audit_log (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  at timestamptz NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('session', 'key', 'admin', 'operator', 'platform')),
  -- The session, the key, or null.
  actor_id uuid,
  user_id uuid,
  action text NOT NULL,
  target_kind text NOT NULL,
  target_id text NOT NULL,
  before json,
  after json,
  address text NOT NULL DEFAULT '',
  request_id text NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_of_account ON audit_log (account_id, id);

-- Privacy: an export is made in pieces by the scheduler and kept for seven days.
CREATE TABLE privacy_exports (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  user_id uuid NOT NULL REFERENCES users,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'ready', 'failed', 'expired')),
  progress_percent smallint NOT NULL DEFAULT 0 CHECK (progress_percent BETWEEN 0 AND 100),
  created_at timestamptz NOT NULL,
  lease_until timestamptz,
  finished_at timestamptz,
  expires_at timestamptz,
  error text
);
CREATE TABLE privacy_export_pieces (
  export_id uuid NOT NULL REFERENCES privacy_exports ON DELETE CASCADE,
  account_id uuid NOT NULL REFERENCES accounts,
  piece integer NOT NULL CHECK (piece >= 0),
  bytes bytea NOT NULL,
  PRIMARY KEY (export_id, piece)
);

GRANT SELECT, INSERT, UPDATE ON identities, sessions, login_flows, magic_links, device_logins, privacy_exports
  TO spell_engine;
GRANT DELETE ON identities, sessions, login_flows, magic_links, device_logins, privacy_exports, privacy_export_pieces
  TO spell_engine;
GRANT SELECT, INSERT ON audit_log, privacy_export_pieces TO spell_engine;
GRANT SELECT ON identities, sessions, audit_log, privacy_exports, privacy_export_pieces TO spell_app;
DO $$
DECLARE table_name text;
BEGIN
  FOREACH table_name IN ARRAY ARRAY['identities', 'sessions', 'audit_log', 'privacy_exports', 'privacy_export_pieces']
  LOOP
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
DROP TABLE privacy_export_pieces, privacy_exports, audit_log, device_logins, magic_links, login_flows, sessions,
  identities;
ALTER TABLE users DROP COLUMN name, DROP COLUMN email_verified_at, DROP COLUMN role, DROP COLUMN erased_at;
RESET ROLE;
