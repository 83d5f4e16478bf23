-- name: begin_session
-- The isolation, if the database or the role begins transactions with another one. And Postgres notices within about
-- 6 s that this connection's host is gone; the host of a paused process still answers. Not for a pooler's connection,
-- which others use after us.
SELECT set_config(wanted.name, wanted.value, false)
FROM (
    VALUES
        ('default_transaction_isolation', 'read committed'),
        ('tcp_keepalives_idle', '2'),
        ('tcp_keepalives_interval', '1'),
        ('tcp_keepalives_count', '4'),
        ('tcp_user_timeout', '6000')
) AS wanted (name, value)
WHERE CASE wanted.name
    WHEN 'default_transaction_isolation' THEN current_setting(wanted.name) <> wanted.value
    ELSE pg_backend_pid() = %(own_pid)s
END;
