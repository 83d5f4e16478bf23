"""Postgres crashes and takes back the last batches of events, which do not wait for the disk. Their process lives on.

What it still knows of them must not settle an event, or replace a row, for which there is no reason any more.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from scripts.local.processes import wait_until
from scripts.local.servers import EmbeddedPostgres, temporary_state_dir
from sync.database.borrowing import borrowing
from sync.database.session import begin_session
from sync.database.upgrade import upgrade
from sync.events.applying import apply_next, record_events
from sync.events.ledger import Ledger
from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.factories import NOW, Json, encoded, event, product
from tests.sync.conftest import Team, make_team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import Request, SimulatedStripe, mirrored_of, simulated_stripe, source_of

CUSTOMER, PRODUCT = OBJECT_TYPES["customer"], OBJECT_TYPES["product"]


class Crashing:
    """A Postgres whose crash takes back all that nobody waited for: what writes its log by and by is paused."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._writer = 0

    def pause_writer(self) -> None:
        """Paused while it sleeps: in the middle of its work it holds a lock that every commit waits for, for ever."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            assert wait_until(lambda: self._is_paused(connection), 60)

    def _is_paused(self, connection: psycopg.Connection) -> bool:
        self._writer, _ = writer_and_its_wait(connection)
        os.kill(self._writer, signal.SIGSTOP)
        _, waits_for = writer_and_its_wait(connection)
        if waits_for == "WalWriterMain":
            return True
        os.kill(self._writer, signal.SIGCONT)
        return False

    def wake_writer(self) -> None:
        """An orderly stop waits for it."""
        os.kill(self._writer, signal.SIGCONT)

    def crash(self) -> None:
        self._server.kill()
        with suppress(ProcessLookupError):
            os.kill(self._writer, signal.SIGKILL)
        self._server.restart()
        self.pause_writer()

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._server.url, autocommit=True, prepare_threshold=None) as connection:
            begin_session(connection)
            yield connection


@pytest.fixture
def postgres() -> Iterator[Crashing]:
    with temporary_state_dir() as folder, EmbeddedPostgres(folder, settings={"autovacuum": "off"}) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            upgrade(connection)
        crashing = Crashing(server)
        crashing.pause_writer()
        yield crashing
        crashing.wake_writer()


@pytest.fixture
def team(postgres: Crashing) -> Team:
    with postgres.connect() as connection:
        made = make_team("", connection)
    return Team(made.id, "", borrowing(postgres.connect))


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe()


def writer_and_its_wait(connection: psycopg.Connection) -> tuple[int, str | None]:
    query = "SELECT pid, wait_event FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    found = connection.execute(query).fetchone()
    assert found, "Postgres runs no walwriter"
    return found


def apply(team: Team, stripe: SimulatedStripe) -> dict[str, int]:
    return dict(apply_next(team.connection, team.id, source_of(stripe), mirrored_of(stripe)).outcomes)


def record(team: Team, *events: Json) -> None:
    assert record_events(Ledger(team.connection, team.id), map(encoded, events)) == len(events)


def once(happen: Callable[[], None]) -> Callable[[Request], None]:
    waiting = [happen]

    def interfere(_: Request) -> None:
        if waiting:
            waiting.pop()()

    return interfere


def test_a_batch_is_lost_while_stripe_is_asked_about_one_of_its_objects(
    postgres: Crashing, team: Team, stripe: SimulatedStripe
) -> None:
    """Created and deleted in one second: the row that the answer is to bury is lost, and its event comes again."""
    about = product("prod_own")
    record(team, event(about, type="product.created"), event(about, type="product.deleted"))
    stripe.at_begin = once(postgres.crash)

    apply(team, stripe)
    while apply(team, stripe):
        pass

    found = row(MirrorStore(team.connection, team.id), "prod_own", PRODUCT)
    assert found is None or found.deleted_at


def test_a_row_that_has_the_number_of_a_lost_transaction_is_another_version(
    postgres: Crashing, team: Team, stripe: SimulatedStripe
) -> None:
    """Postgres gives the numbers of lost transactions again. An answer from before must not replace what is newer."""
    store = MirrorStore(team.connection, team.id)
    record(team, event(stripe.account.create("customer", id="cus_1", name="first"), created=NOW))
    with postgres.connect() as connection:
        for _ in range(3):
            next_transaction(connection)
    apply(team, stripe)
    lost = row(store, "cus_1")
    assert lost

    def crash_and_go_on() -> None:
        postgres.crash()
        assert row(store, "cus_1") is None
        stripe.clock.advance(100)
        newest = stripe.account.update("customer", "cus_1", name="newest")
        record(team, event(newest, created=NOW + 100))
        with postgres.connect() as connection:
            while next_transaction(connection) < int(lost.xmin) - 1:
                pass
        apply(team, stripe)
        found = row(store, "cus_1")
        assert found
        assert (found.xmin, found.raw) == (lost.xmin, newest)

    stripe.at_end = once(crash_and_go_on)
    refresh(store, source_of(stripe), CUSTOMER, "cus_1", advance=True)

    found = row(store, "cus_1")
    assert found
    assert found.raw["name"] == "newest"


def next_transaction(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT pg_current_xact_id()::text::bigint % 4294967296").fetchone()
    assert found
    return int(found[0]) + 1
