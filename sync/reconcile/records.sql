-- The records of comparisons of a mirror with Stripe.

-- name: running_backfill
SELECT id
FROM billstack.backfills
WHERE team_id = %(team_id)s AND state = 'running';

-- name: running
SELECT id
FROM billstack.reconciles
WHERE team_id = %(team_id)s AND state = 'running';

-- name: insert
INSERT INTO billstack.reconciles (id, team_id, request_id)
VALUES (%(id)s, %(team_id)s, %(request_id)s);

-- name: due_teams
-- Due once a day: after the last successful backfill or the last comparison, however that ended.
SELECT connections.team_id
FROM billstack.connections
WHERE secret_key IS NOT NULL
    AND EXISTS (SELECT FROM billstack.backfills WHERE backfills.team_id = connections.team_id AND state = 'ready')
    AND NOT EXISTS (
        SELECT
        FROM billstack.backfills
        WHERE backfills.team_id = connections.team_id
            AND (state = 'running' OR state = 'ready' AND finished_at > now() - interval '1 day')
    )
    AND NOT EXISTS (
        SELECT
        FROM billstack.reconciles
        WHERE reconciles.team_id = connections.team_id
            AND (state = 'running' OR requested_at > now() - interval '1 day')
    );

-- name: idle
-- Running ones that nobody holds: never enqueued, between turns, or with a lost job or a dead worker.
SELECT id, team_id, request_id, fence
FROM billstack.reconciles
WHERE state = 'running'
    AND (held_until < clock_timestamp() OR billstack.has_died(session, renewed_at, %(silent_s)s));

-- name: acquire
UPDATE billstack.reconciles
SET fence = fence + 1,
    held_until = clock_timestamp() + %(lease_s)s * interval '1 second',
    renewed_at = clock_timestamp(),
    session = billstack.this_session()
WHERE id = %(id)s
    AND state = 'running'
    AND (held_until < clock_timestamp() OR billstack.has_died(session, renewed_at, %(silent_s)s))
RETURNING fence, team_id, upper, type, compared_until, parents_until, suspects, found;

-- name: renew
UPDATE billstack.reconciles
SET held_until = clock_timestamp() + %(lease_s)s * interval '1 second',
    renewed_at = clock_timestamp(),
    session = billstack.this_session()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: save
UPDATE billstack.reconciles
SET upper = %(upper)s,
    type = %(type)s,
    compared_until = %(compared_until)s,
    parents_until = %(parents_until)s,
    suspects = %(suspects)s,
    found = %(found)s,
    held_until = clock_timestamp() + %(lease_s)s * interval '1 second',
    renewed_at = clock_timestamp(),
    session = billstack.this_session()
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
RETURNING id;

-- name: give_back
UPDATE billstack.reconciles
SET held_until = clock_timestamp(), session = NULL
WHERE id = %(id)s AND fence = %(fence)s;

-- name: end
UPDATE billstack.reconciles
SET state = %(state)s, error = %(error)s, finished_at = now(), held_until = '-infinity', suspects = '{}'
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running';

-- name: get
SELECT state, error, found
FROM billstack.reconciles
WHERE id = %(id)s;
