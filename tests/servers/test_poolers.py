"""Through a pooler, which lends one server connection to many processes, each statement is the one that was meant."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from scripts.local.processes import wait_until
from scripts.local.servers import EmbeddedPostgres, ExternalServer, temporary_state_dir
from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from sync.database.session import begin_session
from sync.errors import ConfigError
from sync.events.applying import apply_next, record_events
from sync.events.ledger import Ledger
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.end_to_end.product import running_installation
from tests.end_to_end.test_events import wait_until_delivered, wait_until_quiet
from tests.factories import charge, customer, encoded, event, invoice, product
from tests.servers.conftest import POOL_SIZE, Pooler, answers, pgbouncer, running_pooler, set_default
from tests.sync.conftest import Team, make_team
from tests.sync.mirrored import following, open_window, page_of
from tests.sync.simulated_stripe import mirrored_of, simulated_stripe, source_of
from workers.context import connection_options, refuse_unfit_postgres

TYPES = [OBJECT_TYPES[name] for name in ("customer", "charge", "invoice", "price")]
PAGES, PAGE = 12, 10
COUNTS = {"customer": 600, "product": 5, "price": 10, "subscription": 500, "invoice": 600, "charge": 800}
LEFT = ("synchronous_commit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit", "plan_cache_mode")


def connect(url: str) -> psycopg.Connection:
    connection = psycopg.connect(url, **connection_options(url, "billstack test"))
    begin_session(connection)
    return connection


@pytest.fixture
def team(pooler: Pooler):
    with psycopg.connect(pooler.direct_url, autocommit=True) as connection:
        yield make_team(pooler.direct_url, connection)


@pytest.mark.parametrize("pooler", ["transaction", "session"], indirect=True)
def test_writers_that_share_servers_write_each_its_own_table(pooler: Pooler, team: Team) -> None:
    """In transaction mode all four at a time on two connections; a session's client keeps its connection."""
    side_by_side = len(TYPES) if is_shared(pooler) else POOL_SIZE
    store = MirrorStore(team.connection, team.id)
    keys = {each.name: open_window(store, each) for each in TYPES}

    def write(name: str) -> None:
        object_type = OBJECT_TYPES[name]
        with connect(pooler.url) as connection:
            store = MirrorStore(connection, team.id)
            for number in range(PAGES):
                objects = [customer(f"{name}_{number}_{row}") for row in range(PAGE)]
                page = following(store, keys[name], page_of(objects, as_of=10))
                assert store.mirror_page_alone(object_type, keys[name], page)

    with ThreadPoolExecutor(side_by_side) as pool:
        list(pool.map(write, keys))

    for object_type in TYPES:
        ids = sql.SQL("SELECT id FROM {}").format(sql.Identifier(team.schema, object_type.table))
        found = {object_id for (object_id,) in team.connection.execute(ids).fetchall()}
        assert found == {f"{object_type.name}_{number}_{row}" for number in range(PAGES) for row in range(PAGE)}


@pytest.mark.parametrize("pooler", ["transaction", "session"], indirect=True)
def test_batches_of_events_that_share_servers_reach_each_its_own_table(pooler: Pooler, team: Team, monkeypatch) -> None:
    monkeypatch.setattr("sync.events.applying.BATCH_SIZE", 7)  # so that each connection has many
    stripe = simulated_stripe(counts={"customer": 1})
    makes = {"customer": customer, "charge": charge, "invoice": invoice, "product": product}
    told = [event(make(id=f"{name}_{number}")) for number in range(60) for name, make in makes.items()]
    assert record_events(Ledger(team.connection, team.id), map(encoded, told)) == len(told)

    def apply(_: int) -> None:
        with connect(pooler.url) as connection:
            while not apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe)).is_last:
                pass

    with ThreadPoolExecutor(4 if is_shared(pooler) else POOL_SIZE) as pool:
        list(pool.map(apply, range(4)))

    for name in makes:
        ids = sql.SQL("SELECT id FROM {}").format(sql.Identifier(team.schema, OBJECT_TYPES[name].table))
        found = {object_id for (object_id,) in team.connection.execute(ids).fetchall()}
        assert found == {f"{name}_{number}" for number in range(60)}


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
def test_nothing_of_ours_is_left_for_whoever_comes_next(pooler: Pooler, team: Team) -> None:
    key = open_window(MirrorStore(team.connection, team.id))
    defaults = [team.connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in LEFT]
    with connect(pooler.url) as connection:
        page = page_of([customer("cus_1")], as_of=10)
        MirrorStore(connection, team.id).mirror_page_alone(TYPES[0], key, page)

    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as stranger:
        found = [stranger.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in LEFT]

    assert found == defaults


@pytest.mark.parametrize("pooler", ["transaction", "session"], indirect=True)
def test_a_holder_is_not_known_by_a_connection_that_outlives_it(pooler: Pooler, team: Team) -> None:
    backfills = BackfillStore(team.connection)
    backfill_id = backfills.start(team.id, ["customer", "charge"], None, request_id=None).id
    with connect(pooler.url) as pooled:
        assert PartStore(pooled).acquire(backfill_id, "customer")
    with connect(pooler.direct_url) as direct:
        assert PartStore(direct).acquire(backfill_id, "charge")

    found = team.connection.execute("SELECT part, session IS NULL FROM billstack.leases WHERE held")

    assert dict(found.fetchall()) == {"customer": True, "charge": False}


@pytest.mark.parametrize("pooler", ["statement"], indirect=True)
def test_a_pooler_without_transactions_is_refused(pooler: Pooler) -> None:
    with pytest.raises(ConfigError, match=r"DATABASE_URL: .*pool_mode to transaction or session"):
        refuse_unfit_postgres(pooler.url, "DATABASE_URL")


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
@pytest.mark.parametrize(
    ("setting", "unfit", "fit"),
    [("default_transaction_isolation", "serializable", "'read committed'"), ("synchronous_commit", "off", "on")],
)
def test_a_default_that_a_pooler_keeps_us_from_changing_is_refused(
    pooler: Pooler, setting: str, unfit: str, fit: str
) -> None:
    refuse_unfit_postgres(pooler.url, "DATABASE_URL")
    set_default(pooler.direct_url, setting, unfit)
    with psycopg.connect(pooler.direct_url, autocommit=True) as connection:
        end_others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        connection.execute(end_others, (connection.info.dbname,))
    assert wait_until(lambda: answers(pooler.url), 10), "the pooler forgets the connections that are gone"

    with pytest.raises(ConfigError, match=rf"run ALTER ROLE postgres IN DATABASE .* SET {setting} = {fit}"):
        refuse_unfit_postgres(pooler.url, "DATABASE_URL")
    refuse_unfit_postgres(pooler.direct_url, "DATABASE_URL")


@pytest.mark.slow
def test_the_whole_product_is_exact_with_all_of_it_behind_a_pooler(request: pytest.FixtureRequest) -> None:
    """In transaction mode, and the workers have no other address: a backfill, events meanwhile, a killed worker, statuses."""
    program = pgbouncer(request.config)

    @contextmanager
    def between(postgres: EmbeddedPostgres | ExternalServer) -> Iterator[Mapping[str, str]]:
        assert isinstance(postgres, EmbeddedPostgres)
        database = urlsplit(postgres.url).path.strip("/")
        with (
            temporary_state_dir() as folder,
            running_pooler(program, folder, postgres, database, "transaction", size=8) as pooler,
        ):
            yield {"DATABASE_URL": pooler.url, "DATABASE_DIRECT_URL": pooler.url}

    with temporary_state_dir() as folder, running_installation(folder, between=between) as installation:
        product = installation.new_team("pooled", counts=COUNTS)
        product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
        product.sandbox.call("PUT", "deliveries", shuffle=True, duplicates=0.3, delay_s=1.0, seed=5)
        product.slow_stripe(100)
        product.client.start_backfill(product.team_id)
        product.sandbox.change(200, account=product.account, seed=5, over_s=4)
        product.wait_for(lambda status: status["result"]["charge"]["synced"] > 0)
        killed = product.kill_work_horse()
        product.slow_stripe(0)

        wait_until_delivered(product)
        status = product.wait_while_syncing(180)
        wait_until_quiet(product)

        assert killed
        assert status["syncStatus"] == "ready", status
        assert product.differences() == []
        assert status["lastEventAt"], status


def is_shared(pooler: Pooler) -> bool:
    """Whether another client gets the server while this one is idle."""
    with psycopg.connect(pooler.url, autocommit=True) as one, psycopg.connect(pooler.url, autocommit=True) as other:
        pids = [each.execute("SELECT pg_backend_pid()").fetchone() for each in (one, other)]
    return pids[0] == pids[1]
