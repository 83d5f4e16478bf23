"""A sweep that finds no new event still lists the newest objects of the types that Stripe sends no events for."""

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

    found = database.execute(f"SELECT id FROM stripe_{team_id}.features").fetchall()
    assert found == [(feature,)]
