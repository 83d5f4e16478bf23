-- The records of backfills in the control schema: the requests, and the progress of their types
-- and windows. part_records.sql has who works on them.

-- name: running
SELECT id, objects, created_after, requested_at
FROM billstack.backfills
WHERE team_id = %(team_id)s AND state = 'running';

-- name: insert_backfill
INSERT INTO billstack.backfills (id, team_id, objects, created_after, request_id)
VALUES (%(id)s, %(team_id)s, %(objects)s, %(created_after)s, %(request_id)s);

-- name: insert_types
INSERT INTO billstack.backfill_types (backfill_id, type)
SELECT %(backfill_id)s, unnest(%(objects)s::text[]);

-- name: insert_leases
INSERT INTO billstack.leases (backfill_id, part, after)
SELECT %(backfill_id)s, part, after
FROM unnest(%(parts)s::text[], %(afters)s::text[]) AS parts (part, after);

-- name: adoptable
-- The team's last backfill, if it failed within a day and had the same request. Its seen and windows are still valid.
SELECT last.id
FROM (
    SELECT id, state, objects, created_after, finished_at
    FROM billstack.backfills
    WHERE team_id = %(team_id)s
    ORDER BY requested_at DESC, id
    LIMIT 1
) AS last
WHERE last.state = 'error'
    AND last.objects = %(objects)s
    AND last.created_after IS NOT DISTINCT FROM %(created_after)s
    AND last.finished_at > now() - interval '1 day';

-- name: adopt_start
UPDATE billstack.backfills AS adopting
SET started = errored.started, upper = errored.upper, adopted = errored.id
FROM billstack.backfills AS errored
WHERE adopting.id = %(backfill_id)s AND errored.id = %(errored_id)s;

-- name: adopt_windows
UPDATE billstack.windows
SET backfill_id = %(backfill_id)s
WHERE backfill_id = %(errored_id)s;

-- name: adopt_types
UPDATE billstack.backfill_types AS adopting
SET synced = errored.synced,
    written = errored.written,
    progress = errored.progress,
    status = CASE errored.status WHEN 'ready' THEN 'ready' ELSE 'pending' END
FROM billstack.backfill_types AS errored
WHERE adopting.backfill_id = %(backfill_id)s
    AND errored.backfill_id = %(errored_id)s
    AND errored.type = adopting.type;

-- name: adopt_leases
UPDATE billstack.leases AS adopting
SET done = errored.done, fence = errored.fence
FROM billstack.leases AS errored
JOIN billstack.backfill_types ON backfill_types.backfill_id = errored.backfill_id AND backfill_types.type = errored.part
WHERE adopting.backfill_id = %(backfill_id)s
    AND errored.backfill_id = %(errored_id)s
    AND errored.part = adopting.part
    AND backfill_types.status = 'ready';

-- name: forget_windows
-- By the ids of the team's backfills, because Postgres may plan a join as a read of all teams' windows.
DELETE FROM billstack.windows
WHERE backfill_id = ANY (ARRAY(SELECT id FROM billstack.backfills WHERE team_id = %(team_id)s));

-- name: backfill
SELECT id, team_id, objects, created_after, state, request_id, started, upper
FROM billstack.backfills
WHERE id = %(backfill_id)s;

-- name: fix_upper
-- The first job that knows Stripe's clock sets it for all.
UPDATE billstack.backfills
SET started = coalesce(started, %(now)s), upper = coalesce(upper, %(now)s)
WHERE id = %(backfill_id)s
RETURNING started, upper;

-- name: open_windows
-- The upper end, and the first windows of the types that the caller still holds. Does for all types what fix_upper,
-- hold, mark_syncing and insert_window do for one.
WITH held AS MATERIALIZED (
    SELECT leases.part, leases.fence
    FROM billstack.leases
    JOIN billstack.backfills ON backfills.id = leases.backfill_id
    WHERE leases.backfill_id = %(backfill_id)s
        AND leases.part <> 'finish'
        AND leases.fence = %(fence)s
        AND leases.held
        AND backfills.state = 'running'
    ORDER BY leases.part
    FOR UPDATE
),
fixed AS (
    UPDATE billstack.backfills
    SET started = coalesce(started, %(now)s), upper = coalesce(upper, %(now)s)
    WHERE id = %(backfill_id)s AND EXISTS (SELECT FROM held)
    RETURNING upper
),
marked AS (
    UPDATE billstack.backfill_types
    SET status = 'syncing', moved_at = clock_timestamp()
    FROM held
    WHERE backfill_types.backfill_id = %(backfill_id)s AND backfill_types.type = held.part
)
INSERT INTO billstack.windows (backfill_id, type, number, variant, gte, lt, floor, fence)
SELECT %(backfill_id)s, held.part, wanted.variant + 1, wanted.variant, bounds.gte, bounds.lt, bounds.gte, held.fence
FROM fixed
CROSS JOIN held
JOIN unnest(%(types)s::text[], %(variants)s::integer[], %(are_by_time)s::boolean[]) AS wanted (type, variant, is_by_time)
    ON wanted.type = held.part
CROSS JOIN LATERAL (
    SELECT CASE WHEN is_by_time THEN %(gte)s ELSE 0 END AS gte, CASE WHEN is_by_time THEN fixed.upper ELSE 1 END AS lt
) AS bounds
RETURNING type, number, variant, gte, lt, floor;

-- name: mark_syncing
UPDATE billstack.backfill_types
SET status = 'syncing', moved_at = clock_timestamp()
WHERE backfill_id = %(backfill_id)s AND type = %(type)s AND status = 'pending';

-- name: backwards_types
-- Of a window whose list is newest first, `newest` is at least `oldest`.
SELECT DISTINCT type
FROM billstack.windows
WHERE backfill_id = %(backfill_id)s
    AND newest < oldest
ORDER BY type;

-- name: split
-- Raises the giving window's floor to `mid`, and the new window takes the range below. Does neither if the lease is
-- gone.
WITH held AS MATERIALIZED (
    SELECT leases.fence
    FROM billstack.leases
    JOIN billstack.backfills ON backfills.id = leases.backfill_id
    WHERE leases.backfill_id = %(backfill_id)s
        AND leases.part = %(part)s
        AND leases.fence = %(fence)s
        AND leases.held
        AND backfills.state = 'running'
    FOR SHARE
),
raised AS (
    UPDATE billstack.windows
    SET floor = %(mid)s
    FROM held
    WHERE windows.backfill_id = %(backfill_id)s
        AND windows.type = %(type)s
        AND windows.number = %(giver)s
        AND windows.fence = held.fence
        AND NOT windows.done
    RETURNING windows.number
)
INSERT INTO billstack.windows (backfill_id, type, number, variant, gte, lt, floor, fence)
SELECT %(backfill_id)s, %(type)s, %(number)s, %(variant)s, %(floor)s, %(mid)s, %(floor)s, %(fence)s
FROM raised
RETURNING number;

-- name: take_windows
-- Stamps the new fence. A page of the previous holder that is not committed by now never will be.
UPDATE billstack.windows
SET fence = %(fence)s
WHERE backfill_id = %(backfill_id)s AND type = %(type)s AND NOT done;

-- name: windows
SELECT number, variant, gte, lt, floor, cursor, newest, oldest, pages, met, done
FROM billstack.windows
WHERE backfill_id = %(backfill_id)s AND type = %(type)s
ORDER BY number;

-- name: close_windows
-- Two open windows never share a second: their pages may be written at the same moment and would be counted twice.
UPDATE billstack.windows
SET done = true
WHERE backfill_id = %(backfill_id)s AND type = %(type)s AND gte >= %(gte)s AND NOT done;

-- name: insert_window
INSERT INTO billstack.windows (backfill_id, type, number, variant, gte, lt, floor, fence)
VALUES (%(backfill_id)s, %(type)s, %(number)s, %(variant)s, %(gte)s, %(lt)s, %(gte)s, %(fence)s);

-- name: take_snapshot
-- Of a type that is read parent by parent. Parents whose transactions are not over yet, or begin later, are read again
-- at the finish. A resumed part keeps its first snapshot.
UPDATE billstack.windows
SET seen_from = coalesce(seen_from, pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
WHERE backfill_id = %(backfill_id)s AND type = %(type)s AND number = %(number)s;

-- name: snapshot
SELECT min(seen_from)
FROM billstack.windows
WHERE backfill_id = %(backfill_id)s AND type = %(type)s;

-- name: has_parents
-- Whether the mirror has all objects under which the type is listed: this backfill or an earlier one has read them.
SELECT EXISTS (
        SELECT
        FROM billstack.backfill_types
        WHERE backfill_id = %(backfill_id)s AND type = %(parent_type)s AND status = 'ready'
    )
    OR EXISTS (
        SELECT
        FROM billstack.type_proofs
        WHERE team_id = %(team_id)s AND type = %(parent_type)s
    );

-- name: reopen_window
-- The cursor's object is gone. The filter may change because no cursor depends on it any more. The cursor is compared,
-- as in mirror_page.
UPDATE billstack.windows
SET gte = %(gte)s, lt = %(lt)s, cursor = NULL
WHERE backfill_id = %(backfill_id)s
    AND type = %(type)s
    AND number = %(number)s
    AND fence = %(fence)s
    AND cursor = %(cursor)s
    AND NOT done
RETURNING number;

-- name: publish
-- The count is the sum over committed pages. It never goes down, because windows are never removed. Writes since the
-- last call are added to the team's activity; `known` is from before this statement.
WITH known AS (
    SELECT backfills.team_id, backfill_types.written
    FROM billstack.backfill_types
    JOIN billstack.backfills ON backfills.id = backfill_types.backfill_id
    WHERE backfill_types.backfill_id = %(backfill_id)s AND backfill_types.type = %(type)s
),
published AS (
    UPDATE billstack.backfill_types
    SET synced = counts.synced,
        written = counts.written,
        progress = greatest(backfill_types.progress, %(progress)s),
        moved_at = CASE
            WHEN counts.synced > backfill_types.synced OR %(progress)s > backfill_types.progress THEN clock_timestamp()
            ELSE backfill_types.moved_at
        END
    FROM (
        SELECT coalesce(sum(counted), 0) AS synced, coalesce(sum(written), 0) AS written
        FROM billstack.windows
        WHERE backfill_id = %(backfill_id)s AND type = %(type)s
    ) AS counts
    WHERE backfill_types.backfill_id = %(backfill_id)s AND backfill_types.type = %(type)s
    RETURNING backfill_types.synced, backfill_types.written, backfill_types.progress, backfill_types.status
),
counted AS (
    INSERT INTO billstack.activity AS activity (team_id, hour, what, count)
    SELECT known.team_id, date_trunc('hour', clock_timestamp(), 'UTC'), %(type)s, published.written - known.written
    FROM known, published
    WHERE published.written > known.written
    ON CONFLICT (team_id, hour, what) DO UPDATE SET count = activity.count + excluded.count
)
SELECT synced, progress, status
FROM published;

-- name: end_type
-- Only for the holder of the lease: a worker that lost it may have failed where its successor succeeds. Stores the
-- exact count even if the type ends between two renewals. A type whose last page was lost in a crash of Postgres is not
-- ready.
WITH held AS MATERIALIZED (
    SELECT fence
    FROM billstack.leases
    WHERE backfill_id = %(backfill_id)s AND part = %(type)s AND fence = %(fence)s AND held
    FOR UPDATE
),
counts AS MATERIALIZED (
    SELECT coalesce(sum(counted), 0) AS synced, coalesce(sum(written), 0) AS written
    FROM billstack.windows
    WHERE backfill_id = %(backfill_id)s AND type = %(type)s
    HAVING %(status)s <> 'ready' OR coalesce(bool_and(done), true)
),
known AS MATERIALIZED (
    -- Locked, because this statement's snapshot lacks what a renewal published while `held` waited for it.
    SELECT backfills.team_id, backfill_types.written
    FROM held, billstack.backfill_types
    JOIN billstack.backfills ON backfills.id = backfill_types.backfill_id
    WHERE backfill_types.backfill_id = %(backfill_id)s AND backfill_types.type = %(type)s
    FOR UPDATE OF backfill_types
),
counted AS (
    INSERT INTO billstack.activity AS activity (team_id, hour, what, count)
    SELECT known.team_id, date_trunc('hour', clock_timestamp(), 'UTC'), %(type)s, counts.written - known.written
    FROM known, counts
    WHERE counts.written > known.written
    ON CONFLICT (team_id, hour, what) DO UPDATE SET count = activity.count + excluded.count
)
UPDATE billstack.backfill_types
SET status = %(status)s,
    error = %(error)s,
    synced = counts.synced,
    written = counts.written,
    moved_at = clock_timestamp(),
    progress = CASE WHEN %(status)s = 'ready' THEN 1 ELSE progress END
FROM known, counts
WHERE backfill_id = %(backfill_id)s AND type = %(type)s
RETURNING backfill_types.type;

-- name: types
SELECT type, status, synced, progress, error
FROM billstack.backfill_types
WHERE backfill_id = %(backfill_id)s;

-- name: end_backfill
-- Only for the holder of the finish, and only while no window of a type that was read is open. A full backfill proves
-- its types up to this moment, or up to the oldest event that could not be applied.
WITH held AS MATERIALIZED (
    SELECT backfill_id
    FROM billstack.leases
    WHERE backfill_id = %(backfill_id)s AND part = 'finish' AND fence = %(fence)s AND held
    FOR UPDATE
),
ended AS (
    UPDATE billstack.backfills
    SET state = %(state)s, error = %(error)s, warnings = %(warnings)s, finished_at = clock_timestamp()
    FROM held
    WHERE id = held.backfill_id
        AND state = 'running'
        AND NOT EXISTS (
            SELECT
            FROM billstack.windows
            JOIN billstack.backfill_types
                ON backfill_types.backfill_id = windows.backfill_id AND backfill_types.type = windows.type
            WHERE windows.backfill_id = %(backfill_id)s AND NOT windows.done AND backfill_types.status = 'ready'
        )
    RETURNING id, team_id, started, created_after, finished_at
),
proven AS (
    INSERT INTO billstack.type_proofs (team_id, type, completed_at, known_until)
    SELECT ended.team_id, backfill_types.type, ended.finished_at, least(%(known_until)s::bigint, unapplied.created - 1)
    FROM ended
    JOIN billstack.backfill_types ON backfill_types.backfill_id = ended.id AND backfill_types.status = 'ready'
    LEFT JOIN LATERAL (
        SELECT events.created
        FROM billstack.events
        WHERE events.team_id = ended.team_id AND events.state IN ('pending', 'failed') AND events.created >= ended.started
        ORDER BY events.created
        LIMIT 1
    ) AS unapplied ON true
    WHERE ended.created_after IS NULL AND %(known_until)s::bigint IS NOT NULL
    ON CONFLICT (team_id, type) DO UPDATE
    SET completed_at = excluded.completed_at, known_until = excluded.known_until
)
SELECT id
FROM ended;

-- name: cancel
-- Running jobs notice at their next renewal. Waits for workers that are adding windows right now (hold).
UPDATE billstack.backfills
SET state = 'canceled', finished_at = clock_timestamp()
WHERE team_id = %(team_id)s AND state = 'running'
RETURNING id;

-- name: fence_off
-- After `cancel`, in a separate statement: it must see the windows that `cancel` waited for. Stops pages in flight.
UPDATE billstack.windows
SET fence = -1
WHERE backfill_id = %(backfill_id)s AND NOT done;

-- name: history
SELECT id, objects, created_after, state, requested_at, finished_at, error, warnings, adopted,
    (
        SELECT jsonb_object_agg(type, jsonb_build_object('synced', synced, 'status', status, 'progress', progress, 'error', error))
        FROM billstack.backfill_types
        WHERE backfill_types.backfill_id = backfills.id
    ) AS types,
    (
        SELECT sum(written)
        FROM billstack.backfill_types
        WHERE backfill_types.backfill_id = backfills.id
    ) AS written
FROM billstack.backfills
WHERE team_id = %(team_id)s
ORDER BY requested_at DESC, id
LIMIT %(limit)s;
