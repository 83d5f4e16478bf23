"""What operators look at, for operators only: rq-dashboard at /rq works with our RQ, and our own page shows the budgets."""

import pickle
import re
from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest
import redis
from rq import Queue, SimpleWorker

from api.operate.rq_view import make_ticket, read_ticket
from workers.redis.limiter import Limiter, Rates

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


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "address",
    [
        "/rq/job/bf_1-customer-1/delete",
        "/rq/job/bf_1-customer-1/requeue",
        "/rq/requeue/backfills",
        "/rq/queue/backfills/failed/empty",
        "/rq/queue/backfills/compact",
    ],
)
def test_nothing_can_be_changed_there(operator, queue, failed_job, method, address):
    answer = operator.client.open(address, method=method, headers=SAME_ORIGIN)

    assert answer.status_code in (403, 405)
    assert failed_job.get_status(refresh=True) == "failed"
    assert queue.job_ids == []


SCRIPT = "</script><script>alert(1)</script>"


@pytest.mark.parametrize(
    "address",
    [
        "/rq/0/view/jobs/x');alert(1);('/queued/8/asc/1",
        f"/rq/0/view/jobs/{quote(SCRIPT, safe='')}/queued/8/asc/1",
        "/rq/0/view/jobs/backfills/queued');alert(1)/8/asc/1",
        "/rq/0/view/jobs/backfills/queued/8/asc');alert(1)/1",
        "/rq/1/view",
        "/rq/99999999999999999999/data/queues.json",
        "/rq/0/data/jobs/backfills/nonsense/8/asc/1.json",
        "/rq/0/data/jobs/backfills/queued/0/asc/1.json",
        "/rq/0/data/jobs/backfills/queued/eight/asc/1.json",
        "/rq/0/data/jobs/backfills/queued/8/asc/-1.json",
        "/rq/0/data/jobs/backfills/queued/1000000/asc/1.json",
        "/rq/0/data/job/a%00b.json",
        "/rq/0/data/job/%F0%9F%92%A9.json",
        "/rq/0/view/job/a:b",
    ],
)
def test_what_rq_never_names_so_is_404_and_never_on_a_page(operator, address):
    answer = operator.client.get(address)

    assert answer.status_code == 404
    assert "alert(1)" not in answer.text


@pytest.mark.parametrize("kind", ["a string", "a hash of something else", "pickle"])
def test_a_key_that_is_no_job_is_404(operator, queue, kind):
    if kind == "a string":
        queue.connection.set("rq:job:odd", "1")
    elif kind == "pickle":
        queue.connection.hset("rq:job:odd", mapping={"created_at": "x", "data": pickle.dumps(("a", None, (), {}))})
    else:
        queue.connection.hset("rq:job:odd", mapping={"created_at": "x", "data": b"\xff", "timeout": "soon"})
    queue.connection.lpush("rq:queue:backfills", "odd")

    for address in ("/rq/0/data/job/odd.json", "/rq/0/view/job/odd", "/rq/0/data/jobs/backfills/queued/8/asc/1.json"):
        assert operator.client.get(address).status_code in (200, 404), address


def test_pages_escape_what_jobs_say(operator, queue):
    """Of underscore's two ways to print, theirs let markup through; and a queue's name stood in a script as it was."""
    addresses = [f"/rq/0/view{page}" for page in ("/queues", "/workers", "/jobs", "/job/x")]
    pages = [operator.client.get(address, follow_redirects=True).text for address in addresses]
    queue.enqueue("time.sleep", 0, job_id="x")
    pages.append(operator.client.get("/rq/0/view/job/x").text)

    assert all("<%-" in page for page in (*pages[:3], pages[-1]))
    raw = [line for page in pages for line in page.splitlines() if "<%=" in line]
    assert all("$('<div/>').text(" in line for line in raw)
    assert "document.cookie" not in "".join(pages), "a sandboxed page may not even ask"


def test_a_page_reads_its_data_with_a_ticket_and_without_a_cookie(operator, app):
    ticket = re.search(r'"X-Rq-View": "([^"]+)"', operator.client.get("/rq/").text)[1]
    nobody = app.test_client()

    def ask(address, ticket=ticket):
        return nobody.get(address, headers={"Origin": "null", "X-Rq-View": ticket})

    shown = ask(QUEUES)
    assert (shown.status_code, shown.headers["Access-Control-Allow-Origin"]) == (200, "null")
    assert ask(QUEUES, "").status_code == 401
    assert ask(QUEUES, ticket[:-6] + "AAAAAA").status_code == 401
    for elsewhere in ("/rq/", "/operators", "/api/auth/session", f"{operator.stripe}/status"):
        answer = ask(elsewhere)
        assert answer.status_code in (302, 401), elsewhere
        assert "Access-Control-Allow-Origin" not in answer.headers
    operator.client.post("/api/auth/sign-out", json={})
    assert ask(QUEUES).status_code == 401


def test_a_ticket_ends_after_an_hour():
    ticket = make_ticket(b"s" * 32, [b"k" * 32], now=0)

    assert read_ticket(ticket, [b"n" * 32, b"k" * 32], now=3599) == b"s" * 32
    assert read_ticket(ticket, [b"k" * 32], now=3600) is None
    assert read_ticket(ticket, [b"n" * 32], now=0) is None


def test_a_job_that_is_gone_is_404(operator):
    assert operator.client.get("/rq/0/data/job/gone.json").status_code == 404


@pytest.mark.parametrize("address", [QUEUES, "/rq/", "/operators"])
@pytest.mark.parametrize("role", ["owner", "admin", "viewer"])
def test_whoever_is_no_operator_is_403(new_member, role, address):
    """Also the operator of a team: what they would see there is of all teams."""
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
