"""The request id and the one line about each request."""

import json
import re

import pytest


@pytest.mark.parametrize("given", ["abc", "0123-4567", "a" * 64, "Root=1:2.3_x".replace("=", "-")])
def test_a_sane_request_id_is_kept(client, given):
    assert client.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "<script>", '"', "é"])
def test_any_other_is_replaced(client, given):
    answer = client.get("/healthz", headers={"X-Request-Id": given})

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_each_request_gets_another_id(client):
    assert client.get("/healthz").headers["X-Request-Id"] != client.get("/healthz").headers["X-Request-Id"]


@pytest.mark.parametrize("address", ["/healthz", "/nothing", "/api/auth/session", "/rq/"])
def test_every_answer_carries_one(client, address):
    assert client.get(address).headers["X-Request-Id"]


def test_every_request_is_one_line_of_json_with_its_id(log_lines, client):
    client.get("/api/auth/session?secretKey=sk_test_leaked", headers={"X-Request-Id": "given-1"})

    (line,) = [line for line in log_lines() if line["event"] == "request.answered"]
    assert line["request_id"] == "given-1"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/auth/session", 401)
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")
    assert "leaked" not in json.dumps(line)


def test_a_key_in_an_address_is_cut(log_lines, client):
    client.get("/api/sk_test_leaked/connect")

    (line,) = log_lines()
    assert line["path"] == "/api/sk_test_…"


def test_the_team_is_in_the_line(log_lines, owner):
    owner.client.get(f"{owner.stripe}/status", headers={"X-Request-Id": "given-2"})

    (line,) = [line for line in log_lines() if line.get("request_id") == "given-2"]
    assert line["team"] == owner.team_id


def test_one_request_leaves_nothing_in_the_lines_of_the_next(log_lines, owner):
    owner.client.get(f"{owner.stripe}/status")
    owner.client.get("/nothing", headers={"X-Request-Id": "given-3"})

    (line,) = [line for line in log_lines() if line.get("request_id") == "given-3"]
    assert "team" not in line


def test_passwords_and_cookies_are_in_no_line(log_lines, owner):
    lines = json.dumps(log_lines())

    assert "correct horse" not in lines
    assert owner.email not in lines
    assert owner.client.get_cookie("billstack_session").value not in lines


def test_health_checks_are_quiet(log_lines, client):
    client.get("/healthz")

    assert log_lines() == []
