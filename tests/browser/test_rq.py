"""rq-dashboard in a real browser: it works for an operator, and no script there can act with the operator's session.

Before, one link to /rq made an API key of the victim's team, and so did what a job said of itself.
"""

import warnings
from urllib.parse import quote

import psycopg
import pytest
import redis
from playwright.sync_api import expect
from rq import Queue, SimpleWorker

from api.people import People
from tests.browser.conftest import sign_in

pytestmark = pytest.mark.browser

# Makes a key of the victim's team, marks that it ran, and takes what it made elsewhere.
ATTACK = (
    "document.documentElement.dataset.attacked=1;"
    "fetch('/api/billstack/teams/{team}/api-keys',{{method:'POST',headers:{{'Content-Type':'application/json'}},"
    "body:JSON.stringify({{name:'stolen'}})}}).then(r=>r.text()).then(t=>new Image().src='/static/stolen?'+t)"
)


@pytest.fixture
def operated(synced):
    """The owner of its team is an operator as well."""
    with psycopg.connect(synced.stack.postgres.url, autocommit=True) as connection:
        people = People(connection)
        people.set_operator(people.find_user(synced.email).id, is_operator=True)
    return synced


@pytest.fixture
def operator(operated, open_page):
    """A page on which they are signed in."""
    page = open_page(operated.stack.url, viewport={"width": 1440, "height": 900})
    sign_in(page, operated.email)
    return page


@pytest.fixture
def queue(synced):
    with redis.Redis.from_url(synced.stack.redis.url) as connection:
        queue = Queue("odd", connection=connection)
        yield queue
        queue.delete(delete_jobs=True)


def keys_of(synced):
    with psycopg.connect(synced.stack.postgres.url, autocommit=True) as connection:
        return connection.execute(
            "SELECT name FROM billstack.api_keys WHERE team_id = %s", (synced.team_id,)
        ).fetchall()


def requests_with_a_session(page):
    """Filled while the page is used: (method, path) of each request that carries a cookie."""
    found = []
    page.on("request", lambda request: found.append(request))
    return lambda: [
        (request.method, request.url)
        for request in found
        if "billstack_session" in request.all_headers().get("cookie", "")
    ]


def test_an_operator_sees_queues_jobs_and_workers(operator, synced, queue):
    job = queue.enqueue("builtins.int", "as asked", description="what it is for")
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="CRITICAL")

    operator.goto("/rq/")
    expect(operator.locator("#queues")).to_contain_text("backfills")
    operator.locator("tr", has_text="odd").locator("td.failed a").first.click()
    expect(operator.locator("#jobs")).to_contain_text("what it is for")
    expect(operator.locator("#jobs")).to_contain_text("'as asked'")
    for button in operator.get_by_text("Requeue").all():
        expect(button).to_be_hidden()
    operator.get_by_role("link", name=job.id).click()
    expect(operator.locator("#job-data")).to_contain_text("ValueError: invalid literal")
    operator.get_by_role("link", name="Workers").click()
    expect_after_a_reload(operator, "#workers", "events")


def expect_after_a_reload(operator, place, text):
    """rq-dashboard's page asks for its data once, and shows "Loading..." for ever if that answer was an error."""
    answers = []
    operator.on("response", lambda response: answers.append((response.status, response.url)))
    operator.on("requestfailed", lambda request: answers.append((request.failure, request.url)))
    try:
        expect(operator.locator(place)).to_contain_text(text, timeout=10_000)
    except AssertionError:
        warnings.warn(f"reloaded; answered before: {answers}", stacklevel=2)
        operator.reload()
        expect(operator.locator(place)).to_contain_text(text)


@pytest.mark.parametrize("place", ["queue", "registry", "order"])
def test_a_link_runs_no_script(operator, synced, place):
    script = quote(f"');{ATTACK.format(team=synced.team_id)};('", safe="")
    parts = {"queue": "backfills", "registry": "queued", "order": "asc"} | {place: script}

    operator.goto(f"/rq/0/view/jobs/{parts['queue']}/{parts['registry']}/8/{parts['order']}/1")
    operator.wait_for_timeout(500)

    assert operator.evaluate("document.documentElement.dataset.attacked") is None
    assert keys_of(synced) == []


def test_what_a_job_says_is_text(operator, synced, queue):
    markup = f'<img src=x onerror="{ATTACK.format(team=synced.team_id)}"><script>{ATTACK}</script>'
    queue.enqueue("builtins.int", markup, job_id="odd-job", description=markup, meta={"note": markup})
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="CRITICAL")

    for address in ("/rq/0/view/job/odd-job", "/rq/0/view/jobs/odd/failed/8/asc/1"):
        operator.goto(address)
        expect(operator.locator("body")).to_contain_text("onerror=")
        assert operator.locator("img").count() == 0

        assert operator.evaluate("document.documentElement.dataset.attacked") is None
    assert keys_of(synced) == []


def test_a_script_that_runs_there_all_the_same_has_no_session(browser, operated):
    """As if an escape were forgotten: here the attack itself runs inside the page, and Chromium complains of each try."""
    with browser.new_context(base_url=operated.stack.url) as context:
        operator = context.new_page()
        sign_in(operator, operated.email)
        attack_from_inside(operator, operated)


def attack_from_inside(operator, synced):
    operator.goto("/rq/0/view")
    expect(operator.locator("#queues")).to_contain_text("backfills")
    sent = requests_with_a_session(operator)

    tried = operator.evaluate(
        """async (team) => {
            const outcome = async (what) => { try { return String(await what()) } catch (error) { return error.name } };
            const url = location.origin + `/api/billstack/teams/${team}/api-keys`;
            const body = '{"name": "stolen"}';
            const send = (options) => () => fetch(url, {method: 'POST', body, ...options}).then((r) => r.status);
            const form = () => { const made = document.createElement('form'); made.action = url; made.method = 'post';
                document.body.append(made); made.submit(); };
            return {
                fetch: await outcome(send({headers: {'Content-Type': 'application/json'}, credentials: 'include'})),
                simple: await outcome(send({mode: 'no-cors', credentials: 'include'})),
                data: await outcome(() => fetch('/rq/0/data/queues.json', {credentials: 'include'}).then((r) => r.status)),
                beacon: await outcome(() => navigator.sendBeacon(url, '{}')),
                cookie: await outcome(() => document.cookie),
                storage: await outcome(() => localStorage.length),
                window: await outcome(() => window.open('/')),
                form: await outcome(form),
                frame: await outcome(() => new Promise((done) => { const frame = document.createElement('iframe');
                    frame.src = '/'; frame.onload = () => done(frame.contentDocument); document.body.append(frame); })),
            }
        }""",
        synced.team_id,
    )
    operator.wait_for_timeout(500)

    assert tried["fetch"] == tried["simple"] == "TypeError"
    assert tried["data"] == "TypeError", (
        "without credentials of any kind, and the answer of a 401 is not for the sandbox"
    )
    assert tried["cookie"] == tried["storage"] == "SecurityError"
    assert tried["window"] == tried["frame"] == "null"
    assert sent() == []
    assert keys_of(synced) == []
