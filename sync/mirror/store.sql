-- The statements on one team's mirror. {team} is the team's schema, {table} the table of one object type; both are
-- bound when the store is built (sync/mirror/store.py).

-- name: page_settings
-- Settings for writing pages, for the transaction only: a session's settings would stay with a pooler's connection and
-- affect its next client. A page does not wait for its fsync, which can take 40 ms. Rows, seen and checkpoint are lost
-- together or not at all, and the lease's next renewal waits for an fsync that makes all of them durable. The rows of a
-- page are looked up by id, whatever the planner thinks of a table that was empty when it last looked; otherwise it
-- would keep a plan with a scan. And the statement is planned once, not five times until Postgres keeps its plan.
SELECT set_config('synchronous_commit', 'off', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true);

-- name: lock_window
-- The first statement of a page's transaction. Returns nothing unless the window still has the caller's fence. Until
-- the commit, nobody can split the window, take it over, or write an event of this type (lock_type). A job's two
-- connections were opened one after the other, so they rarely ask for the same turn.
SELECT 1
FROM billstack.windows
JOIN billstack.turns
    ON turns.team_id = %(team_id)s
    AND turns.type = windows.type
    AND turns.number = mod(pg_backend_pid(), 4)
WHERE windows.backfill_id = %(backfill_id)s
    AND windows.type = %(type)s
    AND windows.number = %(number)s
    AND windows.fence = %(fence)s
    AND NOT windows.done
FOR UPDATE;

-- name: mirror_page
-- Rows, seen, count and checkpoint of a page in one statement: each further one costs Python as much as the page. It is
-- sent together with lock_window, so it checks by itself whether the window is the caller's. If not, it returns no row.
-- Nor if the window is not where the page's request found it: a crash of Postgres may have lost the page before.
-- `completed` has replacements by id: an array of all items for a cut list, or the whole object, or null for an object
-- that was deleted.
-- Equal rows are left out before the INSERT: its conflict path would lock and log them even unwritten. Strictly newer
-- wins. Objects that overlap in time and differ are returned, and a fetch settles them.
-- Only pages whose ranges of `created` overlap can contain the same object and count it twice: a repeated page, a
-- reopened window, another variant. If ids may be used again, later tails compare with all pages, which takes a second
-- per two million ids.
WITH held AS MATERIALIZED (
    SELECT windows.floor, windows.lt, %(reuses_ids)s AND windows.gte >= backfills.upper AS looks_at_all
    FROM billstack.windows
    JOIN billstack.backfills ON backfills.id = windows.backfill_id
    WHERE windows.backfill_id = %(backfill_id)s
        AND windows.type = %(type)s
        AND windows.number = %(number)s
        AND windows.fence = %(fence)s
        AND windows.cursor IS NOT DISTINCT FROM %(starting_after)s
        AND NOT windows.done
),
page AS MATERIALIZED (
    SELECT object ->> 'id' AS id,
        CASE jsonb_typeof(part)
            WHEN 'array' THEN jsonb_set(jsonb_set(object, ARRAY[%(list)s, 'has_more'], 'false'), ARRAY[%(list)s, 'data'], part)
            WHEN 'object' THEN part
            ELSE object
        END AS raw,
        coalesce(billstack.as_bigint(object -> %(paging_field)s::text), %(undated)s::bigint) AS created
    FROM held
    CROSS JOIN jsonb_array_elements(%(page)s::jsonb -> 'data') AS object
    CROSS JOIN LATERAL (SELECT %(completed)s::jsonb -> (object ->> 'id') AS part) AS completed
    WHERE part IS DISTINCT FROM 'null'
        AND coalesce(billstack.as_bigint(object -> %(paging_field)s::text), %(undated)s::bigint) >= held.floor
        AND coalesce(billstack.as_bigint(object -> %(paging_field)s::text), %(undated)s::bigint) < held.lt
),
span AS MATERIALIZED (
    SELECT billstack.span_of(%(ordinal)s, min(page.created), max(page.created)) AS span
    FROM page
    HAVING count(*) > 0
),
met_before AS MATERIALIZED (
    SELECT unnest(seen_pages.ids) AS id
    FROM {team}.seen_pages
    WHERE seen_pages.type = %(type)s
        AND seen_pages.span && (
            SELECT CASE WHEN held.looks_at_all THEN int8range(NULL, NULL) ELSE span.span END
            FROM span, held
        )
),
newly_met AS MATERIALIZED (
    SELECT page.id
    FROM page
    EXCEPT
    SELECT met_before.id
    FROM met_before
),
newly_seen AS (
    INSERT INTO {team}.seen_pages (type, span, ids)
    SELECT %(type)s, span.span, array_agg(newly_met.id)
    FROM span, newly_met
    GROUP BY span.span
),
different AS MATERIALIZED (
    SELECT page.id, page.raw, coalesce(known.as_of > %(as_of_until)s, false) AS outdated
    FROM page
    LEFT JOIN {team}.{table} AS known ON known.id = page.id
    WHERE known.id IS NULL OR known.raw <> page.raw OR known.deleted_at IS NOT NULL
),
written AS (
    INSERT INTO {team}.{table} AS mirror (id, raw, as_of, as_of_until)
    SELECT different.id, different.raw, %(as_of)s::bigint, %(as_of_until)s::bigint
    FROM different
    ORDER BY different.id
    ON CONFLICT (id) DO UPDATE
    SET raw = excluded.raw, as_of = excluded.as_of, as_of_until = excluded.as_of_until, deleted_at = NULL, synced_at = now()
    WHERE mirror.as_of_until < excluded.as_of
    RETURNING mirror.id
),
named AS (
    INSERT INTO {team}.named_prices (id)
    SELECT jsonb_array_elements_text(%(named_prices)s::jsonb)
    FROM held
    ON CONFLICT DO NOTHING
),
advanced AS (
    UPDATE billstack.windows
    SET cursor = coalesce(%(cursor)s, cursor),
        newest = coalesce(newest, %(newest)s),
        oldest = coalesce(%(oldest)s, oldest),
        pages = pages + %(pages)s,
        met = met + (SELECT count(*) FROM page),
        counted = counted + (SELECT count(*) FROM newly_met),
        written = windows.written + (SELECT count(*) FROM written),
        -- A list that is not newest first goes on below the floor, and comes to it later.
        done = NOT %(has_more)s OR coalesce(%(oldest)s < windows.floor AND %(oldest)s <= coalesce(newest, %(newest)s), false),
        checked_until = greatest(checked_until, %(as_of_until)s)
    FROM held
    WHERE backfill_id = %(backfill_id)s
        AND type = %(type)s
        AND number = %(number)s
)
SELECT
    (SELECT count(*) FROM newly_met) AS counted,
    ARRAY(
        SELECT different.id
        FROM different
        WHERE NOT different.outdated
            AND different.id NOT IN (SELECT written.id FROM written)
    ) AS overlapping
FROM held;

-- name: keep_order
-- Objects of a list that share their second, with their ranks in it. Places change only where the list contradicts them. So
-- those of a second's other objects stay right: of a team's prices, Stripe lists the active ones and the others apart. The
-- others of a second are placed around the first that has a place. The first place of all leaves room for newer objects.
WITH listed AS MATERIALIZED (
    SELECT each.id, each.second, each.rank, known.place
    FROM unnest(%(ids)s::text[], %(seconds)s::bigint[], %(ranks)s::integer[]) AS each (id, second, rank)
    LEFT JOIN {team}.shared_seconds AS known
        ON known.type = %(type)s AND known.id = each.id AND known.second = each.second
),
compared AS MATERIALIZED (
    SELECT listed.id, listed.second, listed.place,
        listed.place > lag(listed.place, 1, 0) OVER (PARTITION BY listed.second ORDER BY listed.rank) AS is_in_order,
        listed.rank + coalesce(
            first_value(listed.place - listed.rank) OVER (PARTITION BY listed.second ORDER BY listed.place IS NULL, listed.rank),
            1000000000
        ) AS right_place
    FROM listed
)
INSERT INTO {team}.shared_seconds (type, id, second, place)
SELECT %(type)s, compared.id, compared.second, compared.right_place
FROM compared
WHERE compared.place IS DISTINCT FROM compared.right_place
    AND compared.second IN (SELECT second FROM compared WHERE is_in_order IS NOT TRUE)
ORDER BY compared.id
ON CONFLICT (type, id) DO UPDATE SET second = excluded.second, place = excluded.place;

-- name: reject
INSERT INTO {team}.rejects (type, id, reason)
VALUES (%(type)s, %(id)s, %(reason)s)
ON CONFLICT (type, id) DO UPDATE
SET reason = excluded.reason, rejected_at = now();

-- name: forget_rejects
DELETE FROM {team}.rejects
WHERE type = ANY (%(types)s);

-- name: rejects
SELECT type, id, reason, count(*) OVER (PARTITION BY type) AS rejected
FROM {team}.rejects
WHERE type = ANY (%(types)s)
ORDER BY type, rejected_at DESC;

-- name: version
-- Changes with every write of the row. put_fetched and put_deleted compare it. After a crash, Postgres gives the numbers
-- of lost transactions again, so one of them does not say which row is meant.
SELECT concat_ws(' ', xmin, as_of, as_of_until, extract(epoch FROM synced_at))
FROM {team}.{table}
WHERE id = %(id)s;

-- name: known_as_of
SELECT id, as_of
FROM {team}.{table}
WHERE id = ANY (%(ids)s);

-- name: put_fetched
-- A fetched object replaces the row that was there when the fetch began, and any row wholly older than the fetch.
-- Returns written, equal (left alone) or changed (somebody wrote the row meanwhile: fetch again). With `advance`, an
-- equal row takes the fetch's time: the settled event will not come again, but an earlier one may.
WITH equal AS MATERIALIZED (
    SELECT id
    FROM {team}.{table}
    WHERE id = %(id)s AND raw = %(raw)s AND deleted_at IS NULL
),
written AS (
    INSERT INTO {team}.{table} AS mirror (id, raw, as_of, as_of_until)
    SELECT %(id)s, %(raw)s, %(as_of)s, %(as_of_until)s
    WHERE NOT EXISTS (SELECT FROM equal)
    ON CONFLICT (id) DO UPDATE
    SET raw = excluded.raw, as_of = excluded.as_of, as_of_until = excluded.as_of_until, deleted_at = NULL, synced_at = now()
    WHERE concat_ws(' ', mirror.xmin, mirror.as_of, mirror.as_of_until, extract(epoch FROM mirror.synced_at)) = %(version)s
        OR mirror.as_of_until < excluded.as_of
    RETURNING 1
),
advanced AS (
    UPDATE {team}.{table} AS mirror
    SET as_of = greatest(mirror.as_of, %(as_of)s), as_of_until = greatest(mirror.as_of_until, %(as_of_until)s)
    FROM equal
    WHERE %(advance)s AND mirror.id = equal.id AND mirror.raw = %(raw)s AND mirror.deleted_at IS NULL
    RETURNING 1
)
SELECT CASE
    WHEN EXISTS (SELECT FROM advanced) OR EXISTS (SELECT FROM equal) AND NOT %(advance)s THEN 'equal'
    WHEN EXISTS (SELECT FROM written) THEN 'written'
    ELSE 'changed'
END;

-- name: put_deleted
-- The same for an object that Stripe no longer has. Its last known state stays as a tombstone.
UPDATE {team}.{table}
SET deleted_at = coalesce(deleted_at, to_timestamp(%(as_of)s)), as_of = %(as_of)s, as_of_until = %(as_of_until)s, synced_at = now()
WHERE id = %(id)s
    AND (
        concat_ws(' ', xmin, as_of, as_of_until, extract(epoch FROM synced_at)) = %(version)s
        OR as_of_until < %(as_of)s
    )
RETURNING 1;

-- name: lock_type
-- Makes events of a type wait for its pages in flight. A page leaves equal rows alone, so without this an older event
-- could slip in between the page's look and its commit. Creates missing turns; the type's first window waits for that
-- (make_turns in schema.sql).
WITH made AS (
    INSERT INTO billstack.turns (team_id, type, number)
    SELECT %(team_id)s, %(type)s, number
    FROM generate_series(0, 3) AS number
    ON CONFLICT DO NOTHING
)
SELECT 1
FROM billstack.turns
WHERE team_id = %(team_id)s AND type = %(type)s
ORDER BY number
FOR UPDATE;

-- name: checked_until
SELECT asked.type,
    greatest(
        kept.until,
        (
            SELECT max(windows.checked_until)
            FROM billstack.windows
            WHERE windows.backfill_id = ANY (ARRAY(SELECT id FROM billstack.backfills WHERE team_id = %(team_id)s))
                AND windows.type = asked.type
        )
    )
FROM unnest(%(types)s::text[]) AS asked (type)
LEFT JOIN {team}.checked AS kept ON kept.type = asked.type;

-- name: judge_event
-- What an event's object, which was true at the second `created`, does to the row: advance (it is equal, and takes the
-- event's time), update, older (the row is newer) or doubtful (ask Stripe). No row: insert. The row stays locked.
SELECT CASE
    -- A row from the future, left by an earlier version, would be newer than everything that comes.
    WHEN as_of > extract(epoch FROM now()) + %(leeway_s)s THEN 'doubtful'
    WHEN %(created)s::bigint < as_of THEN 'older'
    -- Only Stripe can say whether it lives: a product's own id may be used again after its deletion.
    WHEN deleted_at IS NOT NULL THEN 'doubtful'
    WHEN raw = %(raw)s::jsonb THEN 'advance'
    WHEN as_of_until < %(created)s::bigint THEN 'update'
    ELSE 'doubtful'
END
FROM {team}.{table}
WHERE id = %(id)s
FOR UPDATE;

-- name: insert_event
-- Fails if somebody else has inserted the row meanwhile, because that row has not been judged.
INSERT INTO {team}.{table} (id, raw, as_of, as_of_until)
VALUES (%(id)s, %(raw)s::jsonb, %(created)s::bigint, %(created)s::bigint);

-- name: update_event
UPDATE {team}.{table}
SET raw = %(raw)s::jsonb, as_of = %(created)s::bigint, as_of_until = %(created)s::bigint, synced_at = now()
WHERE id = %(id)s;

-- name: advance_event
UPDATE {team}.{table}
SET as_of = greatest(as_of, %(created)s::bigint), as_of_until = greatest(as_of_until, %(created)s::bigint)
WHERE id = %(id)s;

-- name: apply_deletion
-- Writes a tombstone, even if there was no row, unless the row was read after the event. Returns applied, older or
-- doubtful. If ids may be used again, a row that was alive in that very second may be a new life: only Stripe can
-- say.
WITH written AS (
    INSERT INTO {team}.{table} AS mirror (id, raw, as_of, as_of_until, deleted_at)
    VALUES (%(id)s, %(raw)s::jsonb, %(created)s::bigint, %(created)s::bigint, to_timestamp(%(created)s::bigint))
    ON CONFLICT (id) DO UPDATE
    SET as_of = excluded.as_of,
        as_of_until = greatest(mirror.as_of_until, excluded.as_of_until),
        deleted_at = coalesce(mirror.deleted_at, excluded.deleted_at),
        synced_at = now()
    WHERE mirror.as_of <= excluded.as_of
        AND (mirror.as_of_until < excluded.as_of OR mirror.deleted_at IS NOT NULL OR NOT %(reuses_ids)s)
    RETURNING 1
)
SELECT CASE
    WHEN EXISTS (SELECT FROM written) THEN 'applied'
    WHEN EXISTS (
        SELECT
        FROM {team}.{table}
        WHERE id = %(id)s AND as_of > %(created)s::bigint AND as_of <= extract(epoch FROM now()) + %(leeway_s)s
    ) THEN 'older'
    ELSE 'doubtful'
END;

-- name: suspects
-- Live rows of the covered range that this backfill's lists did not contain: deleted at Stripe, or left out of its
-- lists. This is a set difference, which Postgres sorts or hashes. Right after a backfill the tables are not analyzed,
-- and an anti join becomes a nested loop: up to Postgres 15 it read everything that was met once for each row.
SELECT unmet.id
FROM (
    SELECT mirror.id
    FROM {team}.{table} AS mirror
    WHERE mirror.deleted_at IS NULL
        AND mirror.id > %(after)s
        AND (mirror.created IS NULL OR (mirror.created >= to_timestamp(%(gte)s) AND mirror.created < to_timestamp(%(lt)s)))
    EXCEPT
    SELECT unnest(ids)
    FROM {team}.seen_pages
    WHERE type = %(type)s
) AS unmet
ORDER BY unmet.id
LIMIT %(limit)s;

-- name: missing_prices
-- Prices that subscription items or invoice lines name and that no list contained (stripe-facts section 2).
SELECT named_prices.id
FROM {team}.named_prices
WHERE NOT EXISTS (SELECT FROM {team}.prices WHERE prices.id = named_prices.id)
ORDER BY named_prices.id;

-- name: forget_seen
TRUNCATE {team}.seen_pages, {team}.named_prices;

-- name: keep_checked
-- A new backfill deletes the windows of earlier ones. The moment up to which they looked is kept.
INSERT INTO {team}.checked AS known (type, until)
SELECT windows.type, max(windows.checked_until)
FROM billstack.windows
WHERE windows.backfill_id = ANY (ARRAY(SELECT id FROM billstack.backfills WHERE team_id = %(team_id)s))
    AND windows.checked_until IS NOT NULL
GROUP BY windows.type
ON CONFLICT (type) DO UPDATE
SET until = greatest(known.until, excluded.until);

-- name: grown
-- Tables that have changed so much since their last ANALYZE that autovacuum will analyze them at its next turn. That
-- takes a minute or more, and until then Postgres takes a freshly filled table for nearly empty.
SELECT pg_class.relname
FROM pg_class
WHERE pg_class.oid = ANY (%(tables)s::regclass[])
    AND pg_stat_get_mod_since_analyze(pg_class.oid) > 50 + 0.1 * greatest(pg_class.reltuples, 0);

-- name: analyze
-- Does not wait for whatever else is working on the table.
ANALYZE (SKIP_LOCKED) {team}.{table};
