-- name: server_read
-- What kind of server this is, what it promises about commits, and what time it thinks it is.
SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
  current_setting('fsync')::boolean, current_setting('synchronous_commit'), current_setting('max_connections')::integer,
  clock_timestamp()

-- name: roles_read
-- The platform's roles, as far as they are there: whether this login may take each on, and what they must not be.
SELECT rolname, pg_has_role(current_user, oid, 'MEMBER'), rolsuper OR rolbypassrls
FROM pg_roles WHERE rolname = ANY(%(names)s::text[])
