-- name: blob_insert
-- Announce bytes by digest; no row comes back when they are stored already.
INSERT INTO blobs (digest, size_bytes) VALUES (%(digest)s, %(size_bytes)s)
ON CONFLICT (digest) DO NOTHING
RETURNING digest

-- name: piece_insert
-- Store one piece of announced bytes.
INSERT INTO blob_pieces (digest, piece, bytes) VALUES (%(digest)s, %(piece)s, %(bytes)s)

-- name: blob_size
-- How many bytes there are under a digest.
SELECT size_bytes FROM blobs WHERE digest = %(digest)s

-- name: piece_get
-- One piece; reading them one by one keeps a download's memory at one piece.
SELECT bytes FROM blob_pieces WHERE digest = %(digest)s AND piece = %(piece)s

-- name: artifact_insert
-- Remember what a module compiled to for an engine; the first compilation stays.
INSERT INTO artifacts (module_digest, engine_key, artifact_digest, signature)
VALUES (%(module_digest)s, %(engine_key)s, %(artifact_digest)s, %(signature)s)
ON CONFLICT (module_digest, engine_key) DO NOTHING

-- name: artifact_get
-- The artifact of a module for an engine, and the platform's signature over both.
SELECT artifact_digest, signature FROM artifacts
WHERE module_digest = %(module_digest)s AND engine_key = %(engine_key)s

-- name: modules_without_artifact
-- Modules some version still runs that have no artifact for this engine, a page at a time.
SELECT DISTINCT v.digest FROM spell_versions v
WHERE NOT EXISTS (SELECT FROM artifacts a WHERE a.module_digest = v.digest AND a.engine_key = %(engine_key)s)
  AND v.digest > %(after)s
ORDER BY v.digest
LIMIT %(limit)s
