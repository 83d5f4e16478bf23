-- name: watch
-- Lets Postgres notice within about 6 s that this connection's host is gone. The host of a paused process still
-- answers.
SELECT
    set_config('tcp_keepalives_idle', '2', false),
    set_config('tcp_keepalives_interval', '1', false),
    set_config('tcp_keepalives_count', '4', false),
    set_config('tcp_user_timeout', '6000', false);
