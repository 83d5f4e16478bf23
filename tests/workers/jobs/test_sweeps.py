"""A sweep that finds no new event still lists the newest objects of the types that Stripe sends no events for."""

from psycopg import sql

from sync.database.schema import schema_name
from sync.teams.mirrored_types import MirroredTypes
from workers.jobs import events


def test_a_sweep_without_news_lists_types_without_events_again(context, database, stripe, team_id):
    with database.transaction():
        MirroredTypes(database, team_id).add(["feature"])
    database.execute(
        "INSERT INTO billstack.type_proofs (team_id, type, completed_at, known_until) VALUES (%s, 'feature', now(), 0)",
        (team_id,),
    )
    account = stripe.sandbox.tenant("demo").account
    feature = account.create("feature")["id"]

    assert events.sweep_events(team_id) == 0

    features = sql.Identifier(schema_name(team_id), "features")
    found = database.execute(sql.SQL("SELECT id FROM {}").format(features)).fetchall()
    assert found == [(feature,)]
