"""One person becomes one Stripe customer and one project customer, at whichever step a process dies or is late."""

import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.customers.candidates import Person
from sync.customers.links import CustomerLinks
from sync.customers.store import ProjectCustomerStore
from sync.errors import Conflict, StripeUnavailable
from sync.ids import new_id
from sync.stripe.caller import Caller
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from sync.stripe.transport import Transport

ADA = Person("Ada@Example.com", "Ada", {"plan": "pro"})


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass(frozen=True)
class Budget:
    """A limiter without limits."""

    count: int = 1
    wait_s: float = 0.0
    rate: float = 100.0
    tokens: float = 100.0

    def reserve(self, account_id, endpoint, *, livemode, urgent=False, most=1):
        return self

    def slow_down(self, account_id, endpoint, reason, *, livemode):
        pass


class SlowCaller(Caller):
    """Lets the world move on before an answer to a POST arrives."""

    def post(self, *arguments, **options):
        answer = super().post(*arguments, **options)
        self.after_post()
        return answer


@pytest.fixture(scope="module")
def served():
    with SandboxThread(Sandbox()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served):
    """An account that holds nothing, and no faults."""
    served.add_account("demo", scale=0)
    served.call("DELETE", "faults")
    return served


@pytest.fixture
def project(team):
    project_id = new_id("proj")
    team.connection.execute(
        "INSERT INTO billstack.projects (id, team_id, name) VALUES (%s, %s, 'Shop')", (project_id, team.id)
    )
    yield project_id
    for table in ("projects", "customer_intents"):
        team.connection.execute(f"DELETE FROM billstack.{table}")  # noqa: S608 (names of ours)


@pytest.fixture
def new_links(team, sandbox):
    """A process' own; it dies when it wants to reach Postgres for the `dies_at`-th time."""

    def create(dies_at=None, on_sleep=lambda: None, after_post=lambda: None, monotonic=time.monotonic):
        reached = 0

        @contextmanager
        def connect():
            nonlocal reached
            reached += 1
            if dies_at is not None and reached >= dies_at:
                raise Killed
            with team.connect() as connection:
                yield connection

        def wait(seconds):
            on_sleep()

        caller = SlowCaller(
            secret_key="sk_test_demo",
            account_id="acct_1",
            livemode=False,
            api_base=sandbox.url,
            transport=Transport(),
            limiter=Budget(),
            attempts=FAIL_FAST_ATTEMPTS,
            sleep=lambda seconds: None,
        )
        caller.after_post = after_post
        return CustomerLinks(connect, team.id, caller, sleep=wait, monotonic=monotonic)

    return create


@pytest.fixture
def lease_ends(team):
    """As if the holder's time were over."""
    return lambda: team.connection.execute("UPDATE billstack.customer_intents SET held_until = '-infinity'")


def customers_at(sandbox):
    return [each["email"] for each in sandbox.objects("customer")]


def people(team, project):
    return team.connection.execute(
        "SELECT id FROM billstack.project_customers WHERE project_id = %s", (project,)
    ).fetchall()


def intents(team):
    return team.connection.execute("SELECT count(*) FROM billstack.customer_intents").fetchone()[0]


@pytest.mark.parametrize("step", range(1, 9))
def test_a_process_that_dies_at_a_step_is_repaired_by_the_next(team, project, sandbox, new_links, lease_ends, step):
    try:
        new_links(dies_at=step).link(project, ADA)
        assert step > 5, "it did not die"
    except Killed:
        pass

    if people(team, project):  # it died after the commit
        with pytest.raises(Conflict, match="already"):
            new_links(on_sleep=lease_ends).link(project, ADA)
    else:
        new_links(on_sleep=lease_ends).link(project, ADA)

    assert len(people(team, project)) == 1
    assert customers_at(sandbox) == ["Ada@Example.com"]
    assert intents(team) == 0


def test_the_dead_are_waited_for_no_longer_than_their_lease(project, new_links, lease_ends):
    """Killed after Stripe had made the customer, before the link was committed."""
    with pytest.raises(Killed):
        new_links(dies_at=5).link(project, ADA)
    waited = []

    def wait():
        waited.append(1)
        if len(waited) == 3:
            lease_ends()

    assert new_links(on_sleep=wait).link(project, ADA).customer.email == "Ada@Example.com"
    assert len(waited) == 3


def test_another_spelling_and_project_go_on_with_the_same_creation(team, project, sandbox, new_links, lease_ends):
    sandbox.call("PUT", "faults", faults=[{"kind": "reset", "path": "/v1/customers", "method": "POST", "share": 1}])
    with pytest.raises(StripeUnavailable):
        new_links().link(project, ADA)
    before = intents(team)
    sandbox.call("DELETE", "faults")

    linked = new_links().link(project, Person("ADA@example.com"))

    assert (before, intents(team)) == (1, 0)
    assert linked.customer.metadata == {"plan": "pro", "project_id": project}
    assert customers_at(sandbox) == ["Ada@Example.com"]


def test_what_an_interrupted_try_created_was_not_there(team, project, sandbox, new_links, lease_ends):
    with pytest.raises(Killed):
        new_links(dies_at=5).link(project, ADA)
    assert customers_at(sandbox) == ["Ada@Example.com"]

    assert not new_links(on_sleep=lease_ends).link(project, ADA).was_there


def test_what_appears_at_stripe_beside_an_interrupted_try_was_there(team, project, sandbox, new_links, lease_ends):
    sandbox.call("PUT", "faults", faults=[{"kind": "reset", "path": "/v1/customers", "method": "POST", "share": 1}])
    with pytest.raises(StripeUnavailable):
        new_links().link(project, ADA)
    sandbox.call("DELETE", "faults")
    account = sandbox.sandbox.tenant("demo", livemode=False).account
    account.create("customer", email=ADA.email)

    assert new_links().link(project, ADA).was_there


def test_a_late_process_commits_nothing(team, project, sandbox, new_links, lease_ends):
    """Its lease ended while Stripe kept it waiting; meanwhile another request did the work."""
    other = new_links()

    def others_work():
        lease_ends()
        other.link(project, ADA)

    late = new_links(after_post=others_work)

    with pytest.raises(Conflict) as refusal:
        late.link(project, ADA)

    assert refusal.value.code == "customer_in_progress"
    assert len(people(team, project)) == 1
    assert customers_at(sandbox) == ["Ada@Example.com"]
    assert intents(team) == 0


def test_a_customer_that_was_deleted_before_the_repair_is_made_again(team, project, sandbox, new_links, lease_ends):
    """The key of the dead request would replay the deleted one."""
    with pytest.raises(Killed):
        new_links(dies_at=5).link(project, ADA)
    (made,) = [each["id"] for each in sandbox.objects("customer")]
    account = sandbox.sandbox.tenant("demo", livemode=False).account
    account.handle("DELETE", f"/v1/customers/{made}", {})

    linked = new_links(on_sleep=lease_ends).link(project, ADA)

    assert linked.customer.stripe_customer_id != made
    assert not linked.was_there
    assert customers_at(sandbox) == ["Ada@Example.com"]


def test_a_project_that_is_deleted_meanwhile_links_nobody(team, project, sandbox, new_links):
    def delete_project():
        team.connection.execute("DELETE FROM billstack.projects WHERE id = %s", (project,))

    links = new_links(after_post=delete_project)

    with pytest.raises(Conflict) as refusal:
        links.link(project, ADA)

    assert refusal.value.code == "deleted_meanwhile"


def test_who_waits_too_long_is_told_so(project, new_links):
    with pytest.raises(Killed):
        new_links(dies_at=5).link(project, ADA)
    clock = iter(range(0, 10_000, 4))
    links = new_links(monotonic=lambda: next(clock))

    with pytest.raises(Conflict) as refusal:
        links.link(project, ADA)

    assert refusal.value.code == "customer_in_progress"


def test_spellings_that_postgres_finds_equal_are_one_intent(team):
    """Python's lower() is another for some letters: two requests would have worked on one e-mail together."""
    store = ProjectCustomerStore(team.connection, team.id)

    for letters in ("ADA", "İ", "K", "ΣΑΣ", "ẞ"):
        (lowered,) = team.connection.execute("SELECT lower(%s)", (f"{letters}@example.com",)).fetchone()
        intent = store.claim(f"{letters}@example.com")

        assert intent is not None
        assert intent.email == lowered
        assert store.claim(lowered) is None
        store.forget(intent)
        assert store.claim(lowered) is not None
