-- name: begin_session
-- The isolation, if the database or the role begins transactions with another one. And Postgres notices within about
-- 6 s that this connection's host is gone; the host of a paused process still answers. And what we commit is kept, also
-- where the default is not to wait for the disk: leases, and events that Stripe will not send again. The latter two not
-- for a pooler's connection, which others use after us.
SELECT set_config(wanted.name, wanted.value, false)
FROM (
    VALUES
        ('default_transaction_isolation', 'read committed'),
        ('synchronous_commit', 'on'),
        ('tcp_keepalives_idle', '2'),
        ('tcp_keepalives_interval', '1'),
        ('tcp_keepalives_count', '4'),
        ('tcp_user_timeout', '6000')
) AS wanted (name, value)
WHERE CASE wanted.name
    WHEN 'default_transaction_isolation' THEN current_setting(wanted.name) <> wanted.value
    WHEN 'synchronous_commit' THEN current_setting(wanted.name) = 'off' AND pg_backend_pid() = %(own_pid)s
    ELSE pg_backend_pid() = %(own_pid)s
END;
