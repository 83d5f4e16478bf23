"""workers/logging.py: lines of JSON, without keys, from everybody."""

import contextlib
import json
import logging

import pytest
import structlog

from sync.error_text import redact
from workers.logging import configure_logging


@pytest.fixture
def lines(log_lines):
    """`app` has configured the logging."""
    structlog.contextvars.clear_contextvars()
    return log_lines


def test_bound_facts_are_in_every_line(lines):
    with structlog.contextvars.bound_contextvars(team="team_1", backfill="bf_1"):
        structlog.get_logger().info("page.mirrored", objects=100)

    (line,) = lines()
    assert line["event"] == "page.mirrored"
    assert (line["team"], line["backfill"], line["objects"]) == ("team_1", "bf_1", 100)


def test_libraries_write_the_same_kind_of_line(lines):
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger("some.library").warning("queue %s is long", "backfills")

    (line,) = lines()
    assert (line["event"], line["level"], line["request_id"]) == ("queue backfills is long", "warning", "r1")


def test_lower_levels_stay_silent(lines):
    structlog.get_logger().debug("page.fetched")
    logging.getLogger("stripe").info("Request to Stripe api")

    assert lines() == []


def test_configuring_again_does_not_double_the_lines():
    configure_logging("INFO")
    before = len(logging.getLogger().handlers)

    configure_logging("INFO")

    assert len(logging.getLogger().handlers) == before


def test_a_line_that_cannot_be_written_stops_nothing(app):
    with open("/dev/full", "w") as full:
        for handler in logging.getLogger().handlers:
            if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
                handler.setStream(full)
        structlog.get_logger().info("page.mirrored")
        configure_logging("INFO")
        with contextlib.suppress(OSError):
            full.close()


def test_no_key_gets_into_a_line(lines):
    key = "sk_live_51HxyzABCdef"
    try:
        raise ValueError(f"Invalid key {key}")
    except ValueError:
        structlog.get_logger().exception("connect.failed", headers={"Authorization": f"Bearer {key}"})
        logging.getLogger("urllib3").warning("retrying with %s", key)

    written = json.dumps(lines())
    assert key not in written
    assert "ValueError: Invalid key sk_live_\\u2026" in written


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("sk_test_abc123 and rk_live_x9.", "sk_test_… and rk_live_…."),
        ("whsec_abc+/=", "whsec_…"),
        (f"Bearer bs_{'0f' * 24}", "Bearer bs_…"),
        ("task_test_name jobs_12 obs_0123456789abcdef0123", "task_test_name jobs_12 obs_0123456789abcdef0123"),
        ("pk_test_public cus_123", "pk_test_public cus_123"),
    ],
)
def test_redaction_cuts_keys_and_only_keys(text, redacted):
    assert redact(text) == redacted
