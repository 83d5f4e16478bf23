"""Sends errors to Sentry that are logged with their traceback, if SENTRY_DSN is set. Needs the extra `sentry`.

Each event is built here from what a log line may say: the error's type and loggable reason, the places in the code, and
ids. So no key, object or e-mail address leaves: sentry-sdk adds no request, local variable, breadcrumb or log line.
"""

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from structlog.typing import EventDict, WrappedLogger

from sync.error_text import chain_of, loggable_reason, redact
from sync.errors import ConfigError

# Facts that are bound to log lines, and that Sentry may search by. All are ids or names of ours.
TAGS = ("request_id", "team", "backfill", "type", "job", "code")
_LEVELS = ("error", "critical")

Capture = Callable[[dict[str, Any]], object]


def open_sentry(dsn: str) -> Capture:
    """Returns the function that sends an event. Raises ConfigError if sentry-sdk is not installed."""
    try:
        sentry = importlib.import_module("sentry_sdk")
    except ImportError as exc:
        raise ConfigError("SENTRY_DSN needs sentry-sdk: pip install 'billstack[sentry]', or unset it") from exc
    sentry.init(
        dsn=dsn,
        default_integrations=False,
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        server_name="",
        auto_session_tracking=False,
        send_client_reports=False,
    )
    capture: Capture = sentry.capture_event
    return capture


class ErrorReports:
    """A processor of log lines. It leaves them as they are."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        error = _error_of(line.get("exc_info"))
        if error is not None and line.get("level") in _LEVELS:
            self._capture(_event(error, line))
        return line


def _error_of(info: object) -> BaseException | None:
    """`exc_info` as structlog and the logging module take it."""
    if isinstance(info, BaseException):
        return info
    found = info[1] if isinstance(info, tuple) else sys.exc_info()[1] if info else None
    return found if isinstance(found, BaseException) else None


def _event(error: BaseException, line: Mapping[str, Any]) -> dict[str, Any]:
    values = [_described(each) for each in chain_of(error)]
    # Our own lines have constant names. A library's line is a sentence with its facts in it.
    named = {} if "_record" in line else {"transaction": line["event"]}
    return named | {
        "level": line["level"],
        "exception": {"values": values[::-1]},  # the cause first, as Sentry wants it
        "tags": {name: redact(str(line[name])) for name in TAGS if line.get(name)},
    }


def _described(error: BaseException) -> dict[str, Any]:
    frames = [
        {"filename": frame.filename, "function": frame.name, "lineno": frame.lineno}
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    kind = type(error)
    return {
        "type": kind.__name__,
        "module": kind.__module__,
        "value": loggable_reason(error),
        "stacktrace": {"frames": frames},
    }
