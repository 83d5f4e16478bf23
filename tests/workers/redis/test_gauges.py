"""What /metrics asks of Postgres and Redis: numbers of all teams, and no team's name."""

from rq import Queue

from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from workers.queues import BACKFILLS, EVENTS
from workers.redis.beats import beat
from workers.redis.limiter import Limiter, Rates
from workers.redis.metrics import exposition


def metrics(context) -> dict[str, float]:
    lines = exposition(context).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_jobs_by_queue_and_state_and_living_workers(context, team_id):
    Queue(EVENTS, connection=context.redis).enqueue("builtins.int")
    beat(context.redis, BACKFILLS, "w1")

    found = metrics(context)

    assert found['billstack_jobs{queue="events",state="waiting"}'] == 1
    assert found['billstack_jobs{queue="comparisons",state="waiting"}'] == 0
    assert found['billstack_workers{role="backfills"}'] == 1
    assert found['billstack_workers{role="events"}'] == 0


def test_parts_of_running_backfills(context, database, team_id):
    store = BackfillStore(database)
    backfill_id = store.start(team_id, ["customer", "charge", "price"], None, request_id=None).id
    PartStore(database).acquire(backfill_id, "customer")
    PartStore(database).acquire(backfill_id, "charge")
    database.execute(
        "UPDATE billstack.leases SET session = '0@0', renewed_at = now() - interval '9 s' WHERE part = 'charge'"
    )

    found = metrics(context)

    assert found["billstack_backfills_running"] == 1
    parts = {state: found[f'billstack_backfill_parts{{state="{state}"}}'] for state in ("held", "free", "dead")}
    assert parts == {"held": 2, "free": 1, "dead": 1}


def test_the_team_of_which_least_is_known_gives_the_age_of_the_oldest_proof(context, database, new_team):
    first, second = new_team(), new_team()
    for team_id, ago_s in ((first, 10), (second, 5000)):
        database.execute(
            "INSERT INTO billstack.type_proofs (team_id, type, completed_at, known_until)"
            " VALUES (%s, 'customer', now(), extract(epoch FROM now()) - %s)",
            (team_id, ago_s),
        )
    new_team()
    database.execute("UPDATE billstack.connections SET key_valid = false WHERE team_id = %s", (first,))

    found = metrics(context)

    assert 4990 < found["billstack_oldest_proof_seconds"] < 5100
    assert found['billstack_teams{state="connected"}'] == 3
    assert found['billstack_teams{state="key_refused"}'] == 1
    assert found['billstack_teams{state="never_proven"}'] == 1


def test_the_budget_that_is_used_most(context, team_id):
    limiter = Limiter(context.redis, Rates(context.settings.stripe_account_rps, context.settings.stripe_endpoint_rps))
    limiter.reserve("acct_1", "list_charges", livemode=False)
    assert 0 < metrics(context)["billstack_budget_used_ratio"] < 1

    limiter.slow_down("acct_1", "list_charges", "global-rate", livemode=False)

    assert metrics(context)["billstack_budgets_cut"] == 1


def test_connections_by_application_and_no_tenants_text(context, database, team_id):
    text = exposition(context).decode()

    assert 'billstack_postgres_connections{application="billstack"}' in text
    assert "billstack_postgres_connections_most" in text
    assert team_id not in text
    assert "acct_" not in text
