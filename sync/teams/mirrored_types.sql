-- Which types a team mirrors beside those that every team does (sync/teams/mirrored_types.py).

-- name: added
SELECT type
FROM billstack.mirrored_types
WHERE team_id = %(team_id)s AND stopped_at IS NULL;

-- name: add
INSERT INTO billstack.mirrored_types (team_id, type)
SELECT %(team_id)s, unnest(%(types)s::text[])
ON CONFLICT (team_id, type) DO UPDATE
SET since = now(), stopped_at = NULL, reread_until = NULL;

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

-- name: to_reread
-- Those that have been read to the end once, and up to which second of Stripe's clock the newest are known.
SELECT mirrored_types.type, greatest(mirrored_types.reread_until, type_proofs.known_until)
FROM billstack.mirrored_types
JOIN billstack.type_proofs USING (team_id, type)
WHERE mirrored_types.team_id = %(team_id)s AND stopped_at IS NULL AND mirrored_types.type = ANY (%(types)s);

-- name: set_reread
UPDATE billstack.mirrored_types
SET reread_until = greatest(reread_until, %(until)s)
WHERE team_id = %(team_id)s AND type = %(type)s;
