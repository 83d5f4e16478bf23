-- The statements of sync/teams/own_keys.py: a team's own Stripe key at the gateway.

-- name: get
SELECT own_key_since AS since, own_key_used_at AS used_at
FROM billstack.connections
WHERE team_id = %(team_id)s AND own_key_sha256 IS NOT NULL;

-- name: open
UPDATE billstack.connections
SET own_key_sha256 = decode(%(sha256)s, 'hex'),
    own_key_since = CASE WHEN own_key_sha256 IS NULL THEN now() ELSE own_key_since END,
    own_key_used_at = CASE WHEN own_key_sha256 IS NULL THEN NULL ELSE own_key_used_at END
WHERE team_id = %(team_id)s AND secret_key IS NOT NULL;

-- name: close
UPDATE billstack.connections
SET own_key_sha256 = NULL, own_key_since = NULL, own_key_used_at = NULL
WHERE team_id = %(team_id)s AND own_key_sha256 IS NOT NULL;

-- name: keys_of_hash
-- Hardly ever more than one row. The program compares the key itself.
SELECT team_id, secret_key, key_valid,
    coalesce(own_key_used_at < now() - interval '1 minute', true) AS is_use_due
FROM billstack.connections
WHERE own_key_sha256 = decode(%(sha256)s, 'hex') AND secret_key IS NOT NULL;

-- name: sealed_elsewhere
SELECT team_id, secret_key
FROM billstack.connections
WHERE own_key_sha256 = decode(%(sha256)s, 'hex') AND secret_key IS NOT NULL AND team_id <> %(team_id)s;

-- name: note_use
-- At most once a minute, even if several requests found it due.
UPDATE billstack.connections
SET own_key_used_at = now()
WHERE team_id = %(team_id)s
    AND own_key_sha256 IS NOT NULL
    AND coalesce(own_key_used_at < now() - interval '1 minute', true);
