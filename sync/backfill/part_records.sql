-- The parts of backfills and who holds them. A part is a type, or the finish.

-- name: acquire
UPDATE billstack.leases
SET fence = fence + 1,
    held = true,
    renewed_at = clock_timestamp(),
    holder = %(holder)s,
    session = billstack.own_session(%(own_pid)s)
FROM billstack.backfills
WHERE leases.backfill_id = %(backfill_id)s
    AND leases.part = %(part)s
    AND backfills.id = leases.backfill_id
    AND backfills.state = 'running'
    AND NOT leases.done
    AND billstack.is_free(leases, %(lease_s)s, %(pooled_s)s, %(silent_s)s)
RETURNING leases.fence;

-- name: acquire_all
-- For a backfill that nobody has begun. In the parts' order, so that concurrent callers cannot deadlock. Without types
-- that are read parent by parent, which have no first page.
WITH free AS MATERIALIZED (
    SELECT leases.part
    FROM billstack.leases
    JOIN billstack.backfills ON backfills.id = leases.backfill_id
    WHERE leases.backfill_id = %(backfill_id)s
        AND leases.part <> 'finish'
        AND leases.after IS NULL
        AND leases.fence = 0
        AND NOT leases.held
        AND NOT leases.done
        AND backfills.state = 'running'
        AND backfills.adopted IS NULL
    ORDER BY leases.part
    FOR UPDATE OF leases
)
UPDATE billstack.leases
SET fence = fence + 1,
    held = true,
    renewed_at = clock_timestamp(),
    holder = %(holder)s,
    session = billstack.own_session(%(own_pid)s)
FROM free
WHERE leases.backfill_id = %(backfill_id)s AND leases.part = free.part
RETURNING leases.part;

-- name: hold
-- Call it before adding windows. Until the commit nobody can cancel the backfill or take the part over: they could not
-- see the new windows, which would keep a fence that still writes.
SELECT leases.fence
FROM billstack.leases
JOIN billstack.backfills ON backfills.id = leases.backfill_id
WHERE leases.backfill_id = %(backfill_id)s
    AND leases.part = %(part)s
    AND leases.fence = %(fence)s
    AND leases.held
    AND backfills.state = 'running'
FOR SHARE;

-- name: renew
UPDATE billstack.leases
SET renewed_at = clock_timestamp(), session = billstack.own_session(%(own_pid)s)
FROM billstack.backfills
WHERE leases.backfill_id = %(backfill_id)s
    AND leases.part = %(part)s
    AND leases.fence = %(fence)s
    AND leases.held
    AND backfills.id = leases.backfill_id
    AND backfills.state = 'running'
RETURNING leases.fence;

-- name: give_back
UPDATE billstack.leases
SET held = false, done = %(done)s, renewed_at = clock_timestamp()
WHERE backfill_id = %(backfill_id)s AND part = %(part)s AND fence = %(fence)s
RETURNING fence;

-- name: end_opening
-- All types of the opening that its holder still has, in one commit. Types that are completely read get their exact
-- count, as in end_type. The others become free.
WITH held AS MATERIALIZED (
    SELECT part
    FROM billstack.leases
    WHERE backfill_id = %(backfill_id)s AND part = ANY (%(parts)s::text[]) AND fence = %(fence)s AND held
    ORDER BY part
    FOR UPDATE
),
counts AS MATERIALIZED (
    SELECT windows.type, sum(windows.counted) AS synced, sum(windows.written) AS written
    FROM held
    JOIN billstack.windows ON windows.backfill_id = %(backfill_id)s AND windows.type = held.part
    WHERE held.part = ANY (%(read)s::text[])
    GROUP BY windows.type
    HAVING bool_and(windows.done)
),
counted AS (
    INSERT INTO billstack.activity AS activity (team_id, hour, what, count)
    SELECT backfills.team_id, date_trunc('hour', clock_timestamp(), 'UTC'), counts.type, counts.written
    FROM counts
    JOIN billstack.backfills ON backfills.id = %(backfill_id)s
    WHERE counts.written > 0
    ORDER BY counts.type
    ON CONFLICT (team_id, hour, what) DO UPDATE SET count = activity.count + excluded.count
),
ended AS (
    UPDATE billstack.backfill_types
    SET status = 'ready', error = NULL, synced = counts.synced, written = counts.written, progress = 1, moved_at = clock_timestamp()
    FROM counts
    WHERE backfill_types.backfill_id = %(backfill_id)s AND backfill_types.type = counts.type
)
UPDATE billstack.leases
SET held = false, done = EXISTS (SELECT FROM counts WHERE counts.type = leases.part), renewed_at = clock_timestamp()
FROM held
WHERE leases.backfill_id = %(backfill_id)s AND leases.part = held.part
RETURNING leases.part, leases.done;

-- name: due_parts
-- Work that nobody holds although it could be done: never enqueued, its job lost, or its holder dead. The part whose
-- last turn is longest ago comes first, so none starves. Types that are read parent by parent take longest and come last.
SELECT leases.backfill_id, backfills.team_id, leases.part, leases.fence, leases.held, backfills.request_id,
    leases.after IS NULL AND backfills.adopted IS NULL AND NOT EXISTS (
        SELECT
        FROM billstack.leases AS begun
        WHERE begun.backfill_id = leases.backfill_id AND begun.fence > 0
    ) AS untouched
FROM billstack.leases
JOIN billstack.backfills ON backfills.id = leases.backfill_id
WHERE NOT leases.done
    AND backfills.state = 'running'
    AND (%(backfill_id)s::text IS NULL OR leases.backfill_id = %(backfill_id)s)
    AND billstack.is_free(leases, %(lease_s)s, %(pooled_s)s, %(silent_s)s)
ORDER BY leases.after IS NOT NULL, leases.renewed_at, leases.part;

-- name: let_go
-- The holder could not continue. Not free at once: the cause, such as a full disk or a restarting Postgres, may last.
UPDATE billstack.leases
SET session = '0@0'
WHERE backfill_id = %(backfill_id)s AND %(part)s IN (part, %(opening)s) AND held AND fence = %(fence)s
RETURNING fence;

-- name: release_dead
-- The worker saw its work-horse die, so there is no need to wait for the lease to expire.
UPDATE billstack.leases
SET held = false, renewed_at = clock_timestamp()
WHERE backfill_id = %(backfill_id)s AND %(part)s IN (part, %(opening)s) AND held AND fence = %(fence)s
RETURNING fence;
