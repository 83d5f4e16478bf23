"""What goes to Sentry: errors that are logged with their traceback, without anything of a tenant's."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import structlog

from sync.errors import ConfigError
from workers.error_reports import ErrorReports, open_sentry
from workers.jobs.backfill import JobFailed, job_context
from workers.logging import configure_logging, write_lines

EMAIL, KEY = "jenny@example.com", "sk_test_1234567890abcdef"


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """Events that structlog's and the standard library's loggers caused."""
    structlog.contextvars.clear_contextvars()
    found: list[dict[str, Any]] = []
    write_lines("INFO", ErrorReports(found.append))
    yield found
    configure_logging("INFO")


def fail(email: str) -> None:
    raw = {"email": email, "key": KEY}
    raise KeyError(f"{raw} does not fit")


def test_an_error_is_sent_with_ids_and_places_and_without_data(sent: list[dict[str, Any]]) -> None:
    with structlog.contextvars.bound_contextvars(team="team_1", request_id="r1", email=EMAIL):
        try:
            try:
                fail(EMAIL)
            except KeyError as exc:
                raise ValueError(f"{EMAIL} failed") from exc
        except ValueError:
            structlog.get_logger().exception("page.failed", object=EMAIL)

    (event,) = sent
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "ValueError")
    assert cause["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["transaction"] == "page.failed"
    assert event["tags"] == {"team": "team_1", "request_id": "r1"}
    text = json.dumps(event)
    assert EMAIL not in text
    assert KEY not in text


def test_an_error_of_a_library_is_sent_too(sent: list[dict[str, Any]]) -> None:
    try:
        fail(EMAIL)
    except KeyError:
        logging.getLogger("some.library").error("job of %s failed", EMAIL, exc_info=True)

    (event,) = sent
    assert "transaction" not in event
    assert EMAIL not in json.dumps(event)


@pytest.mark.usefixtures("context")
def test_a_failed_job_is_sent_with_its_team(sent: list[dict[str, Any]]) -> None:
    with pytest.raises(JobFailed), job_context(team="team_1"):
        fail(EMAIL)

    (event,) = sent
    assert event["exception"]["values"][-1]["type"] == "KeyError"
    assert event["tags"] == {"team": "team_1"}
    assert EMAIL not in json.dumps(event)


def test_postgres_sentences_that_quote_values_are_not_sent(sent: list[dict[str, Any]], database_url: str) -> None:
    try:
        with psycopg.connect(database_url) as connection:
            connection.execute("SELECT %s::integer", (EMAIL,))
    except psycopg.Error:
        structlog.get_logger().exception("request.failed")

    (event,) = sent
    assert event["exception"]["values"][-1]["value"] == "InvalidTextRepresentation (22P02)"


def test_what_is_no_error_is_not_sent(sent: list[dict[str, Any]]) -> None:
    structlog.get_logger().error("key.refused", reason="no exception")
    structlog.get_logger().warning("lease.lost", exc_info=ValueError())

    assert sent == []


def test_without_its_package_a_dsn_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    with pytest.raises(ConfigError, match="SENTRY_DSN needs sentry-sdk") as refused:
        open_sentry("https://key@sentry.example.com/1")

    assert "\n" not in refused.value.message


def test_a_key_in_a_sentence_or_an_id_is_cut(sent: list[dict[str, Any]]) -> None:
    with structlog.contextvars.bound_contextvars(request_id=KEY):
        try:
            raise RuntimeError(f"with {KEY}")
        except RuntimeError:
            structlog.get_logger().exception("page.failed")

    assert KEY not in json.dumps(sent)
    assert "with sk_test_" in json.dumps(sent)
