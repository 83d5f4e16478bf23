"""What operators look at, for operators only: rq-dashboard at /rq works with our RQ, and our own page shows the budgets."""

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import redis
from rq import Queue, SimpleWorker

from workers.limiter import Limiter, Rates

QUEUES = "/rq/0/data/queues.json"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def queue(redis_url):
    with redis.Redis.from_url(redis_url) as connection:
        yield Queue("backfills", connection=connection)


@pytest.fixture
def failed_job(queue):
    job = queue.enqueue("builtins.int", "as asked", job_id="bf_1-customer-1")
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="CRITICAL")
    return job


@pytest.mark.parametrize(
    "address",
    ["/rq/", "/rq/0/view", "/rq/0/view/workers", "/rq/0/view/jobs", "/rq/0/view/jobs/backfills/failed/8/asc/1"],
)
def test_its_pages_and_their_scripts_load(operator, queue, address):
    queue.enqueue("time.sleep", 0)

    page = operator.client.get(address, follow_redirects=True)

    assert page.status_code == 200
    assert "RQ dashboard" in page.text
    for script in ("js/jquery-3.5.1.min.js", "js/underscore-umd-min.js", "css/bootstrap.min.css"):
        assert f"/rq/static/{script}" in page.text
        assert operator.client.get(f"/rq/static/{script}").status_code == 200


def test_it_counts_the_jobs(operator, queue, failed_job):
    queue.enqueue("time.sleep", 0)

    (shown,) = operator.client.get(QUEUES).json["queues"]

    assert (shown["name"], shown["count"], shown["failed_job_registry_count"]) == ("backfills", 1, 1)


def test_it_shows_why_a_job_failed(operator, failed_job):
    listed = operator.client.get("/rq/0/data/jobs/backfills/failed/8/asc/1.json").json
    shown = operator.client.get(f"/rq/0/data/job/{failed_job.id}.json").json

    assert [job["id"] for job in listed["jobs"]] == [failed_job.id]
    assert "ValueError: invalid literal for int() with base 10: 'as asked'" in shown["exc_info"]
    assert shown["status"] == "failed"


def test_it_lists_the_workers(operator, queue):
    worker = SimpleWorker([queue], connection=queue.connection)
    worker.register_birth()

    (shown,) = operator.client.get("/rq/0/data/workers.json").json["workers"]

    assert (shown["name"], shown["queues"]) == (worker.name, ["backfills"])


def test_an_operator_requeues_a_failed_job(operator, queue, failed_job):
    answer = operator.client.post(f"/rq/job/{failed_job.id}/requeue", headers=SAME_ORIGIN)

    assert answer.json == {"status": "OK"}
    assert queue.job_ids == [failed_job.id]


def test_an_operator_requeues_all_of_them(operator, queue, failed_job):
    answer = operator.client.post("/rq/requeue/backfills", headers=SAME_ORIGIN)

    assert answer.json == {"status": "OK", "count": 1}
    assert queue.job_ids == [failed_job.id]


def test_a_link_cannot_requeue(operator, queue, failed_job):
    answer = operator.client.get("/rq/requeue/backfills")

    assert answer.status_code == 405
    assert queue.job_ids == []


@pytest.mark.parametrize("action", ["/rq/job/bf_1-customer-1/delete", "/rq/queue/backfills/failed/empty"])
def test_a_foreign_page_cannot_delete(operator, failed_job, action):
    answer = operator.client.post(action, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert failed_job.get_status(refresh=True) == "failed"


def test_a_job_that_is_gone_is_404(operator):
    assert operator.client.get("/rq/0/data/job/gone.json").status_code == 404


@pytest.mark.parametrize("address", [QUEUES, "/rq/", "/operators"])
@pytest.mark.parametrize("role", ["owner", "admin", "viewer"])
def test_whoever_is_no_operator_is_403(new_member, role, address):
    """Also the owner of a team: what they would see there is of all teams."""
    assert new_member(role).client.get(address).status_code == 403


def test_redis_away_is_503(new_app, settings, operator):
    away = new_app(replace(settings, redis_url="redis://127.0.0.1:1")).test_client()
    away.set_cookie("billstack_session", operator.client.get_cookie("billstack_session").value)

    answer = away.get(QUEUES)

    assert answer.status_code == 503
    assert answer.json["code"] == "redis_unavailable"
    assert answer.headers["Retry-After"]


def test_the_password_of_redis_is_used_and_not_shown(settings, operator):
    password = urlsplit(settings.redis_url).password
    if not password:
        pytest.skip("this Redis has no password")

    page = operator.client.get("/rq/")

    assert "RQ dashboard" in page.text
    assert password not in page.text


# ---- our own page


def test_the_page_shows_the_budgets_and_names_only_ones_own_teams(operator, new_member, database, redis_url):
    stranger = new_member()
    connected = "INSERT INTO billstack.connections (team_id, account_id, livemode, secret_key) VALUES (%s, %s, %s, '')"
    database.execute(connected, (operator.team_id, "acct_Mine", False))
    database.execute(connected, (stranger.team_id, "acct_Theirs", False))
    database.execute("UPDATE billstack.teams SET name = 'Team of others' WHERE id = %s", (stranger.team_id,))
    database.execute("UPDATE billstack.teams SET name = 'Team of mine' WHERE id = %s", (operator.team_id,))
    with redis.Redis.from_url(redis_url) as connection:
        limiter = Limiter(connection, Rates())
        for account in ("acct_Mine", "acct_Theirs"):
            limiter.reserve(account, "list_invoices", livemode=False)
        limiter.slow_down("acct_Mine", "list_invoices", "endpoint-rate", livemode=False)

        page = operator.client.get("/operators", headers={"Accept": "text/html"}).text

    table = page.partition('id="budgets-heading"')[2].partition("</section>")[0]
    assert "acct_Mine" in table
    assert "acct_Theirs" in table
    assert "list invoices" in table
    assert re.search(r"acct_Mine.*?Team of mine", table, re.DOTALL)
    assert "Team of others" not in page
    assert table.count("warn-text") == 1, "of the four buckets one was cut"
