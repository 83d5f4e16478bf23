"""What is wrong with a team is found, recorded once, and once when it is over, however many schedulers look."""

import json
import threading

import psycopg
import pytest

from sync.alerts.store import AlertStore
from sync.alerts.words import KINDS, TEST
from sync.database import schema
from sync.teams.secrets import SecretBox
from tests.sync.conftest import Team

BOX = SecretBox((b"k" * 32,))


@pytest.fixture
def watched(team: Team):
    """A team with both channels."""
    connection = team.connection
    connection.execute("UPDATE billstack.connections SET secret_key = '\\x01', key_valid = true, sweep_due_at = now()")
    connection.execute(
        "INSERT INTO billstack.users (id, email, password_hash) VALUES ('user_a', 'Ada@example.com', '')"
    )
    connection.execute(
        "INSERT INTO billstack.members (team_id, user_id, role) VALUES (%s, 'user_a', 'owner')", (team.id,)
    )
    AlertStore(connection, BOX).put(team.id, webhook_url="https://example.com/", emails=["ada@example.com"])
    yield team
    for table in ("alert_settings", "members", "reconciles"):
        connection.execute(
            psycopg.sql.SQL("DELETE FROM {} WHERE team_id = %s").format(psycopg.sql.Identifier("billstack", table)),
            (team.id,),
        )
    connection.execute("DELETE FROM billstack.users WHERE id = 'user_a'")
    connection.execute("UPDATE billstack.connections SET secret_key = '', key_valid = true, sweep_due_at = now()")


def look(team: Team) -> int | None:
    return AlertStore(team.connection, BOX).look(every_s=0)


def backfill(state: str, number: int) -> str:
    return (
        (
            "INSERT INTO billstack.backfills (id, team_id, objects, state, requested_at, error)"
            " VALUES ('bf_STATE_NUMBER', %(team)s, '{customer}', 'STATE', now() + interval 'NUMBER s', 'No such key')"
        )
        .replace("STATE", state)
        .replace("NUMBER", str(number))
    )


def comparison(count: int, number: int) -> str:
    found = json.dumps({"customer": {"compared": 9, "stale": {"count": count, "ids": []}}, "charge": {"compared": 0}})
    return (
        (
            "INSERT INTO billstack.reconciles (id, team_id, state, found, requested_at)"
            " VALUES ('rc_NUMBER', %(team)s, 'done', 'FOUND', now() + interval 'NUMBER s')"
        )
        .replace("FOUND", found)
        .replace("NUMBER", str(number))
    )


LATE_EVENT = (
    "INSERT INTO billstack.events (team_id, id, type, created, body, delivered, received_at)"
    " VALUES (%(team)s, 'evt_late', 'x', 1, '{{}}', true, now() - interval '{} minutes')"
)
# By kind: what makes it wrong, and what makes it well.
BEGINNINGS = {
    "key_refused": (
        "UPDATE billstack.connections SET key_valid = false WHERE team_id = %(team)s",
        "UPDATE billstack.connections SET key_valid = true WHERE team_id = %(team)s",
    ),
    "backfill_failed": (backfill("error", 1), backfill("ready", 2)),
    "drift_found": (comparison(3, 1), comparison(0, 2)),
    "events_behind": (LATE_EVENT.format(11), "UPDATE billstack.events SET state = 'applied' WHERE team_id = %(team)s"),
    "schema_outdated": (
        "COMMENT ON SCHEMA {schema} IS 'billstack 1'",
        "COMMENT ON SCHEMA {schema} IS 'billstack {version}'",
    ),
}


def run(team: Team, statement: str) -> None:
    names = {"{schema}": f'"{team.schema}"', "{version}": str(schema.SCHEMA_VERSION)}
    for name, value in names.items():
        statement = statement.replace(name, value)
    team.connection.execute(statement, {"team": team.id} if "%(team)s" in statement else None)


def notices(team: Team) -> list[tuple[str, bool, str]]:
    rows = team.connection.execute(
        "SELECT kind, is_on, channel FROM billstack.alert_notices WHERE team_id = %s ORDER BY created_at, channel",
        (team.id,),
    )
    return rows.fetchall()


def test_each_kind_has_a_beginning_here():
    assert BEGINNINGS.keys() | {TEST} == KINDS.keys()


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_it_is_told_once_by_each_channel_and_once_when_it_is_over(watched: Team, kind: str) -> None:
    begins, ends = BEGINNINGS[kind]
    assert look(watched) == 0

    run(watched, begins)
    assert [look(watched), look(watched)] == [1, 0]
    assert notices(watched) == [(kind, True, "email"), (kind, True, "webhook")]

    run(watched, ends)
    assert [look(watched), look(watched)] == [1, 0]
    assert notices(watched)[2:] == [(kind, False, "email"), (kind, False, "webhook")]
    (alert,) = AlertStore(watched.connection, BOX).alerts(watched.id)
    assert (alert.kind, alert.is_on) == (kind, False)
    assert alert.over_at


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(backfill("canceled", 1), id="a canceled backfill"),
        pytest.param(backfill("running", 1), id="a running backfill"),
        pytest.param(comparison(0, 1), id="an equal comparison"),
        pytest.param(LATE_EVENT.format(9), id="an event of nine minutes"),
    ],
)
def test_what_is_not_wrong_is_not_told(watched: Team, harmless: str) -> None:
    run(watched, harmless)

    assert look(watched) == 0


def test_while_the_next_backfill_runs_the_failed_one_is_not_over(watched: Team) -> None:
    run(watched, backfill("error", 1))
    look(watched)

    run(watched, backfill("running", 2))

    assert look(watched) == 0


def test_a_full_backfill_after_a_comparison_ends_its_drift(watched: Team) -> None:
    run(watched, comparison(3, 1))
    look(watched)

    run(watched, backfill("ready", 2))

    assert look(watched) == 1


def test_events_that_nobody_reads_from_stripe_are_behind_too(watched: Team) -> None:
    run(watched, backfill("ready", 1))
    watched.connection.execute("UPDATE billstack.connections SET sweep_due_at = now() - interval '11 minutes'")

    assert look(watched) == 1
    assert notices(watched)[0][0] == "events_behind"


def test_what_begins_again_is_told_again(watched: Team) -> None:
    begins, ends = BEGINNINGS["key_refused"]
    for statement in (begins, ends, begins):
        run(watched, statement)
        assert look(watched) == 1

    assert [is_on for _, is_on, channel in notices(watched) if channel == "email"] == [True, False, True]


def test_a_disconnected_team_has_nothing_wrong(watched: Team) -> None:
    run(watched, BEGINNINGS["key_refused"][0])
    look(watched)

    watched.connection.execute("UPDATE billstack.connections SET secret_key = NULL")

    assert look(watched) == 1
    assert look(watched) == 0


def test_a_team_without_alerts_costs_and_records_nothing(watched: Team) -> None:
    AlertStore(watched.connection, BOX).delete(watched.id)
    run(watched, BEGINNINGS["key_refused"][0])

    assert look(watched) == 0
    assert watched.connection.execute("SELECT count(*) FROM billstack.alerts").fetchone() == (0,)


def test_a_former_member_is_told_nothing(watched: Team) -> None:
    watched.connection.execute("DELETE FROM billstack.members WHERE user_id = 'user_a'")
    run(watched, BEGINNINGS["key_refused"][0])

    look(watched)

    assert notices(watched) == [("key_refused", True, "webhook")]


def test_many_schedulers_that_look_at_once_tell_once(watched: Team) -> None:
    run(watched, BEGINNINGS["key_refused"][0])
    ready, found = threading.Barrier(4), []

    def scheduler() -> None:
        with watched.connect() as connection:
            ready.wait()
            found.append(AlertStore(connection, BOX).look(every_s=0))

    threads = [threading.Thread(target=scheduler) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(each or 0 for each in found) == [0, 0, 0, 1]
    assert len(notices(watched)) == 2


def test_they_look_once_a_minute_together(watched: Team) -> None:
    store = AlertStore(watched.connection, BOX)
    store.look(every_s=0)

    assert store.look(every_s=60) is None


# Claims ---------------------------------------------------------------------------------------------------------------


def test_what_is_over_waits_for_what_began(watched: Team) -> None:
    store, (begins, ends) = AlertStore(watched.connection, BOX), BEGINNINGS["key_refused"]
    run(watched, begins)
    look(watched)
    run(watched, ends)
    look(watched)

    first = store.claim(limit=10)
    assert sorted((notice.channel, notice.is_on) for notice in first) == [("email", True), ("webhook", True)]
    assert store.claim(limit=10) == [], "they are claimed"
    for notice in first:
        store.sent(notice.id)

    assert [notice.is_on for notice in store.claim(limit=10)] == [False, False]


def test_a_claim_of_a_dead_sender_comes_due_again(watched: Team) -> None:
    store = AlertStore(watched.connection, BOX)
    run(watched, BEGINNINGS["key_refused"][0])
    look(watched)
    claimed = {notice.id for notice in store.claim(limit=10)}

    watched.connection.execute("UPDATE billstack.alert_notices SET next_attempt_at = now()")

    again = store.claim(limit=10)
    assert {notice.id for notice in again} == claimed
    assert {notice.attempts for notice in again} == {2}


def test_a_notice_whose_secret_does_not_open_holds_up_no_other(watched: Team, other_team: Team) -> None:
    store = AlertStore(watched.connection, BOX)
    AlertStore(watched.connection, SecretBox((b"x" * 32,))).put(
        other_team.id, webhook_url="https://example.com", emails=[]
    )
    watched.connection.execute("UPDATE billstack.connections SET secret_key = '\\x01', key_valid = false")
    look(watched)

    assert {notice.team_id for notice in store.claim(limit=10)} == {watched.id}

    watched.connection.execute("DELETE FROM billstack.alert_settings WHERE team_id = %s", (other_team.id,))


def test_a_rotation_seals_addresses_and_secrets_again(watched: Team) -> None:
    both = AlertStore(watched.connection, SecretBox((b"n" * 32, b"k" * 32)))
    before = both.receivers(watched.id)

    assert (both.reseal(), both.reseal()) == (2, 0)

    assert AlertStore(watched.connection, SecretBox((b"n" * 32,))).receivers(watched.id) == before
