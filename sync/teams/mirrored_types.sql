-- Which types a team mirrors beside those that every team does (sync/teams/mirrored_types.py).

-- name: added
SELECT type
FROM billstack.mirrored_types
WHERE team_id = %(team_id)s AND stopped_at IS NULL;

-- name: add
INSERT INTO billstack.mirrored_types (team_id, type)
SELECT %(team_id)s, unnest(%(types)s::text[])
ON CONFLICT (team_id, type) DO UPDATE
SET since = now(), stopped_at = NULL;

-- name: stop
UPDATE billstack.mirrored_types
SET stopped_at = now()
WHERE team_id = %(team_id)s AND type = %(type)s AND stopped_at IS NULL
RETURNING 1;

-- name: forget
DELETE FROM billstack.mirrored_types
WHERE team_id = %(team_id)s AND type = %(type)s
RETURNING 1;

-- name: forget_proof
-- What happens from now on is not read: it is complete no longer.
DELETE FROM billstack.type_proofs
WHERE team_id = %(team_id)s AND type = %(type)s;
