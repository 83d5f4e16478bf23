-- Deletes expired data. Each statement uses an index or a table that stays small.

-- name: prune_attempts
DELETE FROM billstack.attempts
WHERE ends_at < now()

-- name: prune_sessions
DELETE FROM billstack.sessions
WHERE expires_at < now()

-- name: prune_links
DELETE FROM billstack.one_time_links
WHERE expires_at < now()

-- name: prune_invitations
DELETE FROM billstack.invitations
WHERE expires_at < now()

-- name: prune_audit_log
DELETE FROM billstack.audit_log
WHERE at < now() - %(kept)s

-- name: prune_repairs
DELETE FROM billstack.repairs
WHERE id IN (
    SELECT id
    FROM billstack.repairs
    WHERE at < now() - %(kept)s
    ORDER BY at
    LIMIT 1000
)
