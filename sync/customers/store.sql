-- People in projects, and the intents under which they are linked to Stripe customers. {team} is the team's schema.

-- name: select
-- Stripe's facts about a person are read from the mirror, so that every event shows. Our own columns replace them while
-- the mirror has no row.
SELECT
    people.id,
    people.project_id,
    people.stripe_customer_id,
    coalesce(customers.email, people.email) AS email,
    CASE WHEN customers.id IS NULL THEN people.name ELSE customers.name END AS name,
    CASE WHEN customers.id IS NULL THEN people.metadata ELSE coalesce(customers.metadata, jsonb_build_object()) END AS metadata,
    people.created_at,
    greatest(people.updated_at, customers.synced_at) AS updated_at
FROM billstack.project_customers AS people
LEFT JOIN {team}.customers ON customers.id = people.stripe_customer_id
WHERE people.team_id = %(team_id)s
    AND people.project_id = %(project_id)s

-- name: where_id
    AND people.id = %(id)s

-- name: where_stripe_customer
    AND people.stripe_customer_id = %(stripe_customer_id)s

-- name: where_email
-- Two halves, so that each uses its index. The array is built once, and its people are looked up by id. With an IN, on
-- tables that were never analyzed, both halves ran once for each person.
    AND people.id = ANY (ARRAY(
        SELECT linked.id
        FROM {team}.customers AS customer
        JOIN billstack.project_customers AS linked ON linked.stripe_customer_id = customer.id
        WHERE lower(customer.email) = lower(%(email)s)
            AND linked.project_id = %(project_id)s
        UNION ALL
        SELECT typed.id
        FROM billstack.project_customers AS typed
        LEFT JOIN {team}.customers AS customer ON customer.id = typed.stripe_customer_id
        WHERE typed.project_id = %(project_id)s
            AND lower(typed.email) = lower(%(email)s)
            AND customer.email IS NULL
    ))

-- name: page
ORDER BY people.created_at DESC, people.id DESC
LIMIT %(limit)s
OFFSET %(offset)s

-- name: has_mirror
SELECT to_regclass(%(customers)s) IS NOT NULL

-- name: insert
INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, name, metadata)
VALUES (%(id)s, %(team_id)s, %(project_id)s, %(stripe_customer_id)s, %(email)s, %(name)s, %(metadata)s)
ON CONFLICT (project_id, stripe_customer_id) DO NOTHING
RETURNING id

-- name: update
UPDATE billstack.project_customers
SET name = %(name)s, metadata = %(metadata)s, updated_at = now()
WHERE team_id = %(team_id)s AND project_id = %(project_id)s AND id = %(id)s

-- name: delete
DELETE FROM billstack.project_customers
WHERE team_id = %(team_id)s AND project_id = %(project_id)s AND id = %(id)s
RETURNING id

-- name: foreign
-- Those of the Stripe customers that another project of the team has or linked first, and that this one does not have.
SELECT candidate.id
FROM unnest(%(ids)s::text[], %(brought_by)s::text[]) AS candidate (id, project_id)
LEFT JOIN LATERAL (
    SELECT bool_or(people.project_id = %(project_id)s) AS here, bool_or(people.project_id <> %(project_id)s) AS elsewhere
    FROM billstack.project_customers AS people
    WHERE people.team_id = %(team_id)s AND people.stripe_customer_id = candidate.id
) AS has ON true
WHERE has.here IS NOT TRUE
    AND (
        has.elsewhere
        OR EXISTS (
            SELECT
            FROM billstack.projects
            WHERE projects.team_id = %(team_id)s AND projects.id = candidate.project_id AND projects.id <> %(project_id)s
        )
    )

-- name: mirrored_ids
-- More than a few with one address are ambiguous anyway.
SELECT id
FROM {team}.customers
WHERE lower(email) = lower(%(email)s) AND deleted_at IS NULL
ORDER BY id
LIMIT 20

-- name: mirrored
SELECT raw::text
FROM {team}.customers
WHERE id = %(stripe_customer_id)s AND lower(email) = lower(%(email)s) AND deleted_at IS NULL

-- name: claim
-- Lower case is Postgres', as in all comparisons of e-mail addresses. Returns nothing while another request holds it.
-- If a request died, its decision is returned.
INSERT INTO billstack.customer_intents AS intent (team_id, email, holder, held_until)
VALUES (%(team_id)s, lower(%(email)s), %(holder)s, clock_timestamp() + %(lease)s)
ON CONFLICT (team_id, email) DO UPDATE
SET holder = excluded.holder, held_until = excluded.held_until
WHERE intent.held_until < clock_timestamp()
RETURNING email, holder, idempotency_key, creation

-- name: decide
UPDATE billstack.customer_intents
SET idempotency_key = %(idempotency_key)s, creation = %(creation)s, held_until = clock_timestamp() + %(lease)s
WHERE team_id = %(team_id)s AND email = %(email)s AND holder = %(holder)s
RETURNING holder

-- name: hold
SELECT holder
FROM billstack.customer_intents
WHERE team_id = %(team_id)s AND email = %(email)s AND holder = %(holder)s
FOR UPDATE

-- name: let_go
UPDATE billstack.customer_intents
SET held_until = '-infinity'
WHERE team_id = %(team_id)s AND email = %(email)s AND holder = %(holder)s

-- name: forget
DELETE FROM billstack.customer_intents
WHERE team_id = %(team_id)s AND email = %(email)s AND holder = %(holder)s
