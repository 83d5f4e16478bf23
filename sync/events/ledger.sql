-- The ledger: one row per event, however often it was delivered.

-- name: settings
-- For the transaction only: a session's settings would stay with a pooler's connection. Applied events need not wait for
-- the disk. A crash of Postgres undoes the last of them together with their rows, and they are due again. The next commit
-- that waits makes all before it durable; whoever relies on it has make_durable wait. The plans are kept, and may be from
-- when a table had a few rows; so they look up by index (page_settings in store.sql does the same).
SELECT set_config('synchronous_commit', 'off', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true);

-- name: wait_for_disk
-- Takes back the setting for the transaction. A fetch that follows relies on what this transaction saw and wrote.
SELECT set_config('synchronous_commit', 'on', true);

-- name: record
INSERT INTO billstack.events (team_id, id, type, created, body, delivered)
VALUES (%(team_id)s, %(id)s, %(type)s, %(created)s, %(body)s, %(delivered)s)
ON CONFLICT (team_id, id) DO NOTHING
RETURNING id;

-- name: record_delivered
-- Records events of many teams in one statement and one commit. Returns those that are new.
INSERT INTO billstack.events (team_id, id, type, created, body, delivered)
SELECT DISTINCT ON (team_id, id) team_id, id, type, created, body, true
FROM unnest(%(team_ids)s::text[], %(ids)s::text[], %(types)s::text[], %(createds)s::bigint[], %(bodies)s::text[])
    AS delivered (team_id, id, type, created, body)
ORDER BY team_id, id
ON CONFLICT (team_id, id) DO NOTHING
RETURNING team_id, id;

-- name: claim
-- The longest-waiting events. Nobody else gets them for a while. If this worker dies, take_from_dead returns them.
-- MATERIALIZED: a plan may run a plain subquery once per row, and would then lock more events than it claims.
WITH due AS MATERIALIZED (
    SELECT id
    FROM billstack.events
    WHERE team_id = %(team_id)s
        AND state IN ('pending', 'failed')
        AND next_attempt_at <= clock_timestamp()
    ORDER BY next_attempt_at, created
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE billstack.events
SET next_attempt_at = clock_timestamp() + %(claim_s)s * interval '1 second',
    attempts = attempts + 1,
    claimed_by = billstack.own_session(%(own_pid)s)
FROM due
WHERE events.team_id = %(team_id)s AND events.id = due.id
RETURNING events.id, type, created, body, delivered, attempts;

-- name: take_from_dead
-- Events that were claimed through connections that are now closed come due again, before all others.
UPDATE billstack.events
SET next_attempt_at = received_at, claimed_by = NULL
WHERE state IN ('pending', 'failed')
    AND claimed_by = ANY (ARRAY(
        SELECT claimed_by
        FROM (
            SELECT DISTINCT claimed_by
            FROM billstack.events
            WHERE claimed_by IS NOT NULL AND state IN ('pending', 'failed')
        ) AS claims
        WHERE billstack.session_ended(claimed_by)
    ));

-- name: settle
UPDATE billstack.events
SET state = %(state)s, error = %(error)s, applied_at = clock_timestamp(), claimed_by = NULL
WHERE team_id = %(team_id)s AND id = ANY (%(ids)s)
RETURNING type, extract(epoch FROM applied_at - received_at)::float8;

-- name: count_applied
-- Once per batch. Side-by-side fetches would wait for each other at the hour's row, each for the other's fsync.
INSERT INTO billstack.activity AS activity (team_id, hour, what, count)
VALUES (%(team_id)s, date_trunc('hour', clock_timestamp(), 'UTC'), 'event', %(count)s)
ON CONFLICT (team_id, hour, what) DO UPDATE SET count = activity.count + excluded.count;

-- name: postpone
-- With backoff: 2, 4, 8 … seconds, at most an hour.
UPDATE billstack.events
SET state = 'failed',
    error = %(error)s,
    next_attempt_at = clock_timestamp() + least(3600, power(2, least(attempts, 12))) * interval '1 second',
    claimed_by = NULL
WHERE team_id = %(team_id)s AND id = ANY (%(ids)s)
RETURNING type, extract(epoch FROM clock_timestamp() - received_at)::float8;

-- name: put_back
UPDATE billstack.events
SET next_attempt_at = clock_timestamp() + %(wait_s)s * interval '1 second', attempts = attempts - 1, claimed_by = NULL
WHERE team_id = %(team_id)s AND id = ANY (%(ids)s);

-- name: pending
-- Includes events that somebody is applying right now, but not failed ones that wait for their next attempt.
SELECT count(*)
FROM billstack.events
WHERE team_id = %(team_id)s AND state = 'pending' AND created <= %(until)s;

-- name: make_durable
-- A locked row is written to the log, so this commit waits for the disk, and for everything that was committed before.
SELECT 1
FROM billstack.connections
WHERE team_id = %(team_id)s
FOR NO KEY UPDATE;

-- name: try_again
-- Makes failed events due now, whatever their backoff says. If they fail again, the backoff continues where it was.
UPDATE billstack.events
SET state = 'pending', next_attempt_at = clock_timestamp(), claimed_by = NULL
WHERE team_id = %(team_id)s
    AND id IN (
        SELECT id
        FROM billstack.events
        WHERE team_id = %(team_id)s AND state = 'failed' AND created <= %(until)s
        ORDER BY created DESC
        LIMIT %(limit)s
    );

-- name: mentioned
-- Those of the ids that occur in events since then. Recent events are few, and so are the ids.
SELECT mentioned.id
FROM unnest(%(ids)s::text[]) AS mentioned (id)
WHERE EXISTS (
    SELECT
    FROM billstack.events
    WHERE team_id = %(team_id)s
        AND received_at > now() - interval '1 hour'
        AND created >= %(since)s
        AND position(mentioned.id IN body) > 0
);

-- name: touch_connection
-- Never in the future, whatever an event or an earlier version says.
UPDATE billstack.connections
SET last_event_at = least(now(), greatest(last_event_at, to_timestamp(least(greatest(0, %(created)s::bigint), extract(epoch FROM now()))))),
    delivered_version = coalesce(%(delivered_version)s::text, delivered_version),
    delivered_at = CASE WHEN %(delivered)s THEN now() ELSE delivered_at END,
    delivery_lag_s = CASE
        WHEN %(delivered)s THEN least(greatest(0, extract(epoch FROM clock_timestamp()) - %(created)s::bigint), 2147483647)
        ELSE delivery_lag_s
    END
WHERE team_id = %(team_id)s;

-- name: replay
-- Makes events new again. Parameters that are NULL do not filter. Skips events that are being applied right now.
UPDATE billstack.events
SET state = 'pending',
    attempts = 0,
    error = NULL,
    applied_at = NULL,
    next_attempt_at = clock_timestamp(),
    claimed_by = NULL
WHERE team_id = %(team_id)s
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(id)s::text IS NULL OR id = %(id)s)
    AND (%(since)s::bigint IS NULL OR created >= %(since)s)
    AND (NOT %(failed)s OR state = 'failed')
RETURNING id;

-- name: teams_waiting
-- Teams with events that came due a while ago. Recording an event wakes its job at once, and a running job takes new
-- events.
SELECT connections.team_id
FROM billstack.connections
WHERE connections.secret_key IS NOT NULL
    AND EXISTS (
        SELECT
        FROM billstack.events
        WHERE events.team_id = connections.team_id
            AND events.state IN ('pending', 'failed')
            AND events.next_attempt_at <= clock_timestamp() - %(due_for_s)s * interval '1 second'
    );

-- name: prune
-- Stripe keeps events for 30 days, so nothing older can come again.
DELETE FROM billstack.events
WHERE ctid IN (
    SELECT ctid
    FROM billstack.events
    WHERE received_at < now() - interval '30 days'
    ORDER BY received_at
    LIMIT %(limit)s
);

-- name: backlog
SELECT count(*), extract(epoch FROM now() - min(received_at))::float8
FROM billstack.events
WHERE state IN ('pending', 'failed');
