-- The ledger of events: one row per event, however often it was delivered.

-- name: record
INSERT INTO billstack.events (team_id, id, type, created, body)
VALUES (%(team_id)s, %(id)s, %(type)s, %(created)s, %(body)s)
ON CONFLICT (team_id, id) DO NOTHING
RETURNING id;

-- name: claim
-- Oldest first, so that most events are wholly newer than their row. Claimed for a minute: should this worker die, the
-- next one to come takes them.
UPDATE billstack.events
SET next_attempt_at = clock_timestamp() + interval '1 minute', attempts = attempts + 1
WHERE team_id = %(team_id)s
    AND id IN (
        SELECT id
        FROM billstack.events
        WHERE team_id = %(team_id)s
            AND state IN ('pending', 'failed')
            AND next_attempt_at <= clock_timestamp()
        ORDER BY next_attempt_at, created
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
RETURNING id, type, created, body, attempts;

-- name: settle
UPDATE billstack.events
SET state = %(state)s, error = %(error)s, applied_at = clock_timestamp()
WHERE team_id = %(team_id)s AND id = ANY (%(ids)s);

-- name: postpone
-- With backoff: 2, 4, 8 … seconds, at most an hour.
UPDATE billstack.events
SET state = 'failed',
    error = %(error)s,
    next_attempt_at = clock_timestamp() + least(3600, power(2, least(attempts, 12))) * interval '1 second'
WHERE team_id = %(team_id)s AND id = ANY (%(ids)s);

-- name: unsettled
SELECT count(*)
FROM billstack.events
WHERE team_id = %(team_id)s AND state IN ('pending', 'failed') AND created <= %(until)s;

-- name: waiting
SELECT count(*)
FROM billstack.events
WHERE team_id = %(team_id)s AND state IN ('pending', 'failed') AND next_attempt_at <= clock_timestamp();

-- name: touch_connection
UPDATE billstack.connections
SET last_event_at = greatest(last_event_at, to_timestamp(%(created)s))
WHERE team_id = %(team_id)s;
