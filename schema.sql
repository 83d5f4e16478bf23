-- The whole database as one text. `flask --app api init-db` applies it (sync/database/upgrade.py). Each statement may
-- run again on a database that has it already, even while BillStack is running.
--
--   Part 1  schema billstack       people, connections, backfills, the event ledger: once
--   Part 2  schema {team}          the mirror of one Stripe account: once per team; `{team}` is stripe_ + the team's id
--           type ...               a type's table, in each schema whose team mirrors the type
--   Part 3  views of {team}        numbers from the tables of part 2: once per team
--   Part 4  role {reader}          the read rights of a team's database role: once per team that asked for one
--
-- A change raises SCHEMA_VERSION in sync/database/schema.py. To add a column to a table of part 1, put ALTER TABLE ...
-- ADD COLUMN IF NOT EXISTS beside its CREATE. To change a table of part 2, change its CREATE and nothing else: init-db
-- finds the difference and rebuilds the table while the old one is in use (sync/database/rebuild.py). It drops the views
-- of part 3 and creates them again when one of them differs, or when a table is rebuilt.

-- part: control --------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS billstack;
-- Every database role has the rights of PUBLIC, including the teams' roles (part 4).
REVOKE ALL ON SCHEMA billstack FROM PUBLIC;

CREATE TABLE IF NOT EXISTS billstack.schema_version (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    version integer NOT NULL,
    oldest_program integer,          -- programs from this version on work on it, for the time of a rolling deploy
    definition text,                 -- a hash of this part, so that init-db leaves alone what has it already
    applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE billstack.schema_version
    ADD COLUMN IF NOT EXISTS oldest_program integer,
    ADD COLUMN IF NOT EXISTS definition text;

-- People -----------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.users (
    id text PRIMARY KEY,
    email text NOT NULL,
    password_hash text NOT NULL,  -- argon2id, in its own text format
    created_at timestamptz NOT NULL DEFAULT now()
);
-- The one place that decides which addresses are the same. Python's lower case differs for some letters.
CREATE UNIQUE INDEX IF NOT EXISTS users_email ON billstack.users (lower(email));
-- An operator of the server, not of a team. Only the command line changes it.
ALTER TABLE billstack.users ADD COLUMN IF NOT EXISTS is_operator boolean NOT NULL DEFAULT false;

CREATE TABLE IF NOT EXISTS billstack.sessions (
    token_sha256 bytea PRIMARY KEY,  -- the cookie itself is never stored
    user_id text NOT NULL REFERENCES billstack.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_user ON billstack.sessions (user_id);
-- Where the session was used last, so that its owner recognizes it.
ALTER TABLE billstack.sessions ADD COLUMN IF NOT EXISTS address text;
ALTER TABLE billstack.sessions ADD COLUMN IF NOT EXISTS agent text;

CREATE TABLE IF NOT EXISTS billstack.teams (
    id text PRIMARY KEY,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS billstack.members (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES billstack.users ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX IF NOT EXISTS members_user ON billstack.members (user_id);

-- Sign-in attempts by account, address and device. Not in Redis: signing in needs Postgres anyway, and the count must
-- hold while Redis is unavailable. Unlogged: a crash of Postgres resets it.
CREATE UNLOGGED TABLE IF NOT EXISTS billstack.attempts (
    who bytea PRIMARY KEY,           -- a digest: neither addresses nor e-mails stand here
    spent integer NOT NULL,
    ends_at timestamptz NOT NULL     -- of the window, which begins with the first attempt
);

-- Invitations to a team. A person belongs to the team after accepting with the link, which only the inviter was shown.
CREATE TABLE IF NOT EXISTS billstack.invitations (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'viewer')),
    token_sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS invitations_email ON billstack.invitations (team_id, lower(email));

-- Links that work once: for the first-run set-up, while there is no user, and for a new password.
CREATE TABLE IF NOT EXISTS billstack.one_time_links (
    token_sha256 bytea PRIMARY KEY,  -- the token itself is never stored
    purpose text NOT NULL CHECK (purpose IN ('set_up', 'new_password')),
    user_id text REFERENCES billstack.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- Who did what to keys, members, connections, access, syncs and operators. Kept for 400 days
-- (sync/database/leftovers.py). Nothing refers to other tables: an entry outlives its team and person.
CREATE TABLE IF NOT EXISTS billstack.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    team_id text,                    -- NULL: of the server
    actor_id text,                   -- a user; NULL: the command line
    actor text NOT NULL,             -- their e-mail address then, or "command line"
    action text NOT NULL,            -- key.created, member.removed...
    target text,                     -- an id or an address
    details jsonb NOT NULL,
    address text,
    request_id text                  -- as in the log's lines
);
CREATE INDEX IF NOT EXISTS audit_log_team ON billstack.audit_log (team_id, id);
CREATE INDEX IF NOT EXISTS audit_log_at ON billstack.audit_log (at);

-- Projects ---------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.projects (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (team_id, id)             -- what refers to a project names its team too, so that the two always fit
);

CREATE TABLE IF NOT EXISTS billstack.api_keys (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    project_id text,                 -- NULL: of every project of the team, and of the mirror
    name text NOT NULL,
    prefix text NOT NULL,            -- bs_ and eight digits: shown, and what a key is found by
    key_sha256 bytea NOT NULL,       -- the key itself is never stored
    scopes text[] NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,        -- to the minute
    FOREIGN KEY (team_id, project_id) REFERENCES billstack.projects (team_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS api_keys_prefix ON billstack.api_keys (prefix);
CREATE INDEX IF NOT EXISTS api_keys_project ON billstack.api_keys (team_id, project_id);

-- The Stripe account behind a team ---------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.connections (
    team_id text PRIMARY KEY REFERENCES billstack.teams ON DELETE CASCADE,
    account_id text NOT NULL,        -- kept after a disconnect: the mirrored rows are still this account's
    account_name text,
    livemode boolean NOT NULL,
    secret_key bytea,                -- encrypted (sync/teams/secrets.py); NULL once disconnected
    publishable_key text,
    -- Signing secrets, all encrypted. An event is accepted if any of them signed it.
    webhook_secret bytea,            -- pasted by a person
    previous_webhook_secret bytea,   -- the one pasted before, valid for a while beside its successor
    previous_secret_until timestamptz,
    endpoint_id text,                -- the webhook endpoint that we made at Stripe ourselves
    endpoint_secret bytea,           -- its secret
    key_valid boolean NOT NULL DEFAULT true,
    connected_at timestamptz NOT NULL DEFAULT now(),
    disconnected_at timestamptz,
    last_event_at timestamptz,
    delivered_version text,          -- API version of the event that was delivered last
    swept_until bigint,              -- /v1/events is read up to here, on Stripe's clock
    sweep_due_at timestamptz NOT NULL DEFAULT now(),
    sweep_error text,
    missed_at timestamptz,           -- a sweep found an event that Stripe had not delivered
    unread_until bigint              -- events before it were forgotten by Stripe before we could read them
);
ALTER TABLE billstack.connections ADD COLUMN IF NOT EXISTS missed_at timestamptz;
ALTER TABLE billstack.connections ADD COLUMN IF NOT EXISTS unread_until bigint;
-- Deliveries from Stripe: the last one that we accepted, and how long after its event it was applied. Also those with a
-- wrong signature since the last valid one.
ALTER TABLE billstack.connections
    ADD COLUMN IF NOT EXISTS delivered_at timestamptz,
    ADD COLUMN IF NOT EXISTS delivery_lag_s integer,
    ADD COLUMN IF NOT EXISTS refused_deliveries bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS refused_since timestamptz,
    ADD COLUMN IF NOT EXISTS refused_at timestamptz,
    ADD COLUMN IF NOT EXISTS secrets_changed_at timestamptz;
-- Stripe's API version that the mirror's objects have. NULL: the program's own.
ALTER TABLE billstack.connections ADD COLUMN IF NOT EXISTS api_version text;
-- Where the team's programs may use its full secret key at the gateway: the key is found by its hash. Whether it is still
-- the connection's key is decided by secret_key itself. NULL: they may not.
ALTER TABLE billstack.connections
    ADD COLUMN IF NOT EXISTS own_key_sha256 bytea,
    ADD COLUMN IF NOT EXISTS own_key_since timestamptz,
    ADD COLUMN IF NOT EXISTS own_key_used_at timestamptz;  -- to the minute
CREATE INDEX IF NOT EXISTS connections_own_key ON billstack.connections (own_key_sha256) WHERE own_key_sha256 IS NOT NULL;

-- Teams that read their mirror with a database role (sync/teams/database_access.py), created on demand. It is deleted
-- with the mirror (purge). Only Postgres has the password.
CREATE TABLE IF NOT EXISTS billstack.database_access (
    team_id text PRIMARY KEY REFERENCES billstack.connections ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    password_set_at timestamptz NOT NULL DEFAULT now()
);

-- Project customers: people in a project, each linked to a Stripe customer. They are deleted with the connection when a
-- team purges its mirror. Stripe's facts about a person are read from the mirror; the other columns serve while it has
-- no row.
CREATE TABLE IF NOT EXISTS billstack.project_customers (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.connections ON DELETE CASCADE,
    project_id text NOT NULL,
    stripe_customer_id text NOT NULL,
    email text NOT NULL,             -- the one of the request that linked it
    name text,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (team_id, project_id) REFERENCES billstack.projects (team_id, id) ON DELETE CASCADE,
    UNIQUE (project_id, stripe_customer_id)
);
CREATE INDEX IF NOT EXISTS project_customers_newest ON billstack.project_customers (project_id, created_at, id);
CREATE INDEX IF NOT EXISTS project_customers_email ON billstack.project_customers (project_id, lower(email));
CREATE INDEX IF NOT EXISTS project_customers_stripe_customer ON billstack.project_customers (team_id, stripe_customer_id);
-- An index of version 2. Postgres took it for nearly as good as a person's key, and read all people of a project for
-- each request until the table was analyzed.
DROP INDEX IF EXISTS billstack.project_customers_project;

-- A request is linking or creating the Stripe customer with this address. A row outlives its request only if Stripe may
-- have created the customer without our knowledge. The next request then continues with the same creation.
CREATE TABLE IF NOT EXISTS billstack.customer_intents (
    team_id text NOT NULL REFERENCES billstack.connections ON DELETE CASCADE,
    email text NOT NULL,             -- in lower case
    holder text NOT NULL,            -- the request that may go on with it, until it is late
    held_until timestamptz NOT NULL,
    idempotency_key text,            -- set before Stripe is asked to create, with all that Stripe is asked for
    creation jsonb,
    PRIMARY KEY (team_id, email)
);

-- Backfills --------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.backfills (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    objects text[] NOT NULL,
    created_after timestamptz,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ready', 'error', 'canceled')),
    request_id text,                 -- X-Request-Id of the POST, for the log lines of its jobs
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    -- Both on Stripe's clock, in whole seconds, set by the first job. An adopting backfill takes over the original's.
    started bigint,                  -- events since then (less a minute) are replayed at the end
    upper bigint,                    -- windows end before it; what came later is the tail's
    error text,
    warnings text[] NOT NULL DEFAULT ARRAY[]::text[],
    adopted text REFERENCES billstack.backfills ON DELETE SET NULL  -- the errored one whose work went on here
);
CREATE UNIQUE INDEX IF NOT EXISTS backfills_one_running ON billstack.backfills (team_id) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS backfills_history ON billstack.backfills (team_id, requested_at DESC, id);

CREATE TABLE IF NOT EXISTS billstack.backfill_types (
    backfill_id text NOT NULL REFERENCES billstack.backfills ON DELETE CASCADE,
    type text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'syncing', 'ready', 'error')),
    synced bigint NOT NULL DEFAULT 0,     -- as of the last lease renewal; the truth is the sum over windows
    progress real NOT NULL DEFAULT 0,
    error text,
    written bigint NOT NULL DEFAULT 0,    -- rows that its pages wrote, as of the last renewal: what was new or had changed
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- when the count or the progress last rose
    PRIMARY KEY (backfill_id, type)
);
ALTER TABLE billstack.backfill_types ADD COLUMN IF NOT EXISTS written bigint NOT NULL DEFAULT 0;
ALTER TABLE billstack.backfill_types ADD COLUMN IF NOT EXISTS moved_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- The right to work on one part of a backfill: an object type, or 'finish'. The scheduler enqueues every unfinished
-- part that has no live lease.
CREATE TABLE IF NOT EXISTS billstack.leases (
    backfill_id text NOT NULL REFERENCES billstack.backfills ON DELETE CASCADE,
    part text NOT NULL,
    fence bigint NOT NULL DEFAULT 0,      -- grows with every holder; a page whose fence is not the window's is refused
    held boolean NOT NULL DEFAULT false,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- while not held: when it was last enqueued
    done boolean NOT NULL DEFAULT false,
    holder text,                          -- host and process, for people
    session text,                         -- the connection that renewed it last (own_session)
    after text,                           -- the part whose objects it reads one by one, and which must be done first
    PRIMARY KEY (backfill_id, part)
);
ALTER TABLE billstack.leases
    ADD COLUMN IF NOT EXISTS holder text,
    ADD COLUMN IF NOT EXISTS session text,
    ADD COLUMN IF NOT EXISTS after text;
CREATE INDEX IF NOT EXISTS leases_open ON billstack.leases (renewed_at) WHERE NOT done;

-- Identifies the current connection: its server process and start time, because process numbers are reused.
CREATE OR REPLACE FUNCTION billstack.this_session() RETURNS text LANGUAGE sql STABLE
RETURN (
    SELECT backend.pid || '@' || extract(epoch FROM backend.backend_start)
    FROM pg_stat_get_activity(pg_backend_pid()) AS backend
);

-- The same for a client that knows its server process by that number. NULL behind a pooler, which gives each client a
-- number of its own: the server's connection then stays open when the client is gone and proves nothing.
CREATE OR REPLACE FUNCTION billstack.own_session(own_pid integer) RETURNS text LANGUAGE sql STABLE
RETURN CASE WHEN pg_backend_pid() = own_pid THEN billstack.this_session() END;

-- Whether that connection is closed. Postgres knows: a killed process' connections close at once, a dead host's within
-- seconds (sync/database/session.py); a paused process' stay open. Other roles' start times are hidden, so nothing is
-- known.
CREATE OR REPLACE FUNCTION billstack.session_ended(session text) RETURNS boolean LANGUAGE sql STABLE
RETURN session IS NOT NULL AND NOT EXISTS (
    SELECT
    FROM pg_stat_get_activity(split_part(session, '@', 1)::integer) AS backend
    WHERE backend.backend_start IS NULL
        OR split_part(session, '@', 2) = extract(epoch FROM backend.backend_start)::text
);

-- Whether a holder that renewed last at that moment over that connection is dead.
CREATE OR REPLACE FUNCTION billstack.has_died(session text, renewed_at timestamptz, silent_s double precision)
RETURNS boolean LANGUAGE sql
RETURN renewed_at < clock_timestamp() - silent_s * interval '1 second' AND billstack.session_ended(session);

-- Whether a part that is not done may be taken: never taken, given back, or with a dead holder. Nobody gets `finish`
-- before all types are done: it would declare half a mirror ready. A type that is read parent by parent waits for its
-- parents' type.
CREATE OR REPLACE FUNCTION billstack.is_free(
    lease billstack.leases, lease_s double precision, pooled_s double precision, silent_s double precision
)
RETURNS boolean LANGUAGE sql
RETURN (
        NOT lease.held
        OR lease.renewed_at < clock_timestamp() - lease_s * interval '1 second'
        OR (lease.session IS NULL AND lease.renewed_at < clock_timestamp() - pooled_s * interval '1 second')
        OR billstack.has_died(lease.session, lease.renewed_at, silent_s)
    )
    AND NOT EXISTS (
        SELECT
        FROM billstack.leases AS others
        WHERE others.backfill_id = lease.backfill_id
            AND NOT others.done
            AND (others.part = lease.after OR (lease.part = 'finish' AND others.part <> 'finish'))
    );

-- A half-open range [gte, lt) of `created`, read newest first with its own cursor (sync/backfill/windows.py).
CREATE TABLE IF NOT EXISTS billstack.windows (
    backfill_id text NOT NULL REFERENCES billstack.backfills ON DELETE CASCADE,
    type text NOT NULL,
    number integer NOT NULL,
    variant integer NOT NULL,             -- index into the type's list filters (sync/object_types.py)
    gte bigint NOT NULL,                  -- the filter sent to Stripe; never changed under a cursor
    lt bigint NOT NULL,
    floor bigint NOT NULL,                -- >= gte: what is older was given to another window
    cursor text,                          -- starting_after of the next page, or the last parent done; NULL before the first
    newest bigint,                        -- created of the first object met
    oldest bigint,                        -- created of the last object met
    pages integer NOT NULL DEFAULT 0,
    met bigint NOT NULL DEFAULT 0,        -- objects at or above the floor
    counted bigint NOT NULL DEFAULT 0,    -- of those, the ones no other page of this backfill had met
    done boolean NOT NULL DEFAULT false,
    fence bigint NOT NULL,                -- of the lease whose holder may write pages of this window
    checked_until bigint,                 -- end of its newest page, on Stripe's clock
    written bigint NOT NULL DEFAULT 0,    -- rows that its pages wrote, because they were new or had changed
    seen_from bigint,                     -- of a type read parent by parent: all earlier transactions were visible to it
    PRIMARY KEY (backfill_id, type, number)
);
ALTER TABLE billstack.windows
    ADD COLUMN IF NOT EXISTS written bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS seen_from bigint;

-- Locks --------------------------------------------------------------------------------------------------------------
-- Rows that exist only to be locked. Any role may take any advisory lock, so a reader of one team could stop another's
-- writers. Locking a row takes a right to its table.

CREATE TABLE IF NOT EXISTS billstack.locks (
    name text PRIMARY KEY
);
INSERT INTO billstack.locks (name) VALUES ('people'), ('schemas') ON CONFLICT DO NOTHING;

-- A page of a type holds one of the type's four turns, an event all of them. So pages run side by side, like a job's
-- writers, and events wait for the pages in flight. With a shared lock on one row, pages could overtake an event for
-- ever.
CREATE TABLE IF NOT EXISTS billstack.turns (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    type text NOT NULL,
    number integer NOT NULL,
    PRIMARY KEY (team_id, type, number)
);

CREATE OR REPLACE FUNCTION billstack.make_turns() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billstack.turns (team_id, type, number)
    SELECT DISTINCT backfills.team_id, added.type, turn.number
    FROM added
    JOIN billstack.backfills ON backfills.id = added.backfill_id
    CROSS JOIN generate_series(0, 3) AS turn (number)
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER make_turns AFTER INSERT ON billstack.windows
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billstack.make_turns();
INSERT INTO billstack.turns (team_id, type, number)
SELECT DISTINCT backfills.team_id, windows.type, turn.number
FROM billstack.windows
JOIN billstack.backfills ON backfills.id = windows.backfill_id
CROSS JOIN generate_series(0, 3) AS turn (number)
ON CONFLICT DO NOTHING;

-- The ledger of events: one row per event Stripe told us of, however often it was delivered -----------------------

CREATE TABLE IF NOT EXISTS billstack.events (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    id text NOT NULL,
    type text NOT NULL,
    created bigint NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'applied', 'skipped', 'refused', 'failed')),
    body text NOT NULL,                   -- as signed; text, for jsonb refuses a NUL in a string
    delivered boolean NOT NULL,           -- by Stripe to our endpoint; false: we read it from /v1/events
    attempts integer NOT NULL DEFAULT 0,
    error text,                           -- why it failed, was refused or skipped
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz NOT NULL DEFAULT now(),
    applied_at timestamptz,
    PRIMARY KEY (team_id, id)
);
-- The connection of the worker that is applying it now (own_session).
ALTER TABLE billstack.events ADD COLUMN IF NOT EXISTS claimed_by text;
CREATE INDEX IF NOT EXISTS events_claimed ON billstack.events (claimed_by)
WHERE claimed_by IS NOT NULL AND state IN ('pending', 'failed');
CREATE INDEX IF NOT EXISTS events_pending ON billstack.events (team_id, next_attempt_at) WHERE state IN ('pending', 'failed');
CREATE INDEX IF NOT EXISTS events_unapplied ON billstack.events (team_id, created) WHERE state IN ('pending', 'failed');
CREATE INDEX IF NOT EXISTS events_failed ON billstack.events (team_id, created) WHERE state = 'failed';
CREATE INDEX IF NOT EXISTS events_received ON billstack.events (received_at);
CREATE INDEX IF NOT EXISTS events_log ON billstack.events (team_id, created, id);

-- What came in, by the hour, for the chart on a team's page. Counting the ledger or the mirror would read all of it.
CREATE TABLE IF NOT EXISTS billstack.activity (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    hour timestamptz NOT NULL,            -- its beginning, on our clock
    what text NOT NULL,                   -- 'event', or a backfill's object type: types that count side by side never wait
    count bigint NOT NULL,
    PRIMARY KEY (team_id, hour, what)
);
CREATE INDEX IF NOT EXISTS activity_hour ON billstack.activity (hour);

-- Comparisons of a whole mirror with Stripe ------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.reconciles (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'error', 'canceled')),
    request_id text,
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    fence bigint NOT NULL DEFAULT 0,      -- grows with every holder
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    upper bigint,                         -- compared is what was created before it, on Stripe's clock
    type text,                            -- the type at work
    compared_until bigint NOT NULL DEFAULT 0,        -- of that type, by created
    suspects jsonb NOT NULL DEFAULT '{}',            -- of that type: what differed, by id, to be looked at again
    found jsonb NOT NULL DEFAULT '{}',               -- by type: how many were compared, which were missing, stale, not deleted
    error text,
    renewed_at timestamptz,               -- by the holder, through `session`, as of a lease
    session text,
    parents_until text NOT NULL DEFAULT ''           -- of a type read parent by parent: the last parent compared
);
ALTER TABLE billstack.reconciles
    ADD COLUMN IF NOT EXISTS renewed_at timestamptz,
    ADD COLUMN IF NOT EXISTS session text,
    ADD COLUMN IF NOT EXISTS parents_until text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX IF NOT EXISTS reconciles_one_running ON billstack.reconciles (team_id) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS reconciles_history ON billstack.reconciles (team_id, requested_at DESC);

-- What comparisons repaired, kept for 30 days (sync/database/leftovers.py): the fields that differed, with their old and
-- new values as JSON texts. Written with the repair, by its transaction.
CREATE TABLE IF NOT EXISTS billstack.repairs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    reconcile_id text NOT NULL,
    type text NOT NULL,
    object_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('missing', 'stale', 'notDeleted')),
    at timestamptz NOT NULL DEFAULT now(),
    fields jsonb NOT NULL,                -- [{"path", "old", "new"}]; NULL for a field that was not there
    more_fields integer NOT NULL DEFAULT 0           -- that differed besides
);
CREATE INDEX IF NOT EXISTS repairs_team ON billstack.repairs (team_id, id);
CREATE INDEX IF NOT EXISTS repairs_at ON billstack.repairs (at);

-- Alerts ---------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS billstack.alert_settings (
    team_id text PRIMARY KEY REFERENCES billstack.teams ON DELETE CASCADE,
    -- Both encrypted (sync/teams/secrets.py): an address may have a token in it.
    webhook_url bytea,
    webhook_secret bytea,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Members who get alerts by e-mail, as long as they are members.
CREATE TABLE IF NOT EXISTS billstack.alert_recipients (
    team_id text NOT NULL REFERENCES billstack.alert_settings ON DELETE CASCADE,
    user_id text NOT NULL,
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (team_id, user_id) REFERENCES billstack.members ON DELETE CASCADE
);

-- What is wrong with a team, or was last. Only of teams that want alerts.
CREATE TABLE IF NOT EXISTS billstack.alerts (
    team_id text NOT NULL REFERENCES billstack.alert_settings ON DELETE CASCADE,
    kind text NOT NULL,
    is_on boolean NOT NULL,
    since timestamptz NOT NULL,
    over_at timestamptz,
    details jsonb NOT NULL,
    PRIMARY KEY (team_id, kind)
);

-- What is to be told, or was: a row for each channel, written by the statement that changed the alert.
CREATE TABLE IF NOT EXISTS billstack.alert_notices (
    id text PRIMARY KEY,
    team_id text NOT NULL REFERENCES billstack.alert_settings ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel IN ('webhook', 'email')),
    kind text NOT NULL,
    is_on boolean NOT NULL,               -- false: it is over
    since timestamptz NOT NULL,
    over_at timestamptz,
    details jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    error text
);
CREATE INDEX IF NOT EXISTS alert_notices_due ON billstack.alert_notices (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS alert_notices_waiting ON billstack.alert_notices (team_id, channel, kind, created_at)
WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS alert_notices_team ON billstack.alert_notices (team_id, created_at);
CREATE INDEX IF NOT EXISTS alert_notices_created ON billstack.alert_notices (created_at);

-- When a scheduler last looked for what is wrong. Several schedulers look once a minute together.
CREATE TABLE IF NOT EXISTS billstack.alert_looks (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    looked_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO billstack.alert_looks DEFAULT VALUES ON CONFLICT DO NOTHING;

-- What the mirrors are made of -------------------------------------------------------------------------------------

-- The columns that every table of objects begins with. This table itself stays empty.
-- raw         the object as Stripe sent it
-- as_of, as_of_until   raw was true between these two moments of Stripe's clock, in seconds (sync/mirror/store.py)
-- deleted_at  Stripe deleted the object: the row is a tombstone and raw its last known state
-- synced_at   when this row was last written, on our clock
CREATE TABLE IF NOT EXISTS billstack.mirror_row (
    id text PRIMARY KEY,
    raw jsonb NOT NULL,
    as_of bigint NOT NULL,
    as_of_until bigint NOT NULL,
    deleted_at timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now()
);

-- The types that a team mirrors besides the default ones, each since the first backfill that named it.
CREATE TABLE IF NOT EXISTS billstack.mirrored_types (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    type text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    stopped_at timestamptz,               -- no longer mirrored; its rows remain
    reread_until bigint,                  -- for types without events: what was created by then is in the mirror
    PRIMARY KEY (team_id, type)
);

-- What the mirrors hold ----------------------------------------------------------------------------------------------

-- The live rows of each mirrored table: a count, and the changes since it was last updated. Counting a table would read
-- all of it. Triggers (keep_count) record changes in the same transaction, as rows of their own: writers that updated
-- one count would wait for each other. The scheduler folds the changes into the counts.
CREATE TABLE IF NOT EXISTS billstack.row_counts (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    live bigint NOT NULL,
    PRIMARY KEY (schema_name, table_name)
);
CREATE TABLE IF NOT EXISTS billstack.row_count_changes (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    live bigint NOT NULL                  -- rows more than before, or fewer
);
CREATE INDEX IF NOT EXISTS row_count_changes_schema ON billstack.row_count_changes (schema_name);

CREATE OR REPLACE FUNCTION billstack.count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billstack.row_count_changes (schema_name, table_name, live)
    SELECT TG_TABLE_SCHEMA, TG_TABLE_NAME, count(*)
    FROM inserted
    WHERE deleted_at IS NULL
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION billstack.count_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billstack.row_count_changes (schema_name, table_name, live)
    SELECT TG_TABLE_SCHEMA, TG_TABLE_NAME, -count(*)
    FROM removed
    WHERE deleted_at IS NULL
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

-- A row became a tombstone, or a tombstone came back to life.
CREATE OR REPLACE FUNCTION billstack.count_turned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billstack.row_count_changes (schema_name, table_name, live)
    VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME, CASE WHEN NEW.deleted_at IS NULL THEN 1 ELSE -1 END);
    RETURN NULL;
END
$$;

-- Starts counting a mirrored table's live rows. Creating a trigger waits for the table's writers and holds back new
-- ones until the transaction ends, so no change falls between the first count and the trigger.
CREATE OR REPLACE PROCEDURE billstack.keep_count(mirror_schema text, mirror_table text) LANGUAGE plpgsql AS $$
DECLARE
    live_rows bigint;
BEGIN
    PERFORM
    FROM pg_trigger
    WHERE tgrelid = format('%I.%I', mirror_schema, mirror_table)::regclass AND tgname = 'count_turned';
    IF FOUND THEN
        RETURN;
    END IF;
    EXECUTE format(
        'CREATE TRIGGER count_inserted AFTER INSERT ON %I.%I REFERENCING NEW TABLE AS inserted'
        ' FOR EACH STATEMENT EXECUTE FUNCTION billstack.count_inserted()',
        mirror_schema, mirror_table
    );
    EXECUTE format(
        'CREATE TRIGGER count_removed AFTER DELETE ON %I.%I REFERENCING OLD TABLE AS removed'
        ' FOR EACH STATEMENT EXECUTE FUNCTION billstack.count_removed()',
        mirror_schema, mirror_table
    );
    EXECUTE format(
        'CREATE TRIGGER count_turned AFTER UPDATE ON %I.%I'
        ' FOR EACH ROW WHEN ((OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL))'
        ' EXECUTE FUNCTION billstack.count_turned()',
        mirror_schema, mirror_table
    );
    EXECUTE format('SELECT count(*) FROM %I.%I WHERE deleted_at IS NULL', mirror_schema, mirror_table) INTO live_rows;
    DELETE FROM billstack.row_count_changes
    WHERE schema_name = mirror_schema AND table_name = mirror_table;
    INSERT INTO billstack.row_counts (schema_name, table_name, live)
    VALUES (mirror_schema, mirror_table, live_rows)
    ON CONFLICT (schema_name, table_name) DO UPDATE SET live = excluded.live;
END
$$;

-- The types of a mirror that a full backfill has read completely, and what was known then. Written as each type ends.
CREATE TABLE IF NOT EXISTS billstack.type_proofs (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    type text NOT NULL,
    completed_at timestamptz NOT NULL,
    known_until bigint NOT NULL,          -- on Stripe's clock: what had happened by then was in the mirror
    PRIMARY KEY (team_id, type)
);
-- Version 2 recorded this only in its history.
INSERT INTO billstack.type_proofs (team_id, type, completed_at, known_until)
SELECT DISTINCT ON (backfills.team_id, backfill_types.type)
    backfills.team_id, backfill_types.type, backfills.finished_at, backfills.started
FROM billstack.backfills
JOIN billstack.backfill_types ON backfill_types.backfill_id = backfills.id
WHERE backfills.state = 'ready'
    AND backfills.created_after IS NULL
    AND backfills.started IS NOT NULL
    AND backfill_types.status = 'ready'
    AND EXISTS (SELECT FROM billstack.connections WHERE connections.team_id = backfills.team_id)
ORDER BY backfills.team_id, backfill_types.type, backfills.finished_at DESC
ON CONFLICT (team_id, type) DO NOTHING;

-- Numbers of a large mirror, which take seconds to compute: what a page shows until they are computed again
-- (api/numbers/kept.py). They are deleted with the mirror.
CREATE TABLE IF NOT EXISTS billstack.kept_numbers (
    team_id text NOT NULL REFERENCES billstack.teams ON DELETE CASCADE,
    name text NOT NULL,                   -- what they depend on beside the mirror: days, month, project
    found jsonb,                          -- NULL until they were computed once
    as_of timestamptz,                    -- all that Stripe had by then is in them; NULL: no full sync had finished
    computed_at timestamptz,
    claimed_until timestamptz,            -- a process is computing them
    PRIMARY KEY (team_id, name)
);

-- Functions that read Stripe's JSON for the generated columns. Written so that Postgres can inline them, and so that
-- they never raise: a value of another JSON type, or one that does not fit, is NULL in the column and still in raw.

CREATE OR REPLACE FUNCTION billstack.as_text(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(v) = 'string' THEN v #>> ARRAY[]::text[] END;

-- A reference is an id, or the object itself if it was expanded.
CREATE OR REPLACE FUNCTION billstack.as_id(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(v)
    WHEN 'string' THEN v #>> ARRAY[]::text[]
    WHEN 'object' THEN CASE WHEN jsonb_typeof(v -> 'id') = 'string' THEN v ->> 'id' END
END;

CREATE OR REPLACE FUNCTION billstack.as_boolean(v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(v) = 'boolean' THEN v::boolean END;

-- A fraction is no whole number, and a cast would round it, so it becomes NULL.
CREATE OR REPLACE FUNCTION billstack.as_bigint(v jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof(v) = 'number'
        AND v::numeric BETWEEN -9223372036854775808 AND 9223372036854775807
        AND v::numeric = trunc(v::numeric)
    THEN v::bigint
END;

-- Decimals are strings ("0.0005") in Stripe's API and numbers in some older events.
CREATE OR REPLACE FUNCTION billstack.as_decimal(v jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof(v) = 'number' THEN v::numeric
    WHEN jsonb_typeof(v) = 'string' AND v #>> ARRAY[]::text[] ~ '^-?[0-9]{1,40}(\.[0-9]{1,40})?$'
    THEN (v #>> ARRAY[]::text[])::numeric
END;

-- Whole seconds since 1970, up to the year 9999.
CREATE OR REPLACE FUNCTION billstack.as_time(v jsonb) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof(v) = 'number' AND v::numeric BETWEEN 0 AND 253402300799 AND v::numeric = trunc(v::numeric)
    THEN to_timestamp(v::double precision)
END;

-- Seconds of `created`, both inclusive, on a number line where each object type (its ordinal in sync/object_types.py)
-- has its own stretch. So one GiST index, which supports no text without an extension, finds the pages of one type.
CREATE OR REPLACE FUNCTION billstack.span_of(ordinal integer, oldest bigint, newest bigint) RETURNS int8range
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int8range((ordinal::bigint << 40) + oldest, (ordinal::bigint << 40) + newest, '[]');

-- The price of a subscription's first item. Before 2020-08-27 there was only the plan, which shares the price's id.
-- Before 2016 it was on the subscription itself, and it still is if there is only one item.
CREATE OR REPLACE FUNCTION billstack.subscription_price(v jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    nullif(v #> ARRAY['items', 'data', '0', 'price'], 'null'),
    nullif(v #> ARRAY['items', 'data', '0', 'plan'], 'null'),
    nullif(v -> 'plan', 'null')
);

-- Invoices have a status since 2018-11-08. Earlier ones have `paid` and `forgiven`, which say two of its five values.
-- Their `closed` meant that Stripe had stopped trying, which is none of the five.
CREATE OR REPLACE FUNCTION billstack.invoice_status(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    billstack.as_text(v -> 'status'),
    CASE
        WHEN v -> 'paid' = 'true' THEN 'paid'
        WHEN v -> 'forgiven' = 'true' THEN 'uncollectible'
    END
);

-- Before charges had `disputed`, they named their dispute or null.
CREATE OR REPLACE FUNCTION billstack.charge_disputed(v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    billstack.as_boolean(v -> 'disputed'),
    CASE
        WHEN v -> 'dispute' = 'null' THEN false
        WHEN billstack.as_id(v -> 'dispute') IS NOT NULL THEN true
    END
);

CREATE OR REPLACE FUNCTION billstack.as_object(v jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(v) = 'object' THEN v END;

-- Arithmetic of the views of numbers (docs/numbers.md). Amounts are in the currency's smallest unit, not rounded.

CREATE OR REPLACE FUNCTION billstack.as_array(v jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(v) = 'array' THEN v ELSE '[]' END;

-- How many times a month something is charged. NULL for an interval that Stripe does not have.
CREATE OR REPLACE FUNCTION billstack.times_a_month(every text, interval_count bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE every
    WHEN 'day' THEN 365.0 / 12
    WHEN 'week' THEN 52.0 / 12
    WHEN 'month' THEN 1.0
    WHEN 'year' THEN 1.0 / 12
END / nullif(interval_count, 0);

-- An amount in whole units of its currency: 980.5 for 98050 cents. api/numbers/currencies.py has the same currencies.
CREATE OR REPLACE FUNCTION billstack.whole_units(amount numeric, currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN amount / CASE
    WHEN currency IN (
        'bif', 'clp', 'djf', 'gnf', 'jpy', 'kmf', 'krw', 'mga', 'pyg', 'rwf', 'vnd', 'vuv', 'xaf', 'xof', 'xpf'
    ) THEN 1
    WHEN currency IN ('bhd', 'jod', 'kwd', 'omr', 'tnd') THEN 1000
    ELSE 100
END;

-- The cost of a quantity by a price's tiers. NULL if Stripe did not send them. The first tier's flat amount is due even
-- for a quantity of 0.
CREATE OR REPLACE FUNCTION billstack.tiered_amount(tiers jsonb, mode text, quantity numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH tier AS (
        SELECT number,
            billstack.as_decimal(value -> 'up_to') AS up_to,
            lag(billstack.as_decimal(value -> 'up_to'), 1, 0.0) OVER (ORDER BY number) AS above,
            coalesce(
                billstack.as_decimal(value -> 'unit_amount_decimal'), billstack.as_decimal(value -> 'unit_amount'),
                billstack.as_decimal(value -> 'amount'), 0) AS each,
            coalesce(
                billstack.as_decimal(value -> 'flat_amount_decimal'), billstack.as_decimal(value -> 'flat_amount'), 0) AS flat
        FROM jsonb_array_elements(billstack.as_array(tiers)) WITH ORDINALITY AS listed (value, number)
    )
    SELECT CASE mode
        WHEN 'volume' THEN (
            SELECT quantity * each + flat
            FROM tier
            WHERE up_to IS NULL OR quantity <= up_to
            ORDER BY number
            LIMIT 1
        )
        WHEN 'graduated' THEN (
            SELECT sum((least(quantity, up_to) - above) * each + flat)
            FROM tier
            WHERE number = 1 OR quantity > above
        )
    END;
END;

-- An amount after its lasting discounts: coupons for ever, and repeating ones that have not ended. In Stripe's order: a
-- percentage applies to what earlier discounts left. A discount that Stripe named only by its id takes nothing off.
CREATE OR REPLACE FUNCTION billstack.discounted(amount numeric, discounts jsonb, currency text, moment timestamptz)
RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH RECURSIVE coupons AS (
        SELECT row_number() OVER (ORDER BY number) AS number,
            coalesce(billstack.as_decimal(coupon -> 'percent_off'), 0) AS percent_off,
            coalesce(
                billstack.as_decimal(coupon #> ARRAY['currency_options', currency, 'amount_off']),
                CASE WHEN billstack.as_text(coupon -> 'currency') = currency
                    THEN billstack.as_decimal(coupon -> 'amount_off') END,
                0) AS amount_off
        FROM jsonb_array_elements(discounts) WITH ORDINALITY AS listed (discount, number)
        CROSS JOIN coalesce(
            billstack.as_object(discount -> 'coupon'), discount #> ARRAY['source', 'coupon']) AS coupon
        WHERE coupon ->> 'duration' = 'forever'
            OR coupon ->> 'duration' = 'repeating' AND coalesce(billstack.as_time(discount -> 'end') > moment, true)
    ),
    step AS (
        SELECT 0::bigint AS number, amount AS remaining
        UNION ALL
        SELECT coupons.number, greatest(step.remaining * (1 - percent_off / 100) - amount_off, 0)
        FROM step
        JOIN coupons ON coupons.number = step.number + 1
    )
    SELECT remaining
    FROM step
    ORDER BY number DESC
    LIMIT 1;
END;

-- The discounts of a subscription or an item as one array. There was a single `discount` before 2025-03-31.
CREATE OR REPLACE FUNCTION billstack.discounts_of(discounts jsonb, discount jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof(discount) = 'object' AND jsonb_array_length(billstack.as_array(discounts)) < 2
    THEN jsonb_build_array(discount)
    ELSE billstack.as_array(discounts)
END;

-- How many of them, or of their coupons, Stripe named only by id.
CREATE OR REPLACE FUNCTION billstack.unknown_discounts(discounts jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT count(*)
    FROM jsonb_array_elements(discounts) AS listed (discount)
    WHERE jsonb_typeof(coalesce(billstack.as_object(discount -> 'coupon'), discount #> ARRAY['source', 'coupon'], 'null'))
        <> 'object';
END;

-- part: team -------------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS {team};
REVOKE ALL ON SCHEMA {team} FROM PUBLIC;

-- The objects that the running backfill has met, one row per page. One row per object would be nine tenths of the WAL
-- of a backfill that finds nothing changed. A new backfill empties it; a resumed or adopting one continues with it.
CREATE TABLE IF NOT EXISTS {team}.seen_pages (
    type text NOT NULL,
    span int8range NOT NULL,         -- of `created`, as billstack.span_of gives it: an object met twice lies in two spans that meet
    ids text[] NOT NULL
) WITH (toast_tuple_target = 8160);  -- a page's ids fit into a row
CREATE INDEX IF NOT EXISTS seen_pages_span ON {team}.seen_pages USING gist (span);

-- Version 1 had one row per object.
DO $$
BEGIN
    IF to_regclass({team_name} || '.seen') IS NOT NULL THEN
        EXECUTE format(
            'INSERT INTO %1$I.seen_pages SELECT type, int8range(NULL, NULL), array_agg(id) FROM %1$I.seen GROUP BY type',
            {team_name}
        );
        EXECUTE format('DROP TABLE %I.seen', {team_name});
    END IF;
END
$$;

-- Prices named by objects of the running backfill. The finish fetches those that no list contained.
CREATE TABLE IF NOT EXISTS {team}.named_prices (
    id text PRIMARY KEY
);

-- The moment on Stripe's clock up to which an earlier backfill's pages read each type (the running one's is in its
-- windows).
CREATE TABLE IF NOT EXISTS {team}.checked (
    type text PRIMARY KEY,
    until bigint NOT NULL
);

-- Objects of one second, in the order in which Stripe lists them, the newest first. `created` does not tell it. An object
-- that shares its second with none has no row. Those that came with an event have none either until they are listed. A row of
-- another second than the object's is of a deleted object with the same id.
CREATE TABLE IF NOT EXISTS {team}.shared_seconds (
    type text NOT NULL,
    id text NOT NULL,
    second bigint,                   -- 0 if Stripe's list takes no `created`: then all of the list count as one second
    place integer NOT NULL,          -- the newest of a second has the lowest, above 0
    PRIMARY KEY (type, id)
);

-- Objects that Postgres refused, with its reason. Removed once the object can be stored.
CREATE TABLE IF NOT EXISTS {team}.rejects (
    type text NOT NULL,
    id text NOT NULL,
    reason text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, id)
);

-- The tables of objects, one part per type. A team has the tables of the types that it mirrors. The common columns
-- come from billstack.mirror_row; the others are generated from raw. No foreign keys: Stripe delivers in any order.

-- part: type customer ----------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.customers (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    email text GENERATED ALWAYS AS (billstack.as_text(raw -> 'email')) STORED,
    name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'name')) STORED,
    phone text GENERATED ALWAYS AS (billstack.as_text(raw -> 'phone')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    balance bigint GENERATED ALWAYS AS (coalesce(
        billstack.as_bigint(raw -> 'balance'),
        billstack.as_bigint(raw -> 'account_balance'))) STORED,  -- before 2019-10-17
    delinquent boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'delinquent')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS customers_newest ON {team}.customers (created, id);
-- Of the search, by how a text starts. Postgres refuses an entry of 3 KB, so names are cut.
CREATE INDEX IF NOT EXISTS customers_email_start ON {team}.customers (lower(email) text_pattern_ops);
CREATE INDEX IF NOT EXISTS customers_name_start ON {team}.customers (lower(left(name, 200)) text_pattern_ops);
CREATE INDEX IF NOT EXISTS customers_last_name_start
    ON {team}.customers (lower(left(substring(name FROM '[^[:space:]]+$'), 200)) text_pattern_ops);
DROP INDEX IF EXISTS {team}.customers_email;  -- of version 3; the first of these serves its readers too

-- part: type product -----------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.products (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    updated timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'updated')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'name')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    default_price text GENERATED ALWAYS AS (billstack.as_id(raw -> 'default_price')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS products_newest ON {team}.products (created, id);

-- part: type price -------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.prices (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    product text GENERATED ALWAYS AS (billstack.as_id(raw -> 'product')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    unit_amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'unit_amount')) STORED,
    unit_amount_decimal numeric GENERATED ALWAYS AS (billstack.as_decimal(raw -> 'unit_amount_decimal')) STORED,
    recurring_interval text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['recurring', 'interval'])) STORED,
    recurring_interval_count bigint
        GENERATED ALWAYS AS (billstack.as_bigint(raw #> ARRAY['recurring', 'interval_count'])) STORED,
    nickname text GENERATED ALWAYS AS (billstack.as_text(raw -> 'nickname')) STORED,
    lookup_key text GENERATED ALWAYS AS (billstack.as_text(raw -> 'lookup_key')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS prices_newest ON {team}.prices (created, id);
CREATE INDEX IF NOT EXISTS prices_product ON {team}.prices (product);

-- part: type subscription ------------------------------------------------------------------------------------------

-- Since 2025-03-31.basil the items have the period; before, the subscription had it. price, product, unit_amount and
-- quantity are the first item's. The other items are in raw.
CREATE TABLE IF NOT EXISTS {team}.subscriptions (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw -> 'currency'),
        billstack.as_text(billstack.subscription_price(raw) -> 'currency'))) STORED,
    price text GENERATED ALWAYS AS (billstack.as_id(billstack.subscription_price(raw))) STORED,
    product text GENERATED ALWAYS AS (billstack.as_id(billstack.subscription_price(raw) -> 'product')) STORED,
    unit_amount bigint GENERATED ALWAYS AS (coalesce(
        billstack.as_bigint(billstack.subscription_price(raw) -> 'unit_amount'),
        billstack.as_bigint(billstack.subscription_price(raw) -> 'amount'))) STORED,
    quantity bigint GENERATED ALWAYS AS (coalesce(
        billstack.as_bigint(raw #> ARRAY['items', 'data', '0', 'quantity']),
        billstack.as_bigint(raw -> 'quantity'))) STORED,
    current_period_start timestamptz GENERATED ALWAYS AS (coalesce(
        billstack.as_time(raw #> ARRAY['items', 'data', '0', 'current_period_start']),
        billstack.as_time(raw -> 'current_period_start'))) STORED,
    current_period_end timestamptz GENERATED ALWAYS AS (coalesce(
        billstack.as_time(raw #> ARRAY['items', 'data', '0', 'current_period_end']),
        billstack.as_time(raw -> 'current_period_end'))) STORED,
    cancel_at_period_end boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'cancel_at_period_end')) STORED,
    cancel_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'cancel_at')) STORED,
    canceled_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'canceled_at')) STORED,
    ended_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'ended_at')) STORED,
    trial_end timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'trial_end')) STORED,
    latest_invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'latest_invoice')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS subscriptions_newest ON {team}.subscriptions (created, id);
CREATE INDEX IF NOT EXISTS subscriptions_customer ON {team}.subscriptions (customer);
CREATE INDEX IF NOT EXISTS subscriptions_status ON {team}.subscriptions (status);
CREATE INDEX IF NOT EXISTS subscriptions_collection_method
    ON {team}.subscriptions ((raw ->> 'collection_method'), created, id);
CREATE INDEX IF NOT EXISTS subscriptions_prices
    ON {team}.subscriptions USING gin (jsonb_path_query_array(raw, '$.items.data[*].price.id'));

-- part: type invoice -----------------------------------------------------------------------------------------------

-- Since 2025-03-31.basil an invoice's subscription is under parent; `paid` and `charge` are gone (use status).
CREATE TABLE IF NOT EXISTS {team}.invoices (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (coalesce(
        billstack.as_time(raw -> 'created'),
        billstack.as_time(raw -> 'date'))) STORED,  -- before 2019-03-14
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    customer_email text GENERATED ALWAYS AS (billstack.as_text(raw -> 'customer_email')) STORED,
    subscription text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['parent', 'subscription_details', 'subscription']),
        billstack.as_id(raw -> 'subscription'))) STORED,
    status text GENERATED ALWAYS AS (billstack.invoice_status(raw)) STORED,
    number text GENERATED ALWAYS AS (billstack.as_text(raw -> 'number')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    subtotal bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'subtotal')) STORED,
    total bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'total')) STORED,
    amount_due bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_due')) STORED,
    amount_paid bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_paid')) STORED,
    amount_remaining bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_remaining')) STORED,
    billing_reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'billing_reason')) STORED,
    period_start timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'period_start')) STORED,
    period_end timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'period_end')) STORED,
    due_date timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'due_date')) STORED,
    paid_at timestamptz
        GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['status_transitions', 'paid_at'])) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS invoices_newest ON {team}.invoices (created, id);
CREATE INDEX IF NOT EXISTS invoices_customer ON {team}.invoices (customer);
CREATE INDEX IF NOT EXISTS invoices_subscription ON {team}.invoices (subscription);
CREATE INDEX IF NOT EXISTS invoices_status ON {team}.invoices (status);
CREATE INDEX IF NOT EXISTS invoices_number_start ON {team}.invoices (lower(left(number, 200)) text_pattern_ops);
CREATE INDEX IF NOT EXISTS invoices_collection_method ON {team}.invoices ((raw ->> 'collection_method'), created, id);

-- part: type charge ------------------------------------------------------------------------------------------------

-- Stripe fills `invoice` only before 2025-03-31.basil. For later versions, join by payment_intent.
CREATE TABLE IF NOT EXISTS {team}.charges (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_intent')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    amount_captured bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_captured')) STORED,
    amount_refunded bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_refunded')) STORED,
    paid boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'paid')) STORED,
    refunded boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'refunded')) STORED,
    disputed boolean GENERATED ALWAYS AS (billstack.charge_disputed(raw)) STORED,
    failure_code text GENERATED ALWAYS AS (billstack.as_text(raw -> 'failure_code')) STORED,
    failure_message text GENERATED ALWAYS AS (billstack.as_text(raw -> 'failure_message')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    receipt_email text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw -> 'receipt_email'),
        billstack.as_text(raw #> ARRAY['billing_details', 'email']))) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS charges_newest ON {team}.charges (created, id);
CREATE INDEX IF NOT EXISTS charges_customer ON {team}.charges (customer);
CREATE INDEX IF NOT EXISTS charges_status ON {team}.charges (status);
CREATE INDEX IF NOT EXISTS charges_payment_intent ON {team}.charges (payment_intent);
CREATE INDEX IF NOT EXISTS charges_invoice ON {team}.charges (invoice) WHERE invoice IS NOT NULL;
CREATE INDEX IF NOT EXISTS charges_transfer_group ON {team}.charges ((raw ->> 'transfer_group'), created, id)
WHERE raw ->> 'transfer_group' IS NOT NULL;  -- few accounts have any

-- part: type refund ------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.refunds (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    charge text GENERATED ALWAYS AS (billstack.as_id(raw -> 'charge')) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_intent')) STORED,
    balance_transaction text GENERATED ALWAYS AS (billstack.as_id(raw -> 'balance_transaction')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'reason')) STORED,
    failure_reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'failure_reason')) STORED,
    receipt_number text GENERATED ALWAYS AS (billstack.as_text(raw -> 'receipt_number')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS refunds_newest ON {team}.refunds (created, id);
CREATE INDEX IF NOT EXISTS refunds_customer ON {team}.refunds (customer);
CREATE INDEX IF NOT EXISTS refunds_charge ON {team}.refunds (charge);
CREATE INDEX IF NOT EXISTS refunds_payment_intent ON {team}.refunds (payment_intent);
CREATE INDEX IF NOT EXISTS refunds_balance_transaction ON {team}.refunds (balance_transaction);
CREATE INDEX IF NOT EXISTS refunds_status ON {team}.refunds (status);

-- part: type dispute -----------------------------------------------------------------------------------------------

-- Its first balance transaction took the money away. If another one gives it back, that one is only in raw.
CREATE TABLE IF NOT EXISTS {team}.disputes (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    charge text GENERATED ALWAYS AS (billstack.as_id(raw -> 'charge')) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_intent')) STORED,
    balance_transaction text GENERATED ALWAYS AS (billstack.as_id(raw #> ARRAY['balance_transactions', '0'])) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'reason')) STORED,
    is_charge_refundable boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'is_charge_refundable')) STORED,
    evidence_due_by timestamptz GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['evidence_details', 'due_by'])) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS disputes_newest ON {team}.disputes (created, id);
CREATE INDEX IF NOT EXISTS disputes_charge ON {team}.disputes (charge);
CREATE INDEX IF NOT EXISTS disputes_payment_intent ON {team}.disputes (payment_intent);
CREATE INDEX IF NOT EXISTS disputes_balance_transaction ON {team}.disputes (balance_transaction);
CREATE INDEX IF NOT EXISTS disputes_status ON {team}.disputes (status);

-- part: type payment_intent ----------------------------------------------------------------------------------------

-- Before 2022-11-15 there was no `latest_charge`, and the charges were embedded.
CREATE TABLE IF NOT EXISTS {team}.payment_intents (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    payment_method text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_method')) STORED,
    latest_charge text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw -> 'latest_charge'),
        billstack.as_id(raw #> ARRAY['charges', 'data', '0']))) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    amount_received bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_received')) STORED,
    amount_capturable bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_capturable')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    receipt_email text GENERATED ALWAYS AS (billstack.as_text(raw -> 'receipt_email')) STORED,
    cancellation_reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'cancellation_reason')) STORED,
    canceled_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'canceled_at')) STORED,
    error_code text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['last_payment_error', 'code'])) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS payment_intents_newest ON {team}.payment_intents (created, id);
CREATE INDEX IF NOT EXISTS payment_intents_customer ON {team}.payment_intents (customer);
CREATE INDEX IF NOT EXISTS payment_intents_latest_charge ON {team}.payment_intents (latest_charge);
CREATE INDEX IF NOT EXISTS payment_intents_payment_method ON {team}.payment_intents (payment_method);
CREATE INDEX IF NOT EXISTS payment_intents_invoice ON {team}.payment_intents (invoice) WHERE invoice IS NOT NULL;
CREATE INDEX IF NOT EXISTS payment_intents_status ON {team}.payment_intents (status);

-- part: type setup_intent ------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.setup_intents (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    payment_method text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_method')) STORED,
    latest_attempt text GENERATED ALWAYS AS (billstack.as_id(raw -> 'latest_attempt')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    usage text GENERATED ALWAYS AS (billstack.as_text(raw -> 'usage')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    cancellation_reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'cancellation_reason')) STORED,
    error_code text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['last_setup_error', 'code'])) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS setup_intents_newest ON {team}.setup_intents (created, id);
CREATE INDEX IF NOT EXISTS setup_intents_customer ON {team}.setup_intents (customer);
CREATE INDEX IF NOT EXISTS setup_intents_payment_method ON {team}.setup_intents (payment_method);
CREATE INDEX IF NOT EXISTS setup_intents_status ON {team}.setup_intents (status);

-- part: type payout ------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.payouts (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    arrival_date timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'arrival_date')) STORED,
    automatic boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'automatic')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    method text GENERATED ALWAYS AS (billstack.as_text(raw -> 'method')) STORED,
    destination text GENERATED ALWAYS AS (billstack.as_id(raw -> 'destination')) STORED,
    balance_transaction text GENERATED ALWAYS AS (billstack.as_id(raw -> 'balance_transaction')) STORED,
    original_payout text GENERATED ALWAYS AS (billstack.as_id(raw -> 'original_payout')) STORED,
    reconciliation_status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'reconciliation_status')) STORED,
    failure_code text GENERATED ALWAYS AS (billstack.as_text(raw -> 'failure_code')) STORED,
    failure_message text GENERATED ALWAYS AS (billstack.as_text(raw -> 'failure_message')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    statement_descriptor text GENERATED ALWAYS AS (billstack.as_text(raw -> 'statement_descriptor')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS payouts_newest ON {team}.payouts (created, id);
CREATE INDEX IF NOT EXISTS payouts_destination ON {team}.payouts (destination);
CREATE INDEX IF NOT EXISTS payouts_balance_transaction ON {team}.payouts (balance_transaction);
CREATE INDEX IF NOT EXISTS payouts_original_payout ON {team}.payouts (original_payout) WHERE original_payout IS NOT NULL;
CREATE INDEX IF NOT EXISTS payouts_status ON {team}.payouts (status);

-- The balance transactions that each automatic payout is made of, its own among them. Stripe's objects do not say so;
-- its list for each payout does (sync/mirror/payouts.py). Filled for teams that mirror both types.
CREATE TABLE IF NOT EXISTS {team}.payout_balance_transactions (
    payout text NOT NULL,
    balance_transaction text NOT NULL,
    PRIMARY KEY (payout, balance_transaction)
);
CREATE INDEX IF NOT EXISTS payout_balance_transactions_transaction
    ON {team}.payout_balance_transactions (balance_transaction);

-- The payouts whose list was read whole, and the payout's as_of_until then: with another one, it is read again.
-- transactions  how many the list has
-- missing       of these, how many the mirror lacks, because Postgres refused them
-- refusal       why Stripe does not tell, in its words
CREATE TABLE IF NOT EXISTS {team}.payout_readings (
    payout text PRIMARY KEY,
    payout_as_of bigint NOT NULL,
    transactions bigint NOT NULL,
    missing bigint NOT NULL,
    refusal text
);

-- part: type balance_transaction -----------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.balance_transactions (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    source text GENERATED ALWAYS AS (billstack.as_id(raw -> 'source')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    reporting_category text GENERATED ALWAYS AS (billstack.as_text(raw -> 'reporting_category')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    fee bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'fee')) STORED,
    net bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'net')) STORED,
    available_on timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'available_on')) STORED,
    exchange_rate numeric GENERATED ALWAYS AS (billstack.as_decimal(raw -> 'exchange_rate')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED
);
CREATE INDEX IF NOT EXISTS balance_transactions_newest ON {team}.balance_transactions (created, id);
CREATE INDEX IF NOT EXISTS balance_transactions_source ON {team}.balance_transactions (source);
CREATE INDEX IF NOT EXISTS balance_transactions_type ON {team}.balance_transactions (type);
CREATE INDEX IF NOT EXISTS balance_transactions_available_on ON {team}.balance_transactions (available_on);

-- part: type coupon ------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.coupons (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'name')) STORED,
    percent_off numeric GENERATED ALWAYS AS (billstack.as_decimal(raw -> 'percent_off')) STORED,
    amount_off bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_off')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    duration text GENERATED ALWAYS AS (billstack.as_text(raw -> 'duration')) STORED,
    duration_in_months bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'duration_in_months')) STORED,
    max_redemptions bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'max_redemptions')) STORED,
    times_redeemed bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'times_redeemed')) STORED,
    redeem_by timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'redeem_by')) STORED,
    valid boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'valid')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS coupons_newest ON {team}.coupons (created, id);

-- part: type promotion_code ----------------------------------------------------------------------------------------

-- Since 2025-09-30.clover its coupon is under promotion.
CREATE TABLE IF NOT EXISTS {team}.promotion_codes (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    code text GENERATED ALWAYS AS (billstack.as_text(raw -> 'code')) STORED,
    coupon text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['promotion', 'coupon']),
        billstack.as_id(raw -> 'coupon'))) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    expires_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'expires_at')) STORED,
    max_redemptions bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'max_redemptions')) STORED,
    times_redeemed bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'times_redeemed')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS promotion_codes_newest ON {team}.promotion_codes (created, id);
CREATE INDEX IF NOT EXISTS promotion_codes_code ON {team}.promotion_codes (code);
CREATE INDEX IF NOT EXISTS promotion_codes_coupon ON {team}.promotion_codes (coupon);
CREATE INDEX IF NOT EXISTS promotion_codes_customer ON {team}.promotion_codes (customer);

-- part: type tax_rate ----------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.tax_rates (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    display_name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'display_name')) STORED,
    percentage numeric GENERATED ALWAYS AS (billstack.as_decimal(raw -> 'percentage')) STORED,
    inclusive boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'inclusive')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    country text GENERATED ALWAYS AS (billstack.as_text(raw -> 'country')) STORED,
    state text GENERATED ALWAYS AS (billstack.as_text(raw -> 'state')) STORED,
    jurisdiction text GENERATED ALWAYS AS (billstack.as_text(raw -> 'jurisdiction')) STORED,
    tax_type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'tax_type')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS tax_rates_newest ON {team}.tax_rates (created, id);

-- part: type checkout_session --------------------------------------------------------------------------------------

-- raw contains all of its line items.
CREATE TABLE IF NOT EXISTS {team}.checkout_sessions (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    customer_email text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw #> ARRAY['customer_details', 'email']),
        billstack.as_text(raw -> 'customer_email'))) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_intent')) STORED,
    setup_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'setup_intent')) STORED,
    subscription text GENERATED ALWAYS AS (billstack.as_id(raw -> 'subscription')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    payment_link text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_link')) STORED,
    mode text GENERATED ALWAYS AS (billstack.as_text(raw -> 'mode')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    payment_status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'payment_status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount_subtotal bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_subtotal')) STORED,
    amount_total bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_total')) STORED,
    client_reference_id text GENERATED ALWAYS AS (billstack.as_text(raw -> 'client_reference_id')) STORED,
    expires_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'expires_at')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS checkout_sessions_newest ON {team}.checkout_sessions (created, id);
CREATE INDEX IF NOT EXISTS checkout_sessions_customer ON {team}.checkout_sessions (customer);
CREATE INDEX IF NOT EXISTS checkout_sessions_payment_intent ON {team}.checkout_sessions (payment_intent);
CREATE INDEX IF NOT EXISTS checkout_sessions_setup_intent ON {team}.checkout_sessions (setup_intent);
CREATE INDEX IF NOT EXISTS checkout_sessions_subscription ON {team}.checkout_sessions (subscription);
CREATE INDEX IF NOT EXISTS checkout_sessions_invoice ON {team}.checkout_sessions (invoice);
CREATE INDEX IF NOT EXISTS checkout_sessions_payment_link ON {team}.checkout_sessions (payment_link);
CREATE INDEX IF NOT EXISTS checkout_sessions_status ON {team}.checkout_sessions (status);

-- part: type credit_note -------------------------------------------------------------------------------------------

-- Since 2024 it may name several refunds. `refund` is the first one.
CREATE TABLE IF NOT EXISTS {team}.credit_notes (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    number text GENERATED ALWAYS AS (billstack.as_text(raw -> 'number')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    reason text GENERATED ALWAYS AS (billstack.as_text(raw -> 'reason')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    subtotal bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'subtotal')) STORED,
    total bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'total')) STORED,
    memo text GENERATED ALWAYS AS (billstack.as_text(raw -> 'memo')) STORED,
    refund text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['refunds', '0', 'refund']),
        billstack.as_id(raw -> 'refund'))) STORED,
    customer_balance_transaction text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer_balance_transaction')) STORED,
    effective_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'effective_at')) STORED,
    voided_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'voided_at')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS credit_notes_newest ON {team}.credit_notes (created, id);
CREATE INDEX IF NOT EXISTS credit_notes_customer ON {team}.credit_notes (customer);
CREATE INDEX IF NOT EXISTS credit_notes_invoice ON {team}.credit_notes (invoice);
CREATE INDEX IF NOT EXISTS credit_notes_refund ON {team}.credit_notes (refund);
CREATE INDEX IF NOT EXISTS credit_notes_status ON {team}.credit_notes (status);

-- part: type invoiceitem -------------------------------------------------------------------------------------------

-- It has `date` in place of `created`. Since 2025-03-31.basil its price is under pricing, its subscription under parent.
CREATE TABLE IF NOT EXISTS {team}.invoiceitems (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'date')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    subscription text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['parent', 'subscription_details', 'subscription']),
        billstack.as_id(raw -> 'subscription'))) STORED,
    price text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['pricing', 'price_details', 'price']),
        billstack.as_id(raw -> 'price'))) STORED,
    product text GENERATED ALWAYS AS (coalesce(
        billstack.as_id(raw #> ARRAY['pricing', 'price_details', 'product']),
        billstack.as_id(raw #> ARRAY['price', 'product']))) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    quantity bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'quantity')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    proration boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'proration')) STORED,
    period_start timestamptz GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['period', 'start'])) STORED,
    period_end timestamptz GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['period', 'end'])) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS invoiceitems_newest ON {team}.invoiceitems (created, id);
CREATE INDEX IF NOT EXISTS invoiceitems_customer ON {team}.invoiceitems (customer);
CREATE INDEX IF NOT EXISTS invoiceitems_invoice ON {team}.invoiceitems (invoice);
CREATE INDEX IF NOT EXISTS invoiceitems_subscription ON {team}.invoiceitems (subscription);
CREATE INDEX IF NOT EXISTS invoiceitems_price ON {team}.invoiceitems (price);

-- part: type invoice_payment ---------------------------------------------------------------------------------------

-- Joins an invoice with its payment intent, and so with its charge. Since 2025-03-31.basil, invoices name neither.
CREATE TABLE IF NOT EXISTS {team}.invoice_payments (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw #> ARRAY['payment', 'payment_intent'])) STORED,
    charge text GENERATED ALWAYS AS (billstack.as_id(raw #> ARRAY['payment', 'charge'])) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount_paid bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_paid')) STORED,
    amount_requested bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_requested')) STORED,
    is_default boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'is_default')) STORED,
    paid_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['status_transitions', 'paid_at'])) STORED
);
CREATE INDEX IF NOT EXISTS invoice_payments_newest ON {team}.invoice_payments (created, id);
CREATE INDEX IF NOT EXISTS invoice_payments_invoice ON {team}.invoice_payments (invoice);
CREATE INDEX IF NOT EXISTS invoice_payments_payment_intent ON {team}.invoice_payments (payment_intent);
CREATE INDEX IF NOT EXISTS invoice_payments_charge ON {team}.invoice_payments (charge);
CREATE INDEX IF NOT EXISTS invoice_payments_status ON {team}.invoice_payments (status);

-- part: type subscription_schedule ---------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.subscription_schedules (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    subscription text GENERATED ALWAYS AS (billstack.as_id(raw -> 'subscription')) STORED,
    released_subscription text GENERATED ALWAYS AS (billstack.as_id(raw -> 'released_subscription')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    end_behavior text GENERATED ALWAYS AS (billstack.as_text(raw -> 'end_behavior')) STORED,
    current_phase_start timestamptz
        GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['current_phase', 'start_date'])) STORED,
    current_phase_end timestamptz GENERATED ALWAYS AS (billstack.as_time(raw #> ARRAY['current_phase', 'end_date'])) STORED,
    canceled_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'canceled_at')) STORED,
    completed_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'completed_at')) STORED,
    released_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'released_at')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS subscription_schedules_newest ON {team}.subscription_schedules (created, id);
CREATE INDEX IF NOT EXISTS subscription_schedules_customer ON {team}.subscription_schedules (customer);
CREATE INDEX IF NOT EXISTS subscription_schedules_subscription ON {team}.subscription_schedules (subscription);
CREATE INDEX IF NOT EXISTS subscription_schedules_released_subscription ON {team}.subscription_schedules (released_subscription);
CREATE INDEX IF NOT EXISTS subscription_schedules_status ON {team}.subscription_schedules (status);

-- part: type transfer ----------------------------------------------------------------------------------------------

-- raw contains all of its reversals.
CREATE TABLE IF NOT EXISTS {team}.transfers (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    destination text GENERATED ALWAYS AS (billstack.as_id(raw -> 'destination')) STORED,
    destination_payment text GENERATED ALWAYS AS (billstack.as_id(raw -> 'destination_payment')) STORED,
    source_transaction text GENERATED ALWAYS AS (billstack.as_id(raw -> 'source_transaction')) STORED,
    balance_transaction text GENERATED ALWAYS AS (billstack.as_id(raw -> 'balance_transaction')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    amount_reversed bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_reversed')) STORED,
    reversed boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'reversed')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    transfer_group text GENERATED ALWAYS AS (billstack.as_text(raw -> 'transfer_group')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS transfers_newest ON {team}.transfers (created, id);
CREATE INDEX IF NOT EXISTS transfers_destination ON {team}.transfers (destination);
CREATE INDEX IF NOT EXISTS transfers_source_transaction ON {team}.transfers (source_transaction);
CREATE INDEX IF NOT EXISTS transfers_balance_transaction ON {team}.transfers (balance_transaction);
CREATE INDEX IF NOT EXISTS transfers_transfer_group ON {team}.transfers (transfer_group);

-- part: type early_fraud_warning -----------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.early_fraud_warnings (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    charge text GENERATED ALWAYS AS (billstack.as_id(raw -> 'charge')) STORED,
    payment_intent text GENERATED ALWAYS AS (billstack.as_id(raw -> 'payment_intent')) STORED,
    fraud_type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'fraud_type')) STORED,
    actionable boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'actionable')) STORED
);
CREATE INDEX IF NOT EXISTS early_fraud_warnings_newest ON {team}.early_fraud_warnings (created, id);
CREATE INDEX IF NOT EXISTS early_fraud_warnings_charge ON {team}.early_fraud_warnings (charge);
CREATE INDEX IF NOT EXISTS early_fraud_warnings_payment_intent ON {team}.early_fraud_warnings (payment_intent);

-- part: type quote -------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.quotes (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    number text GENERATED ALWAYS AS (billstack.as_text(raw -> 'number')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount_subtotal bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_subtotal')) STORED,
    amount_total bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount_total')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    subscription text GENERATED ALWAYS AS (billstack.as_id(raw -> 'subscription')) STORED,
    subscription_schedule text GENERATED ALWAYS AS (billstack.as_id(raw -> 'subscription_schedule')) STORED,
    collection_method text GENERATED ALWAYS AS (billstack.as_text(raw -> 'collection_method')) STORED,
    expires_at timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'expires_at')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS quotes_newest ON {team}.quotes (created, id);
CREATE INDEX IF NOT EXISTS quotes_customer ON {team}.quotes (customer);
CREATE INDEX IF NOT EXISTS quotes_invoice ON {team}.quotes (invoice);
CREATE INDEX IF NOT EXISTS quotes_subscription ON {team}.quotes (subscription);
CREATE INDEX IF NOT EXISTS quotes_subscription_schedule ON {team}.quotes (subscription_schedule);
CREATE INDEX IF NOT EXISTS quotes_status ON {team}.quotes (status);

-- part: type payment_link ------------------------------------------------------------------------------------------

-- It says of no time when it was made.
CREATE TABLE IF NOT EXISTS {team}.payment_links (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (to_timestamp(0)) STORED,
    url text GENERATED ALWAYS AS (billstack.as_text(raw -> 'url')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    submit_type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'submit_type')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS payment_links_newest ON {team}.payment_links (created, id);

-- part: type meter -------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.meters (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    display_name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'display_name')) STORED,
    event_name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'event_name')) STORED,
    status text GENERATED ALWAYS AS (billstack.as_text(raw -> 'status')) STORED,
    formula text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['default_aggregation', 'formula'])) STORED,
    updated timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'updated')) STORED
);
CREATE INDEX IF NOT EXISTS meters_newest ON {team}.meters (created, id);
CREATE INDEX IF NOT EXISTS meters_event_name ON {team}.meters (event_name);

-- part: type feature -----------------------------------------------------------------------------------------------

-- It says of no time when it was made.
CREATE TABLE IF NOT EXISTS {team}.features (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (to_timestamp(0)) STORED,
    name text GENERATED ALWAYS AS (billstack.as_text(raw -> 'name')) STORED,
    lookup_key text GENERATED ALWAYS AS (billstack.as_text(raw -> 'lookup_key')) STORED,
    active boolean GENERATED ALWAYS AS (billstack.as_boolean(raw -> 'active')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS features_newest ON {team}.features (created, id);
CREATE INDEX IF NOT EXISTS features_lookup_key ON {team}.features (lookup_key);

-- part: type payment_method ----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.payment_methods (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    allow_redisplay text GENERATED ALWAYS AS (billstack.as_text(raw -> 'allow_redisplay')) STORED,
    email text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['billing_details', 'email'])) STORED,
    name text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['billing_details', 'name'])) STORED,
    country text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw #> ARRAY['card', 'country']),
        billstack.as_text(raw #> ARRAY['sepa_debit', 'country']))) STORED,
    card_brand text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['card', 'brand'])) STORED,
    card_funding text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['card', 'funding'])) STORED,
    card_exp_month bigint GENERATED ALWAYS AS (billstack.as_bigint(raw #> ARRAY['card', 'exp_month'])) STORED,
    card_exp_year bigint GENERATED ALWAYS AS (billstack.as_bigint(raw #> ARRAY['card', 'exp_year'])) STORED,
    card_expires text GENERATED ALWAYS AS (
        billstack.as_bigint(raw #> ARRAY['card', 'exp_month'])::text
        || '/' || billstack.as_bigint(raw #> ARRAY['card', 'exp_year'])::text) STORED,
    fingerprint text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw #> ARRAY['card', 'fingerprint']),
        billstack.as_text(raw #> ARRAY['sepa_debit', 'fingerprint']),
        billstack.as_text(raw #> ARRAY['us_bank_account', 'fingerprint']))) STORED,
    last4 text GENERATED ALWAYS AS (coalesce(
        billstack.as_text(raw #> ARRAY['card', 'last4']),
        billstack.as_text(raw #> ARRAY['sepa_debit', 'last4']),
        billstack.as_text(raw #> ARRAY['us_bank_account', 'last4']))) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS payment_methods_newest ON {team}.payment_methods (created, id);
CREATE INDEX IF NOT EXISTS payment_methods_customer ON {team}.payment_methods (customer);
CREATE INDEX IF NOT EXISTS payment_methods_type ON {team}.payment_methods (type);

-- part: type customer_balance_transaction --------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.customer_balance_transactions (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    currency text GENERATED ALWAYS AS (billstack.as_text(raw -> 'currency')) STORED,
    amount bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'amount')) STORED,
    ending_balance bigint GENERATED ALWAYS AS (billstack.as_bigint(raw -> 'ending_balance')) STORED,
    invoice text GENERATED ALWAYS AS (billstack.as_id(raw -> 'invoice')) STORED,
    credit_note text GENERATED ALWAYS AS (billstack.as_id(raw -> 'credit_note')) STORED,
    checkout_session text GENERATED ALWAYS AS (billstack.as_id(raw -> 'checkout_session')) STORED,
    description text GENERATED ALWAYS AS (billstack.as_text(raw -> 'description')) STORED,
    metadata jsonb GENERATED ALWAYS AS (billstack.as_object(raw -> 'metadata')) STORED
);
CREATE INDEX IF NOT EXISTS customer_balance_transactions_newest ON {team}.customer_balance_transactions (created, id);
CREATE INDEX IF NOT EXISTS customer_balance_transactions_customer ON {team}.customer_balance_transactions (customer);
CREATE INDEX IF NOT EXISTS customer_balance_transactions_invoice ON {team}.customer_balance_transactions (invoice);
CREATE INDEX IF NOT EXISTS customer_balance_transactions_checkout_session
    ON {team}.customer_balance_transactions (checkout_session) WHERE checkout_session IS NOT NULL;
CREATE INDEX IF NOT EXISTS customer_balance_transactions_credit_note
    ON {team}.customer_balance_transactions (credit_note);

-- part: type tax_id ------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS {team}.tax_ids (
    LIKE billstack.mirror_row INCLUDING ALL,
    created timestamptz GENERATED ALWAYS AS (billstack.as_time(raw -> 'created')) STORED,
    customer text GENERATED ALWAYS AS (billstack.as_id(raw -> 'customer')) STORED,
    type text GENERATED ALWAYS AS (billstack.as_text(raw -> 'type')) STORED,
    value text GENERATED ALWAYS AS (billstack.as_text(raw -> 'value')) STORED,
    country text GENERATED ALWAYS AS (billstack.as_text(raw -> 'country')) STORED,
    verification text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['verification', 'status'])) STORED,
    verified_name text GENERATED ALWAYS AS (billstack.as_text(raw #> ARRAY['verification', 'verified_name'])) STORED
);
CREATE INDEX IF NOT EXISTS tax_ids_newest ON {team}.tax_ids (created, id);
CREATE INDEX IF NOT EXISTS tax_ids_customer ON {team}.tax_ids (customer);

-- part: settled ----------------------------------------------------------------------------------------------------

-- Settings for every table of objects. Compressing raw with Postgres' own pglz costs more than everything else in a
-- page's write (docs/performance.md). lz4 takes half of that. A server built without lz4 stores raw uncompressed, on
-- twice the disk. Changes only tables that lack a setting, because ALTER TABLE locks everybody out.
DO $$
DECLARE
    mirror_table text;
    is_settled boolean;
BEGIN
    FOR mirror_table, is_settled IN
        SELECT relname, attcompression = 'l' OR attstorage = 'e'
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = quote_ident({team_name})::regnamespace AND relkind = 'r' AND attname = 'raw'
    LOOP
        BEGIN
            IF NOT is_settled THEN
                EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN raw SET COMPRESSION lz4', {team_name}, mirror_table);
            END IF;
        EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
            EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN raw SET STORAGE EXTERNAL', {team_name}, mirror_table);
        END;
        CALL billstack.keep_count({team_name}, mirror_table);
    END LOOP;
    -- The ids that were met are not compressed.
    IF EXISTS (
        SELECT
        FROM pg_attribute
        WHERE attrelid = '{team}.seen_pages'::regclass AND attname = 'ids' AND attstorage <> 'e'
    ) THEN
        ALTER TABLE {team}.seen_pages ALTER COLUMN ids SET STORAGE EXTERNAL;
    END IF;
END
$$;

-- part: numbers ----------------------------------------------------------------------------------------------------

-- Views that answer business questions. docs/numbers.md defines each column. They are as current as the mirror. Deleted
-- objects (tombstones) are left out. Amounts of different currencies are never added.

-- Before 2020-08-27 an item had a plan and no price. Before 2016 the plan was on the subscription, which had no items.
CREATE OR REPLACE VIEW {team}.subscription_items AS
SELECT billstack.as_text(item -> 'id') AS id,
    subscriptions.id AS subscription,
    subscriptions.customer,
    subscriptions.status,
    coalesce(subscriptions.currency, billstack.as_text(priced -> 'currency')) AS currency,
    billstack.as_id(priced) AS price,
    billstack.as_id(priced -> 'product') AS product,
    coalesce(billstack.as_text(priced -> 'nickname'), billstack.as_text(priced -> 'lookup_key')) AS nickname,
    billstack.as_bigint(item -> 'quantity') AS quantity,
    terms.unit_amount,
    terms.recurring_interval,
    coalesce(terms.recurring_interval_count, 1) AS recurring_interval_count,
    coalesce(terms.usage_type, 'licensed') AS usage_type,
    coalesce(terms.billing_scheme, 'per_unit') AS billing_scheme,
    computed.amount,
    coalesce(billstack.as_time(item -> 'current_period_start'), subscriptions.current_period_start)
        AS current_period_start,
    coalesce(billstack.as_time(item -> 'current_period_end'), subscriptions.current_period_end) AS current_period_end,
    billstack.as_time(item -> 'created') AS created,
    billstack.as_object(item -> 'metadata') AS metadata,
    terms.discounts,
    of_subscription.discounts AS subscription_discounts,
    subscriptions.status = 'paused'
        OR subscriptions.status IN ('active', 'past_due') AND coalesce(jsonb_typeof(whole.pause_collection) = 'object', false)
        AS is_paused,
    greatest(subscriptions.created, CASE WHEN subscriptions.trial_end <= now() THEN subscriptions.trial_end END) AS began_at,
    subscriptions.ended_at,
    item AS raw
FROM {team}.subscriptions
-- Taken out of raw once: each look into a compressed object opens all of it.
CROSS JOIN LATERAL jsonb_to_record(subscriptions.raw)
    AS whole (items jsonb, plan jsonb, quantity jsonb, discounts jsonb, discount jsonb, pause_collection jsonb)
CROSS JOIN LATERAL (
    SELECT billstack.discounts_of(whole.discounts, whole.discount) AS discounts
    OFFSET 0  -- or Postgres would write the expression out, and compute it, wherever its name stands
) AS of_subscription
CROSS JOIN LATERAL jsonb_array_elements(
    CASE
        WHEN jsonb_typeof(whole.items -> 'data') = 'array' THEN whole.items -> 'data'
        ELSE jsonb_build_array(jsonb_build_object('plan', whole.plan, 'quantity', whole.quantity))
    END
) AS item
CROSS JOIN coalesce(billstack.as_object(item -> 'price'), billstack.as_object(item -> 'plan')) AS priced
-- What the price costs in the subscription's currency. Stripe leaves tiers and other currencies out of a subscription's
-- copy of the price; the mirrored price has them.
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN priced ->> 'currency' IS DISTINCT FROM subscriptions.currency AND subscriptions.currency IS NOT NULL
        THEN coalesce(priced #> ARRAY['currency_options', subscriptions.currency], (
            SELECT prices.raw #> ARRAY['currency_options', subscriptions.currency]
            FROM {team}.prices
            WHERE prices.id = priced ->> 'id'
        ))
        ELSE priced
    END AS charged
    OFFSET 0
) AS in_currency
CROSS JOIN LATERAL (
    SELECT billstack.as_decimal(item -> 'quantity') AS units,
        coalesce(
            billstack.as_decimal(charged -> 'unit_amount_decimal'), billstack.as_decimal(charged -> 'unit_amount'),
            billstack.as_decimal(charged -> 'amount_decimal'), billstack.as_decimal(charged -> 'amount')) AS unit_amount,
        coalesce(priced #>> ARRAY['recurring', 'interval'], priced ->> 'interval') AS recurring_interval,
        coalesce(
            billstack.as_bigint(priced #> ARRAY['recurring', 'interval_count']),
            billstack.as_bigint(priced -> 'interval_count')) AS recurring_interval_count,
        coalesce(priced #>> ARRAY['recurring', 'usage_type'], priced ->> 'usage_type') AS usage_type,
        priced ->> 'billing_scheme' AS billing_scheme,
        coalesce(
            billstack.as_object(priced -> 'transform_quantity'), billstack.as_object(priced -> 'transform_usage')) AS package,
        billstack.discounts_of(item -> 'discounts', item -> 'discount') AS discounts
    OFFSET 0
) AS terms
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN terms.billing_scheme = 'tiered'
        THEN billstack.tiered_amount(
            coalesce(nullif(charged -> 'tiers', 'null'), (
                SELECT CASE
                    WHEN prices.raw ->> 'currency' IS DISTINCT FROM subscriptions.currency
                        AND subscriptions.currency IS NOT NULL
                    THEN prices.raw #> ARRAY['currency_options', subscriptions.currency, 'tiers']
                    ELSE prices.raw -> 'tiers'
                END
                FROM {team}.prices
                WHERE prices.id = priced ->> 'id'
            )),
            priced ->> 'tiers_mode', terms.units)
        WHEN terms.package ->> 'round' = 'up'
        THEN terms.unit_amount * ceil(terms.units / nullif(billstack.as_decimal(terms.package -> 'divide_by'), 0))
        WHEN terms.package ->> 'round' = 'down'
        THEN terms.unit_amount * floor(terms.units / nullif(billstack.as_decimal(terms.package -> 'divide_by'), 0))
        ELSE terms.unit_amount * terms.units
    END AS amount
    OFFSET 0
) AS computed
WHERE subscriptions.deleted_at IS NULL AND priced IS NOT NULL;
COMMENT ON VIEW {team}.subscription_items IS 'BillStack: one row an item of a subscription';

CREATE OR REPLACE VIEW {team}.invoice_lines AS
SELECT billstack.as_text(line -> 'id') AS id,
    invoices.id AS invoice,
    invoices.customer,
    coalesce(
        billstack.as_id(line -> 'subscription'),
        billstack.as_id(line #> ARRAY['parent', 'subscription_item_details', 'subscription']),
        billstack.as_id(line #> ARRAY['parent', 'invoice_item_details', 'subscription'])) AS subscription,
    coalesce(
        billstack.as_id(line #> ARRAY['parent', 'subscription_item_details', 'subscription_item']),
        billstack.as_id(line -> 'subscription_item')) AS subscription_item,
    invoices.status AS invoice_status,
    coalesce(billstack.as_text(line -> 'currency'), invoices.currency) AS currency,
    billstack.as_bigint(line -> 'amount') AS amount,
    billstack.as_bigint(line -> 'quantity') AS quantity,
    coalesce(
        billstack.as_id(line #> ARRAY['pricing', 'price_details', 'price']), billstack.as_id(line -> 'price'),
        billstack.as_id(line -> 'plan')) AS price,
    coalesce(
        billstack.as_id(line #> ARRAY['pricing', 'price_details', 'product']),
        billstack.as_id(line #> ARRAY['price', 'product']), billstack.as_id(line #> ARRAY['plan', 'product'])) AS product,
    coalesce(
        billstack.as_boolean(line #> ARRAY['parent', 'subscription_item_details', 'proration']),
        billstack.as_boolean(line #> ARRAY['parent', 'invoice_item_details', 'proration']),
        billstack.as_boolean(line -> 'proration'), false) AS proration,
    billstack.as_text(line -> 'description') AS description,
    billstack.as_time(line #> ARRAY['period', 'start']) AS period_start,
    billstack.as_time(line #> ARRAY['period', 'end']) AS period_end,
    invoices.created,
    billstack.as_object(line -> 'metadata') AS metadata,
    line AS raw
FROM {team}.invoices
CROSS JOIN jsonb_array_elements(billstack.as_array(invoices.raw #> ARRAY['lines', 'data'])) AS line
WHERE invoices.deleted_at IS NULL;
COMMENT ON VIEW {team}.invoice_lines IS 'BillStack: one row a line of an invoice';

CREATE OR REPLACE VIEW {team}.subscription_mrr AS
SELECT subscription,
    item,
    customer,
    price,
    product,
    nickname,
    quantity,
    currency,
    status,
    -- The subscription's discounts are shared out in proportion to what its items cost.
    (after_items * CASE
        WHEN discounts = '[]' THEN 1
        ELSE coalesce(
            billstack.discounted(sum(after_items) OVER of_subscription, discounts, currency, now())
            / nullif(sum(after_items) OVER of_subscription, 0), 1)
    END * times_a_month) AS amount,
    counts_as = 'mrr' AND why IN ('active', 'past_due') AS counts,
    why,
    counts_as,
    began_at,
    ended_at,
    unknown_discounts
FROM (
    SELECT items.subscription,
        items.id AS item,
        items.customer,
        items.price,
        items.product,
        items.nickname,
        items.quantity,
        items.currency,
        items.status,
        CASE
            WHEN items.usage_type = 'metered' THEN NULL
            WHEN items.discounts = '[]' THEN items.amount
            ELSE billstack.discounted(items.amount, items.discounts, items.currency, now())
        END AS after_items,
        rate.times_a_month,
        of_all.discounts,
        CASE
            WHEN items.is_paused THEN 'paused'
            WHEN items.status = 'trialing' THEN 'trialing'
            WHEN items.status IN ('active', 'past_due') THEN 'mrr'
        END AS counts_as,
        CASE
            WHEN items.usage_type = 'metered' THEN 'metered'
            WHEN items.amount IS NULL AND items.billing_scheme = 'tiered' THEN 'tiers_unknown'
            WHEN items.amount IS NULL THEN 'amount_unknown'
            WHEN rate.times_a_month IS NULL THEN 'not_recurring'
            WHEN items.is_paused THEN 'paused'
            ELSE items.status
        END AS why,
        items.began_at,
        items.ended_at,
        CASE WHEN items.discounts = '[]' THEN 0 ELSE billstack.unknown_discounts(items.discounts) END
            + CASE WHEN of_all.discounts = '[]' THEN 0 ELSE billstack.unknown_discounts(of_all.discounts) END
            AS unknown_discounts
    FROM {team}.subscription_items AS items
    LEFT JOIN {team}.customers ON customers.id = items.customer
    -- A customer's discount is for the subscriptions that have none of their own.
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN items.subscription_discounts <> '[]' THEN items.subscription_discounts
            WHEN jsonb_typeof(customers.raw -> 'discount') = 'object' THEN jsonb_build_array(customers.raw -> 'discount')
            ELSE '[]'
        END AS discounts
        OFFSET 0
    ) AS of_all
    CROSS JOIN LATERAL (
        SELECT billstack.times_a_month(items.recurring_interval, items.recurring_interval_count) AS times_a_month
        OFFSET 0
    ) AS rate
) AS items
WINDOW of_subscription AS (PARTITION BY subscription);
COMMENT ON VIEW {team}.subscription_mrr IS
    'BillStack: one row an item of a subscription: what it brings a month, and why it counts or not';

CREATE OR REPLACE VIEW {team}.mrr AS
SELECT currency,
    coalesce(round(sum(amount) FILTER (WHERE counts)), 0)::bigint AS mrr,
    coalesce(round(sum(amount) FILTER (WHERE counts_as = 'trialing')), 0)::bigint AS trialing_mrr,
    coalesce(round(sum(amount) FILTER (WHERE counts_as = 'paused')), 0)::bigint AS paused_mrr,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'mrr') AS active_subscriptions,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'trialing') AS trialing_subscriptions,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'paused') AS paused_subscriptions,
    count(*) FILTER (WHERE counts_as = 'mrr' AND why = 'metered') AS metered_items,
    count(*) FILTER (WHERE counts_as = 'mrr' AND why IN ('tiers_unknown', 'amount_unknown', 'not_recurring'))
        AS unknown_items,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'mrr' AND unknown_discounts > 0)
        AS subscriptions_with_unknown_discounts
FROM {team}.subscription_mrr
WHERE currency IS NOT NULL
GROUP BY currency;
COMMENT ON VIEW {team}.mrr IS 'BillStack: monthly recurring revenue by currency';

-- Months are UTC's. An uncaptured charge is no revenue: its amount_captured is 0. Before 2020-08-27, `captured` alone said so;
-- reading it from raw costs more than all the rest.
CREATE OR REPLACE VIEW {team}.revenue_by_month AS
SELECT month,
    currency,
    sum(invoices)::bigint AS paid_invoices,
    sum(invoiced)::bigint AS invoiced,
    sum(charges)::bigint AS charges,
    sum(charged)::bigint AS charged,
    sum(refunded)::bigint AS refunded,
    (sum(charged) - sum(refunded))::bigint AS net
FROM (
    SELECT date_trunc('month', coalesce(paid_at, created) AT TIME ZONE 'UTC')::date AS month,
        currency,
        1 AS invoices,
        coalesce(amount_paid, 0) AS invoiced,
        0 AS charges,
        0 AS charged,
        0 AS refunded
    FROM {team}.invoices
    WHERE status = 'paid' AND deleted_at IS NULL
    UNION ALL
    SELECT date_trunc('month', created AT TIME ZONE 'UTC')::date,
        currency,
        0,
        0,
        1,
        coalesce(amount_captured, amount, 0),
        coalesce(amount_refunded, 0)
    FROM {team}.charges
    WHERE status = 'succeeded'
        AND CASE
            WHEN amount_captured IS NULL THEN raw -> 'captured' IS DISTINCT FROM 'false'
            ELSE amount_captured > 0
        END
        AND deleted_at IS NULL
) AS parts
WHERE month IS NOT NULL AND currency IS NOT NULL
GROUP BY month, currency;
COMMENT ON VIEW {team}.revenue_by_month IS 'BillStack: paid invoices, charges and refunds by month and currency';

-- A customer has a row for each currency that they paid, owe or were charged in. Without any, they have a row of zeros.
CREATE OR REPLACE VIEW {team}.customer_totals AS
SELECT customers.id AS customer,
    customers.email,
    customers.name,
    customers.created,
    coalesce(totals.currency, customers.currency) AS currency,
    coalesce(totals.charged, 0)::bigint AS charged,
    coalesce(totals.refunded, 0)::bigint AS refunded,
    (coalesce(totals.charged, 0) - coalesce(totals.refunded, 0))::bigint AS net,
    coalesce(totals.payments, 0)::bigint AS payments,
    coalesce(totals.failed_payments, 0)::bigint AS failed_payments,
    totals.last_payment_at,
    coalesce(totals.open_invoices, 0)::bigint AS open_invoices,
    coalesce(totals.open_amount, 0)::bigint AS open_amount
FROM {team}.customers
LEFT JOIN (
    SELECT customer,
        currency,
        sum(charged) AS charged,
        sum(refunded) AS refunded,
        sum(payments) AS payments,
        sum(failed_payments) AS failed_payments,
        max(paid_at) AS last_payment_at,
        sum(open_invoices) AS open_invoices,
        sum(open_amount) AS open_amount
    FROM (
        SELECT customer,
            currency,
            CASE WHEN is_payment THEN coalesce(amount_captured, amount, 0) ELSE 0 END AS charged,
            CASE WHEN is_payment THEN coalesce(amount_refunded, 0) ELSE 0 END AS refunded,
            is_payment::integer AS payments,
            (status = 'failed')::integer AS failed_payments,
            CASE WHEN is_payment THEN created END AS paid_at,
            0 AS open_invoices,
            0 AS open_amount
        FROM {team}.charges
        CROSS JOIN LATERAL (
            SELECT status = 'succeeded'
                AND CASE
                    WHEN amount_captured IS NULL THEN raw -> 'captured' IS DISTINCT FROM 'false'
                    ELSE amount_captured > 0
                END AS is_payment
        ) AS judged
        WHERE deleted_at IS NULL
        UNION ALL
        SELECT customer, currency, 0, 0, 0, 0, NULL, 1, coalesce(amount_remaining, 0)
        FROM {team}.invoices
        WHERE status = 'open' AND deleted_at IS NULL
    ) AS parts
    GROUP BY customer, currency
) AS totals ON totals.customer = customers.id
WHERE customers.deleted_at IS NULL;
COMMENT ON VIEW {team}.customer_totals IS 'BillStack: what each customer has paid, owes and had refunded, by currency';

-- part: reader -----------------------------------------------------------------------------------------------------

-- The tables that a person may want to read. Our working tables (seen, checked, rejects...) stay private.
GRANT USAGE ON SCHEMA {team} TO {reader};
GRANT SELECT ON {tables} TO {reader};
GRANT SELECT ON {team}.subscription_items, {team}.invoice_lines, {team}.subscription_mrr, {team}.mrr,
    {team}.revenue_by_month, {team}.customer_totals
TO {reader};
