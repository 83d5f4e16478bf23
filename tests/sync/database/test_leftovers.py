"""What people leave behind goes once it is of no use, and not before."""

import psycopg
import pytest

from sync.database.leftovers import prune_leftovers

_ENDED = {
    "attempts": "(who, spent, ends_at) VALUES ('\\x00', 1, {})",
    "sessions": "(token_sha256, user_id, expires_at) VALUES ('\\x00', 'user_1', {})",
    "one_time_links": "(token_sha256, purpose, expires_at) VALUES ('\\x00', 'set_up', {})",
    "invitations": "(id, team_id, email, role, token_sha256, expires_at) "
    "VALUES ('inv_1', 'team_1', 'a@b.c', 'viewer', '\\x00', {})",
    "repairs": "(at, team_id, reconcile_id, type, object_id, kind, fields) "
    "VALUES ({} - interval '30 days', 'team_1', 'rc_1', 'customer', 'cus_1', 'stale', '[]')",
    "audit_log": "(at, actor, action, details) VALUES ({} - interval '400 days', 'x', 'y', '{{}}')",
}


@pytest.fixture
def database(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO billstack.users (id, email, password_hash) VALUES ('user_1', 'a@b.c', '')")
        connection.execute("INSERT INTO billstack.teams (id, name) VALUES ('team_1', 'x')")
        yield connection


@pytest.mark.parametrize("table", _ENDED)
def test_what_ended_is_deleted_and_what_has_not_stays(database, table):
    statement = f"INSERT INTO billstack.{table} {_ENDED[table]}"
    left = f"SELECT count(*) FROM billstack.{table}"  # noqa: S608 (names of ours)

    database.execute(statement.format("now() + interval '1 hour'"))
    assert prune_leftovers(database) == 0
    assert database.execute(left).fetchone() == (1,)

    database.execute(f"DELETE FROM billstack.{table}")  # noqa: S608 (names of ours)
    database.execute(statement.format("now() - interval '1 hour'"))
    assert prune_leftovers(database) == 1
    assert database.execute(left).fetchone() == (0,)
