-- The statements of api/projects/key_store.py: API keys.

-- name: create_key
INSERT INTO billstack.api_keys (id, team_id, project_id, name, prefix, key_sha256, scopes, expires_at)
VALUES (%(id)s, %(team_id)s, %(project_id)s, %(name)s, %(prefix)s, %(key_sha256)s, %(scopes)s, %(expires_at)s)
RETURNING id, name, prefix, project_id, scopes, expires_at, created_at, last_used_at

-- name: list_keys
SELECT id, name, prefix, project_id, scopes, expires_at, created_at, last_used_at
FROM billstack.api_keys
WHERE team_id = %(team_id)s
ORDER BY created_at DESC, id

-- name: delete_key
DELETE FROM billstack.api_keys
WHERE team_id = %(team_id)s AND id = %(key_id)s
RETURNING 1

-- name: keys_of_prefix
-- Hardly ever more than one row, each one JSON. The program compares them in constant time.
SELECT json_build_object(
    'sha256', encode(key_sha256, 'hex'),
    'id', id,
    'team_id', team_id,
    'project_id', project_id,
    'scopes', scopes,
    'is_expired', coalesce(expires_at <= now(), false),
    'is_use_due', coalesce(last_used_at < now() - interval '1 minute', true)
)::text
FROM billstack.api_keys
WHERE prefix = %(prefix)s

-- name: note_use
-- At most once a minute, even if several requests found it due.
UPDATE billstack.api_keys
SET last_used_at = now()
WHERE id = %(key_id)s AND coalesce(last_used_at < now() - interval '1 minute', true)
