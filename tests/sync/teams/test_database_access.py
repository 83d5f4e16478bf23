"""A team's database role reads its mirror and nothing else; most tests here are what somebody with its password tries."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

from scripts.local.servers import EmbeddedPostgres, at_database, temporary_state_dir
from sync.database import schema
from sync.database.upgrade import upgrade
from sync.errors import Conflict
from sync.object_types import DEFAULT_TYPES, in_order
from sync.teams.database_access import WHAT_NO_SQL_ENDS, DatabaseAccess
from sync.teams.mirrored_types import MirroredTypes
from tests.sync.conftest import Team, make_team

ROOT = Path(__file__).parents[3]
# Of our own account only; everybody else must show a password, as on a real server.
STRICT_HBA = "local all postgres trust\nlocal all all scram-sha-256\n"

REFUSED = (
    "INSERT INTO customers (id, raw, as_of, as_of_until) VALUES ('x', '{}', 1, 1)",
    "UPDATE customers SET id = 'x'",
    "DELETE FROM customers",
    "TRUNCATE customers",
    "SELECT id FROM customers FOR UPDATE",
    "CREATE TABLE mine (id int)",
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON customers (id)",
    "DROP TABLE customers",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION plpython3u",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET temp_file_limit = -1",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/billstack_reader'",
    "COPY customers FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_logical_emit_message(false, 'x', 'x')",
    "SELECT billstack.as_text('1')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "SELECT pg_create_physical_replication_slot('mine')",
    "BEGIN; LOCK TABLE customers IN SHARE MODE",
)

Connect = Callable[..., psycopg.Connection]


@pytest.fixture
def access(team: Team, other_team: Team) -> Iterator[DatabaseAccess]:
    yield DatabaseAccess(team.connection, team.id)
    for each in (team, other_team):
        DatabaseAccess(each.connection, each.id).remove()


@pytest.fixture
def sign_in(team: Team, access: DatabaseAccess) -> Iterator[Connect]:
    """Connects as the team's role, with a password or with a new one."""
    opened: list[psycopg.Connection] = []

    def connect(password: str | None = None) -> psycopg.Connection:
        password = password or access.open()[0]
        opened.append(psycopg.connect(team.database_url, user=access.role, password=password, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def reader(sign_in: Connect) -> psycopg.Connection:
    """Who wants more than to read: their transactions are not read-only any more."""
    connection = sign_in()
    connection.execute("SET default_transaction_read_only = off")
    return connection


def put_customer(team: Team, id: str = "cus_1") -> None:
    statement = sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until) VALUES (%s, '{{}}', 1, 1)")
    team.connection.execute(statement.format(sql.Identifier(team.schema, "customers")), (id,))


def is_alive(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


# ---- what it is for


def test_it_reads_each_table_of_its_mirror_by_its_bare_name(team: Team, sign_in: Connect):
    put_customer(team)

    connection = sign_in()

    for object_type in in_order(DEFAULT_TYPES):
        connection.execute(sql.SQL("SELECT id, raw FROM {}").format(sql.Identifier(object_type.table)))
    assert connection.execute("SELECT id FROM customers").fetchall() == [("cus_1",)]


def test_it_reads_the_views_of_numbers(team: Team, sign_in: Connect):
    put_customer(team)

    connection = sign_in()

    for view in ("subscription_items", "invoice_lines", "subscription_mrr", "mrr", "revenue_by_month"):
        assert connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))).fetchall() == []
    assert connection.execute("SELECT customer, charged FROM customer_totals").fetchall() == [("cus_1", 0)]


def test_it_starts_read_only_and_with_a_timeout(sign_in: Connect):
    connection = sign_in()

    for setting, value in {"default_transaction_read_only": "on", "statement_timeout": "5min"}.items():
        assert connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == (value,)


def test_it_reads_tables_that_come_later(team: Team, sign_in: Connect):
    connection = sign_in()
    team.connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(team.schema, "charges")))

    with team.connection.transaction():
        schema.create_team_schema(team.connection, team.id)

    assert connection.execute("SELECT id FROM charges").fetchall() == []


def test_it_reads_what_payouts_are_made_of(team: Team, sign_in: Connect):
    connection = sign_in()

    with team.connection.transaction():
        MirroredTypes(team.connection, team.id).add(["payout"])

    for table in ("payouts", "payout_balance_transactions", "payout_readings"):
        assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone() == (0,)


# ---- what it must not do


def test_it_is_no_member_of_anything_and_may_nothing_special(team: Team, access: DatabaseAccess):
    access.open()

    found = team.connection.execute(
        """
        SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit, rolconnlimit,
            (SELECT count(*) FROM pg_auth_members WHERE member = pg_roles.oid)
        FROM pg_roles WHERE rolname = %s
        """,
        (access.role,),
    ).fetchone()

    assert found == (False, False, False, False, False, False, 10, 0)


def test_it_reads_no_table_but_those_six(team: Team, other_team: Team, reader: psycopg.Connection):
    names = {object_type.table for object_type in in_order(DEFAULT_TYPES)}
    tables = team.connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    assert {"billstack", team.schema, other_team.schema} <= {name for name, _ in tables}

    readable = set()
    for table in tables:
        try:
            reader.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(*table)))
            readable.add(table)
        except errors.InsufficientPrivilege:
            pass

    assert readable == {(team.schema, name) for name in names}


def test_everything_else_is_refused(reader: psycopg.Connection):
    answers = {statement: attempt(reader, statement) for statement in REFUSED}

    # An extension that is not there is as good as a refusal.
    words = ("denied", "must be", "is not available")
    assert {statement: said for statement, said in answers.items() if not any(word in said for word in words)} == {}


def attempt(connection: psycopg.Connection, statement: str) -> str:
    try:
        connection.execute(statement.encode())
    except psycopg.Error as exc:
        connection.rollback()
        return str(exc)
    return "done"


def test_it_sees_the_text_of_nobody_elses_statements(team: Team, reader: psycopg.Connection):
    team.connection.execute("SELECT 'private'")

    seen = reader.execute("SELECT query FROM pg_stat_activity WHERE query LIKE '%private%'").fetchall()

    assert all("pg_stat_activity" in query for (query,) in seen)


def test_it_sees_no_statistics_of_another_teams_values(team: Team, other_team: Team, reader: psycopg.Connection):
    put_customer(other_team)
    other_team.connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(other_team.schema, "customers")))

    assert reader.execute("SELECT 1 FROM pg_stats WHERE schemaname = %s", (other_team.schema,)).fetchall() == []


def test_who_could_sign_in_before_keeps_what_everybody_loses(team: Team, access: DatabaseAccess):
    team.connection.execute("DROP ROLE IF EXISTS billstack_test_app")
    team.connection.execute("CREATE ROLE billstack_test_app LOGIN")
    database = team.connection.info.dbname
    everybody = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(database))
    team.connection.execute(everybody)
    try:
        access.open()

        may = team.connection.execute(
            "SELECT has_database_privilege('billstack_test_app', %s, 'TEMPORARY')", (database,)
        ).fetchone()
        assert may == (True,)
    finally:
        team.connection.execute("DROP OWNED BY billstack_test_app")
        team.connection.execute("DROP ROLE billstack_test_app")


def test_what_everybody_may_read_is_said(team: Team, access: DatabaseAccess):
    team.connection.execute("CREATE TABLE public.price_list (id int)")
    team.connection.execute("GRANT SELECT ON public.price_list TO PUBLIC")
    try:
        _, warnings = access.open()
        assert len(warnings) == 2
        assert "public.price_list" in warnings[0]
    finally:
        team.connection.execute("DROP TABLE public.price_list")
    assert access.open()[1] == [WHAT_NO_SQL_ENDS]


# ---- what belongs to the server


@pytest.fixture
def foreign_database(team: Team) -> Iterator[str]:
    """Of another application's, on the same server."""
    team.connection.execute("CREATE ROLE billstack_test_stranger LOGIN")
    team.connection.execute("CREATE DATABASE billstack_test_foreign OWNER billstack_test_stranger")
    yield "billstack_test_foreign"
    team.connection.execute("DROP DATABASE billstack_test_foreign WITH (FORCE)")
    team.connection.execute("DROP OWNED BY billstack_test_stranger")
    team.connection.execute("DROP ROLE billstack_test_stranger")


def test_it_signs_in_to_no_other_database_of_ours(team: Team, access: DatabaseAccess, new_database: Callable[[], str]):
    another = psycopg.conninfo.conninfo_to_dict(new_database())["dbname"]
    password, _ = access.open()

    for name in (another, "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(at_database(team.database_url, name), user=access.role, password=password)


def test_a_foreign_database_keeps_its_rights_and_is_named(team: Team, access: DatabaseAccess, foreign_database: str):
    password, warnings = access.open()

    (warning,) = [each for each in warnings if "other databases" in each]
    statement = f"REVOKE CONNECT ON DATABASE {foreign_database} FROM PUBLIC"
    assert statement in warning
    psycopg.connect(at_database(team.database_url, foreign_database), user=access.role, password=password).close()
    team.connection.execute(statement.encode())
    assert [each for each in access.open()[1] if "other databases" in each] == []


def test_who_could_sign_in_to_our_other_databases_still_can(
    team: Team, access: DatabaseAccess, new_database: Callable[[], str], foreign_database: str
):
    another = new_database()

    access.open()

    psycopg.connect(another, user="billstack_test_stranger").close()


def test_what_no_sql_can_forbid_is_said(sign_in: Connect, access: DatabaseAccess):
    connection = sign_in()

    connection.execute("SET work_mem = '4GB'; SET statement_timeout = 0")

    assert "work_mem" in access.open()[1][-1], "and so it is said where the role is made"
    assert "statement_timeout" in access.open()[1][-1]


def test_a_host_ends_what_no_sql_can_forbid(strict_team: Team):
    """The SQL and the line of pg_hba.conf that docs/psql.md has."""
    page = (ROOT / "docs/psql.md").read_text()
    ending, rules = page.partition("```sql\n")[2].partition("```")[0], page.partition("```hba\n")[2].partition("```")[0]
    access = DatabaseAccess(strict_team.connection, strict_team.id)
    password, _ = access.open()
    strict_team.connection.execute("GRANT CONNECT ON DATABASE template1 TO PUBLIC")
    with psycopg.connect(strict_team.database_url, user=access.role, password=password, autocommit=True) as reader:
        reader.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT 1")
        assert strict_team.connection.execute(ending.encode()).fetchall() == []

        strict_team.connection.execute(ending.replace("5 minutes", "0 seconds").encode())

        assert not is_alive(reader)

    (hba,) = strict_team.connection.execute("SHOW hba_file").fetchone()
    before = Path(hba).read_text()
    database = strict_team.connection.info.dbname
    Path(hba).write_text(
        rules.replace("host ", "local")
        .replace("billstack ", database)
        .replace(" all    scram", " scram")
        .replace(" all    reject", " reject")
        + before
    )
    try:
        strict_team.connection.execute("SELECT pg_reload_conf()")
        assert strict_team.connection.execute("SELECT error FROM pg_hba_file_rules WHERE error <> ''").fetchall() == []
        wait_until_refused(at_database(strict_team.database_url, "template1"), access.role, password)
        psycopg.connect(strict_team.database_url, user=access.role, password=password).close()
    finally:
        Path(hba).write_text(before)
        strict_team.connection.execute("SELECT pg_reload_conf()")


def wait_until_refused(url: str, user: str, password: str) -> None:
    """A new pg_hba.conf is read a moment later."""
    said = ""
    ends = time.monotonic() + 10
    while "pg_hba.conf rejects" not in said:
        assert time.monotonic() < ends, said or "it still signs in"
        try:
            psycopg.connect(url, user=user, password=password).close()
        except psycopg.OperationalError as exc:
            said = str(exc)
        time.sleep(0.05)


# ---- passwords


@pytest.fixture(scope="module")
def strict_team() -> Iterator[Team]:
    """On a server that asks for passwords, and logs every statement."""
    with temporary_state_dir() as folder:
        hba = folder / "hba.conf"
        hba.write_text(STRICT_HBA)
        hba.chmod(0o644)
        settings = {"hba_file": str(hba), "log_statement": "all"}
        with (
            EmbeddedPostgres(folder, durable=False, settings=settings) as server,
            psycopg.connect(server.url, autocommit=True) as connection,
        ):
            upgrade(connection)
            yield make_team(server.url, connection)


def test_only_the_last_password_opens(strict_team: Team):
    access = DatabaseAccess(strict_team.connection, strict_team.id)
    first, _ = access.open()
    second, _ = access.open()

    with psycopg.connect(strict_team.database_url, user=access.role, password=second) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (access.role,)
    for wrong in (first, "", access.role):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(strict_team.database_url, user=access.role, password=wrong)
    assert len({first, second}) == 2
    assert min(map(len, (first, second))) >= 32, "six bits a character"


def test_the_password_is_in_no_log_and_no_table(strict_team: Team):
    password, _ = DatabaseAccess(strict_team.connection, strict_team.id).open()

    logged = server_log(strict_team)
    stored = strict_team.connection.execute("SELECT rolpassword FROM pg_authid").fetchall()
    assert "PASSWORD 'SCRAM-SHA-256$" in logged, "the statement itself is there"
    assert password not in logged + str(stored)


def server_log(team: Team) -> str:
    (data,) = team.connection.execute("SHOW data_directory").fetchone()
    return "".join(path.read_text(errors="replace") for path in Path(data).parent.glob("*.log"))


def test_a_new_password_cuts_off_who_uses_the_old_one(access: DatabaseAccess, sign_in: Connect):
    connection = sign_in()
    assert is_alive(connection)

    access.open()

    assert not is_alive(connection)


def test_two_requests_at_once_both_get_a_role_that_works(team: Team, access: DatabaseAccess, sign_in: Connect):
    failures: list[Exception] = []
    together = threading.Barrier(4)

    def ask() -> None:
        try:
            with team.connect() as connection:
                together.wait()
                DatabaseAccess(connection, team.id).open()
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert is_alive(sign_in())


# ---- the end of it


def test_removed_it_is_gone_with_its_sessions(team: Team, access: DatabaseAccess, sign_in: Connect):
    connection = sign_in()

    assert access.remove()

    assert not is_alive(connection)
    assert access.find() is None
    assert team.connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (access.role,)).fetchone() is None
    assert not access.remove()


def test_another_teams_role_stays(other_team: Team, access: DatabaseAccess):
    access.open()
    theirs = DatabaseAccess(other_team.connection, other_team.id)
    theirs.open()

    access.remove()

    assert theirs.find() is not None


def test_it_is_known_since_when(access: DatabaseAccess):
    assert access.find() is None
    access.open()
    first = access.find()

    access.open()
    second = access.find()

    assert (first.created_at, first.password_set_at) == (second.created_at, first.created_at)
    assert second.password_set_at > first.password_set_at


def test_without_a_mirror_there_is_nothing_to_read(team: Team):
    with pytest.raises(Conflict) as raised:
        DatabaseAccess(team.connection, "team_nobody").open()

    assert raised.value.code == "not_connected"
    assert team.connection.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE '%nobody_reader'").fetchone() is None


def test_a_role_of_that_name_that_may_more_is_not_handed_out(team: Team, access: DatabaseAccess):
    team.connection.execute(sql.SQL("CREATE ROLE {} CREATEDB").format(sql.Identifier(access.role)))

    with pytest.raises(Conflict) as raised:
        access.open()

    assert raised.value.code == "role_exists"


def test_a_name_that_postgres_would_cut_is_refused():
    assert len(schema.reader_name("team_" + "x" * 44)) == 63
    with pytest.raises(ValueError, match="too long"):
        schema.reader_name("team_" + "x" * 45)


def test_a_role_that_a_copy_of_the_database_names_too_is_closed(
    team: Team, access: DatabaseAccess, new_database: Callable[[], str]
):
    access.open()
    with psycopg.connect(new_database(), autocommit=True) as copy:
        copy.execute(
            sql.SQL("CREATE TABLE copied (id int); GRANT SELECT ON copied TO {}").format(sql.Identifier(access.role))
        )

        assert access.remove()

        assert access.find() is None
        rights = team.connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (access.role,))
        assert rights.fetchone() == (False,)
        copy.execute("DROP TABLE copied")
    team.connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(access.role)))


# ---- our own database user is no superuser


@pytest.fixture
def plain_team(team: Team, new_database: Callable[[], str]) -> Iterator[Callable[[str], Team]]:
    """A team in a database that belongs to a plain role with these rights."""
    made: list[Team] = []

    def create(rights: str) -> Team:
        team.connection.execute(sql.SQL("CREATE ROLE billstack_test_user LOGIN PASSWORD 'x' " + rights))
        team.connection.execute("CREATE DATABASE billstack_test_plain OWNER billstack_test_user")
        url = at_database(team.database_url, "billstack_test_plain")
        connection = psycopg.connect(url, user="billstack_test_user", password="x", autocommit=True)
        upgrade(connection)
        made.append(make_team(url, connection))
        return made[-1]

    yield create
    for each in made:
        each.connection.close()
    team.connection.execute("DROP DATABASE IF EXISTS billstack_test_plain WITH (FORCE)")
    for each in made:
        team.connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(schema.reader_name(each.id))))
    team.connection.execute("DROP ROLE IF EXISTS billstack_test_user")


def test_createrole_is_enough(plain_team: Callable[[str], Team]):
    team = plain_team("CREATEROLE")
    access = DatabaseAccess(team.connection, team.id)

    password, warnings = access.open()

    with psycopg.connect(team.database_url, user=access.role, password=password, autocommit=True) as reader:
        assert reader.execute("SELECT id FROM customers").fetchall() == []
        with pytest.raises(errors.InsufficientPrivilege):
            reader.execute("BEGIN READ WRITE; CREATE TEMPORARY TABLE mine (id int)")
        reader.rollback()
        # Functions of Postgres' own are a superuser's to close: the answer says how.
        assert ["REVOKE EXECUTE ON FUNCTION lo_creat" in each for each in warnings].count(True) == 1
        access.open()
        assert not is_alive(reader)
    assert access.remove()
    assert access.find() is None


def test_without_createrole_an_administrator_is_told_what_to_run(plain_team: Callable[[str], Team], team: Team):
    plain = plain_team("")
    access = DatabaseAccess(plain.connection, plain.id)

    with pytest.raises(Conflict) as raised:
        access.open()

    assert raised.value.code == "may_not_create_roles"
    *statements, password_prompt = raised.value.details["sql"].splitlines()
    assert password_prompt == f'\\password "{access.role}"'
    with psycopg.connect(plain.database_url, autocommit=True) as administrator:
        administrator.execute("\n".join(statements).encode())
    assert access.find() is not None
    with pytest.raises(Conflict) as raised:
        access.remove()
    with psycopg.connect(plain.database_url, autocommit=True) as administrator:
        administrator.execute(raised.value.details["sql"].encode())
    assert access.find() is None
