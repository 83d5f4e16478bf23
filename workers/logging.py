"""Log lines: JSON in production, readable in a terminal, and without keys.

The web and the workers bind `request_id`, `team`, `backfill` and `type` once, at their edge, with
`structlog.contextvars.bind_contextvars`. Every later line of the request or job carries them.
"""

import contextlib
import logging
import sys
import traceback
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from sync.error_text import chain_of, loggable_reason, redact
from workers.error_reports import ErrorReports, open_sentry

# These log a line for every HTTP request, with addresses and bodies.
_CHATTY = ("stripe", "urllib3", "werkzeug")


def configure_logging(level: str, sentry_dsn: str | None = None) -> None:
    """Sends all log lines to stderr, including those of libraries that use the standard logging module.

    Raises ConfigError if errors should go to Sentry and its package is not installed.
    """
    write_lines(level, ErrorReports(open_sentry(sentry_dsn)) if sentry_dsn else None)


def write_lines(level: str, reports: ErrorReports | None = None) -> None:
    """Our own lines go past the logging module, where each would take twice as long. `reports` sees all lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    seen: list[Processor] = [reports] if reports else []
    rendered: list[Processor] = [*_renderers(), _redact_line]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[*seen, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )
    lines = _Lines(_replace_handler(formatter))
    structlog.configure(
        processors=[*shared, *seen, *rendered],
        logger_factory=lambda *_: lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    logging.getLogger().setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderers() -> list[Processor]:
    if sys.stderr.isatty():
        # The rich formatter would print local variables, and keys with them.
        return [structlog.dev.ConsoleRenderer(exception_formatter=_write_traceback)]
    return [
        structlog.processors.ExceptionRenderer(lambda info: traceback_of(info[1])),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def traceback_of(exc: BaseException) -> str:
    """Where the exception was raised, and its causes in turn: the places, each with its loggable reason."""
    return "\n".join(
        reversed([part for each in chain_of(exc) for part in (loggable_reason(each), _places(each)) if part])
    )


def _places(exc: BaseException) -> str:
    return "".join(traceback.format_tb(exc.__traceback__)).rstrip()


def _write_traceback(target: TextIO, info: ExcInfo) -> None:
    target.write("\n" + traceback_of(info[1]))


def _redact_line(_logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
    """The last processor, so that no field, message or traceback escapes it."""
    return redact(str(line))


class _Lines:
    """A logger of finished lines. It writes them where `handler` writes those of libraries."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]") -> None:
        self._handler = handler

    def info(self, line: str) -> None:
        handler = self._handler
        assert handler.lock
        # A full disk or a closed file costs the line alone, as in the logging module.
        with handler.lock, contextlib.suppress(OSError, ValueError):
            handler.stream.write(f"{line}\n")
            handler.flush()

    debug = warning = error = critical = info


def _replace_handler(formatter: logging.Formatter) -> "logging.StreamHandler[TextIO]":
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root.addHandler(handler)
    return handler
