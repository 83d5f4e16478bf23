"""Security headers on everything; rq-dashboard's pages run in a sandbox."""

import re
from html.parser import HTMLParser

import pytest


@pytest.mark.parametrize("address", ["/api/docs", "/healthz", "/nothing", "/api/auth/session", "/static/docs.css"])
def test_nothing_may_be_loaded_from_elsewhere_or_run_inline(client, address):
    headers = client.get(address).headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("address", ["/api/docs", "/rq/"])
def test_pages_name_no_other_host(operator, address):
    sources = _Sources()
    sources.feed(operator.client.get(address).text)

    assert sources.found
    assert not [source for source in sources.found if re.match(r"(https?:)?//", source)]


def test_the_operators_view_runs_in_an_origin_of_its_own_and_only_its_own_scripts(operator):
    page = operator.client.get("/rq/")

    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    nonce = re.search("'nonce-([^']{20,})'", policy["script-src"])[1]
    assert policy["sandbox"] == "allow-scripts", "with allow-same-origin a script there would have the session"
    assert "unsafe-inline" not in policy["script-src"]
    assert "'self'" not in policy["script-src"]
    assert policy["connect-src"] == "http://localhost/rq/0/data/"
    assert policy["default-src"] == policy["form-action"] == "'none'"
    assert page.text.count(f'<script nonce="{nonce}"') == page.text.count("<script")
    assert nonce not in operator.client.get("/rq/").headers["Content-Security-Policy"]


def test_answers_are_not_kept_by_caches(owner):
    assert owner.client.get("/api/auth/session").headers["Cache-Control"] == "no-store"


class _Sources(HTMLParser):
    """What a page makes a browser load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe") and "src" in attributes:
            self.found.append(attributes["src"])
        if tag == "link":
            self.found.append(attributes["href"])
