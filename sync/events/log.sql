-- Reads a team's ledger for people, the newest event first. Each statement looks at a bounded number of events, however
-- few of them match.

-- name: page
-- Of the next events below a place, those that match. Parameters that are NULL do not filter.
SELECT id, type, created, state, attempts, error, delivered, received_at, applied_at, next_attempt_at, body
FROM (
    SELECT id, type, created, state, attempts, error, delivered, received_at, applied_at, next_attempt_at, body
    FROM billstack.events
    WHERE team_id = %(team_id)s AND (created, id) < (%(before)s, %(before_id)s)
    ORDER BY created DESC, id DESC
    LIMIT %(look)s
) AS looked
WHERE (%(state)s::text IS NULL OR state = %(state)s)
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(family)s::text IS NULL OR starts_with(type, %(family)s))
    AND (%(mentioned)s::text IS NULL OR position(%(mentioned)s IN body) > 0)
ORDER BY created DESC, id DESC
LIMIT %(limit)s;

-- name: waiting
-- The same of the events that are not applied. They are few among many, so they are found by an index of their own.
SELECT id, type, created, state, attempts, error, delivered, received_at, applied_at, next_attempt_at, body
FROM (
    SELECT id, type, created, state, attempts, error, delivered, received_at, applied_at, next_attempt_at, body
    FROM billstack.events
    WHERE team_id = %(team_id)s AND state IN ('pending', 'failed') AND (created, id) < (%(before)s, %(before_id)s)
    ORDER BY created DESC, id DESC
    LIMIT %(look)s
) AS looked
WHERE (%(state)s::text IS NULL OR state = %(state)s)
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(family)s::text IS NULL OR starts_with(type, %(family)s))
    AND (%(mentioned)s::text IS NULL OR position(%(mentioned)s IN body) > 0)
ORDER BY created DESC, id DESC
LIMIT %(limit)s;

-- name: look_end
-- The last event that `page` looked at. No row if it looked at all of them.
SELECT created, id
FROM billstack.events
WHERE team_id = %(team_id)s AND (created, id) < (%(before)s, %(before_id)s)
ORDER BY created DESC, id DESC
OFFSET %(look)s - 1
LIMIT 1;

-- name: waiting_end
SELECT created, id
FROM billstack.events
WHERE team_id = %(team_id)s AND state IN ('pending', 'failed') AND (created, id) < (%(before)s, %(before_id)s)
ORDER BY created DESC, id DESC
OFFSET %(look)s - 1
LIMIT 1;

-- name: get
SELECT id, type, created, state, attempts, error, delivered, received_at, applied_at, next_attempt_at, body
FROM billstack.events
WHERE team_id = %(team_id)s AND id = %(id)s;
