-- Numbers that were computed from a whole mirror, kept for the next look.

-- name: find
SELECT found, as_of, extract(epoch FROM now() - computed_at)::double precision AS age_s
FROM billstack.kept_numbers
WHERE team_id = %(team_id)s AND name = %(name)s AND found IS NOT NULL;

-- name: claim
-- Returns a row to the one process that may compute now. Another one may once that takes so long that it must be dead.
INSERT INTO billstack.kept_numbers (team_id, name, claimed_until)
VALUES (%(team_id)s, %(name)s, now() + %(longest)s)
ON CONFLICT (team_id, name) DO UPDATE
SET claimed_until = excluded.claimed_until
WHERE kept_numbers.claimed_until IS NULL OR kept_numbers.claimed_until < now()
RETURNING true;

-- name: keep
-- Changes nothing if the team has purged its mirror meanwhile.
UPDATE billstack.kept_numbers
SET found = %(found)s, as_of = %(as_of)s, computed_at = now(), claimed_until = NULL
WHERE team_id = %(team_id)s AND name = %(name)s;

-- name: release
UPDATE billstack.kept_numbers
SET claimed_until = NULL
WHERE team_id = %(team_id)s AND name = %(name)s;

-- name: forget_old
-- Those of other spans and months, which nobody looked at lately.
DELETE FROM billstack.kept_numbers
WHERE team_id = %(team_id)s
    AND coalesce(computed_at, '-infinity') < now() - interval '2 days'
    AND coalesce(claimed_until, '-infinity') < now();
