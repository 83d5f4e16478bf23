-- The statements of api/people/attempts.py.

-- name: spend
-- Counts and returns the count in one statement, so that concurrent attempts each see a different number.
INSERT INTO billstack.attempts AS attempt (who, spent, ends_at)
VALUES (%(who)s, 1, now() + %(window)s)
ON CONFLICT (who) DO UPDATE
SET spent = CASE WHEN attempt.ends_at > now() THEN attempt.spent + 1 ELSE 1 END,
    ends_at = CASE WHEN attempt.ends_at > now() THEN attempt.ends_at ELSE excluded.ends_at END
RETURNING spent, extract(epoch FROM ends_at - now())::float8 AS reset_s

-- name: give_back
UPDATE billstack.attempts
SET spent = spent - 1
WHERE who = %(who)s AND spent > 0
