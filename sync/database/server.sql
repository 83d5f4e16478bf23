-- What BillStack requires of Postgres.

-- name: server
SELECT pg_encoding_to_char(encoding),
    current_setting('default_transaction_isolation'),
    current_setting('synchronous_commit'),
    pg_backend_pid(),
    current_user::text,
    datname
FROM pg_database
WHERE datname = current_database();

-- name: is_read_only
-- On a standby too.
SELECT current_setting('transaction_read_only')::boolean;
