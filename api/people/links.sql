-- The statements of api/people/links.py: links that work once.

-- name: create
INSERT INTO billstack.one_time_links (token_sha256, purpose, user_id, expires_at)
VALUES (%(token_sha256)s, %(purpose)s, %(user_id)s, now() + %(lifetime)s)

-- name: is_good
SELECT EXISTS (
    SELECT 1
    FROM billstack.one_time_links
    WHERE token_sha256 = %(token_sha256)s AND purpose = %(purpose)s AND expires_at > now()
)

-- name: take
-- If several requests use the link at once, one of them finds it.
DELETE FROM billstack.one_time_links
WHERE token_sha256 = %(token_sha256)s AND purpose = %(purpose)s AND expires_at > now()
RETURNING user_id

-- name: delete_others
-- NULL stands for no user: the links of the first-run set-up.
DELETE FROM billstack.one_time_links
WHERE purpose = %(purpose)s AND user_id IS NOT DISTINCT FROM %(user_id)s
