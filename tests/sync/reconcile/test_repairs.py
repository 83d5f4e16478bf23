"""What a comparison repairs is kept as a difference of fields, in the repair's own transaction, and only that."""

import psycopg
import pytest

from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.reconcile import run
from sync.reconcile.repairs import RecordingStore, list_repairs
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.reconcile.test_reconcile import Reconciling, let_drift

CUSTOMER = OBJECT_TYPES["customer"]


@pytest.fixture
def reconciling(team: Team) -> Reconciling:
    team.connection.execute("DELETE FROM billstack.repairs")
    return Reconciling(team)


def repairs(reconciling: Reconciling):
    return list_repairs(reconciling.team.connection, reconciling.team.id, limit=1000)


def test_an_equal_mirror_leaves_no_record(reconciling: Reconciling) -> None:
    assert reconciling.run() == {}

    assert repairs(reconciling) == []


def test_each_kind_of_repair_is_kept_with_the_fields_that_differed(reconciling: Reconciling) -> None:
    missing, stale, dead = reconciling.ids("customer")[:3]
    reconciling.sql("DELETE FROM {} WHERE id = %s", "customers", missing)
    reconciling.sql("UPDATE {} SET raw = raw || %s::jsonb WHERE id = %s", "customers", '{"email": "old@x.org"}', stale)
    reconciling.sql("UPDATE {} SET deleted_at = now() WHERE id = %s", "customers", dead)
    ghost = let_drift(reconciling, "invoices", reconciling.ids("invoice")[0], "notDeleted")

    reconciling.run()

    kept = {each.object_id: each for each in repairs(reconciling)}
    now = next(each["email"] for each in reconciling.stripe.account.objects("customer") if each["id"] == stale)
    assert {id: (each.type, each.kind) for id, each in kept.items()} == {
        missing: ("customer", "missing"),
        stale: ("customer", "stale"),
        dead: ("customer", "stale"),
        ghost: ("invoice", "notDeleted"),
    }
    assert kept[stale].fields == [{"path": "email", "old": '"old@x.org"', "new": f'"{now}"'}]
    assert kept[dead].fields == [{"path": "deleted", "old": "true", "new": "false"}]
    assert kept[ghost].fields == [{"path": "deleted", "old": "false", "new": "true"}]
    assert kept[missing].fields == []


def test_a_change_that_stripe_made_meanwhile_is_no_repair(reconciling: Reconciling) -> None:
    account, once = reconciling.stripe.account, [reconciling.ids("customer")[0]]

    def meanwhile(request) -> None:
        if request.path == "/v1/customers" and once:
            account.update("customer", once.pop(), name="New")
            reconciling.stripe.clock.advance(1)

    reconciling.stripe.at_end = meanwhile

    assert reconciling.run() == {}
    assert repairs(reconciling) == []


def test_of_one_comparison_only_so_many_are_kept(reconciling: Reconciling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_RECORDED", 5)
    reconciling.sql("DELETE FROM {} WHERE true", "customers")

    assert len(reconciling.run()["customer"]["missing"]) == 20
    assert len(repairs(reconciling)) == 5


def test_a_repair_and_its_record_come_together_or_not_at_all(reconciling: Reconciling) -> None:
    stale = reconciling.ids("customer")[0]
    reconciling.sql("UPDATE {} SET raw = raw || %s::jsonb WHERE id = %s", "customers", '{"email": "old@x.org"}', stale)
    connection, team_id = reconciling.team.connection, reconciling.team.id
    broken = RecordingStore(connection, team_id, "\0", room=1)  # Postgres refuses the record

    with pytest.raises(psycopg.DataError):
        refresh(broken, reconciling.source, CUSTOMER, stale)

    kept = row(reconciling.backfilling.mirror, stale, CUSTOMER)
    assert kept
    assert kept.raw["email"] == "old@x.org"
    assert refresh(MirrorStore(connection, team_id), reconciling.source, CUSTOMER, stale) == "written"


def test_another_team_sees_none_of_them(reconciling: Reconciling, other_team: Team) -> None:
    reconciling.sql("DELETE FROM {} WHERE id = %s", "customers", reconciling.ids("customer")[0])
    reconciling.run()

    assert len(repairs(reconciling)) == 1
    assert list_repairs(other_team.connection, other_team.id, limit=10) == []
