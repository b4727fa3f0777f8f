-- name: spell_insert
-- Make a spell, unless its owner has one of that name: then nothing happens.
INSERT INTO spells (id, account_id, name, description, visibility, created_at)
VALUES (%(id)s, %(account_id)s, %(name)s, %(description)s, %(visibility)s, %(now)s)
ON CONFLICT (account_id, name) DO NOTHING

-- name: spell_lock
-- Lock an owner's spell, so that two publications of it take turns.
SELECT id FROM spells WHERE account_id = %(account_id)s AND name = %(name)s FOR NO KEY UPDATE

-- name: spell_get
-- One spell by its owner's handle and its name, whoever may see it.
SELECT s.id, s.account_id, a.handle AS owner, s.name, s.description, s.visibility, s.suspended_at, s.created_at,
  s.deprecation
FROM spells s JOIN accounts a ON a.id = s.account_id
WHERE a.handle = %(owner)s AND s.name = %(name)s

-- name: spell_update
-- Change what an owner may change of a spell.
UPDATE spells SET description = %(description)s, visibility = %(visibility)s, deprecation = %(deprecation)s
WHERE id = %(id)s

-- name: versions_yank_all
-- Retire a spell: no range resolves to it any more, exact versions and digests still do.
UPDATE spell_versions SET yanked_at = %(now)s WHERE spell_id = %(spell_id)s AND yanked_at IS NULL

-- name: spells_list
-- Page through the spells a caller may see that can be cast by name: public ones and its own, newest first.
SELECT s.id, s.account_id, a.handle AS owner, s.name, s.description, s.visibility, s.suspended_at, s.created_at,
  s.deprecation
FROM spells s JOIN accounts a ON a.id = s.account_id
WHERE (s.visibility = 'public' OR s.account_id = %(viewer)s)
  AND s.suspended_at IS NULL
  AND EXISTS (SELECT FROM spell_versions v WHERE v.spell_id = s.id AND v.yanked_at IS NULL
    AND (%(tag)s::text IS NULL OR (v.manifest::jsonb -> 'tags') ? %(tag)s::text))
  AND (%(text)s::text IS NULL OR position(lower(%(text)s) IN lower(a.handle || '/' || s.name || ' ' || s.description)) > 0)
  AND (%(before_at)s::timestamptz IS NULL OR (s.created_at, s.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
ORDER BY s.created_at DESC, s.id DESC
LIMIT %(limit)s

-- name: version_insert
-- Write a version. It never changes, but for being yanked and deprecated.
INSERT INTO spell_versions (
  id, spell_id, account_id, version, digest, size_bytes, manifest, imports, creator_price_micros, created_at)
VALUES (
  %(id)s, %(spell_id)s, %(account_id)s, %(version)s, %(digest)s, %(size_bytes)s, %(manifest)s, %(imports)s,
  %(creator_price_micros)s, %(now)s)

-- name: version_get
-- One version of a spell by its exact name.
SELECT id, spell_id, account_id, version, digest, size_bytes, manifest::text AS manifest, imports, creator_price_micros,
  yanked_at, created_at, deprecation
FROM spell_versions WHERE spell_id = %(spell_id)s AND version = %(version)s

-- name: version_by_digest
-- The newest version of a spell with this module, not yanked before yanked.
SELECT id, spell_id, account_id, version, digest, size_bytes, manifest::text AS manifest, imports, creator_price_micros,
  yanked_at, created_at, deprecation
FROM spell_versions WHERE spell_id = %(spell_id)s AND digest = %(digest)s
ORDER BY yanked_at IS NOT NULL, created_at DESC, id DESC
LIMIT 1

-- name: versions_list
-- Every version of a spell, newest first.
SELECT id, spell_id, account_id, version, digest, size_bytes, manifest::text AS manifest, imports, creator_price_micros,
  yanked_at, created_at, deprecation
FROM spell_versions WHERE spell_id = %(spell_id)s ORDER BY created_at DESC, id DESC

-- name: versions_offered
-- The names a range may resolve to.
SELECT version FROM spell_versions WHERE spell_id = %(spell_id)s AND yanked_at IS NULL

-- name: versions_count
-- How many versions a spell has, yanked ones too.
SELECT count(*) FROM spell_versions WHERE spell_id = %(spell_id)s

-- name: version_yank
-- Take a version out of ranges; a second time changes nothing.
UPDATE spell_versions SET yanked_at = coalesce(yanked_at, %(now)s)
WHERE spell_id = %(spell_id)s AND version = %(version)s
RETURNING id

-- name: version_unyank
-- Bring a version back into ranges; a second time changes nothing.
UPDATE spell_versions SET yanked_at = NULL WHERE spell_id = %(spell_id)s AND version = %(version)s

-- name: version_deprecate
-- Say why not to use a version, or that there is no reason any more.
UPDATE spell_versions SET deprecation = %(deprecation)s WHERE spell_id = %(spell_id)s AND version = %(version)s
