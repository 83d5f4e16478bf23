"""The one place that turns errors into answers (contract section 1)."""

import re
from http import HTTPStatus
from typing import Any

import psycopg
import redis
import structlog
from flask import Flask, Response, jsonify, request
from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]
from rq.exceptions import NoSuchJobError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from api.gateway.errors import NotYetKnown, StripeUnreachable, is_of_mirror, stripe_body
from api.http.context import current_context
from api.http.request_log import request_id
from sync.error_text import redact
from sync.errors import (
    BadRequest,
    BillStackError,
    ConfigError,
    Conflict,
    Forbidden,
    LeaseLost,
    NotFound,
    SchemaError,
    StripeError,
    TooLarge,
    TooManyRequests,
    TurnOver,
    Unauthorized,
)
from sync.stripe.sdk import API_VERSION

_API_VERSION = re.compile(r"[\w.-]{1,40}", re.ASCII)
# The most specific class decides. An error that is not listed is our fault: 500.
STATUS: dict[type[BillStackError], int] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    TooManyRequests: 429,
    StripeError: 502,
    StripeUnreachable: 502,
    NotYetKnown: 503,
    SchemaError: 503,
    ConfigError: 500,
    LeaseLost: 409,
    TurnOver: 503,
}
# About what a restart of Postgres or Redis takes.
RETRY_AFTER_S = 5
_CODES = {413: TooLarge.code}
_WORDS = {
    400: "the request could not be understood",
    404: "there is nothing at this address",
    413: "the body is too large",
    429: "too many requests: slow down",
}

_log = structlog.get_logger()


def install(app: Flask) -> None:
    app.register_error_handler(BillStackError, _answer_ours)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(psycopg.OperationalError, _answer_postgres_away)
    app.register_error_handler(psycopg.errors.ReadOnlySqlTransaction, _answer_read_only)
    app.register_error_handler(psycopg.errors.DiskFull, _answer_full)
    app.register_error_handler(psycopg.errors.QueryCanceled, _answer_too_slow)
    app.register_error_handler(psycopg.errors.DeadlockDetected, _answer_in_the_way)
    app.register_error_handler(psycopg.errors.UndefinedTable, _answer_no_schema)
    app.register_error_handler(redis.exceptions.ConnectionError, _answer_redis_away)
    app.register_error_handler(redis.exceptions.TimeoutError, _answer_redis_away)
    app.register_error_handler(ParseException, _answer_broken_body)
    app.register_error_handler(NoMoreData, _answer_broken_body)
    app.register_error_handler(NoSuchJobError, _answer_no_job)
    app.register_error_handler(Exception, _answer_unexpected)


def error_answer(
    status: int, code: str, message: str, *, details: dict[str, Any] | None = None, retry_after_s: float | None = None
) -> Response:
    """`{"error", "code", "details"?}`, or Stripe's shape for the mirror. Retry-After is rounded up to whole seconds."""
    if is_of_mirror(request.path):
        response = jsonify(stripe_body(status, code, redact(message), details))
        response.headers["Request-Id"] = request_id()
        response.headers["Stripe-Version"] = _api_version()
    else:
        response = jsonify({"error": redact(message), "code": code} | ({"details": details} if details else {}))
    response.status_code = status
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, int(-(-retry_after_s // 1))))
    return response


def _api_version() -> str:
    """The request's, as Stripe says it back."""
    asked = request.headers.get("Stripe-Version", "")
    return asked if _API_VERSION.fullmatch(asked) else API_VERSION


def status_of(error: BillStackError) -> int:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def _answer_ours(error: BillStackError) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("request.failed", code=error.code, reason=error.message)
    retry_after_s = RETRY_AFTER_S if status == HTTPStatus.SERVICE_UNAVAILABLE else getattr(error, "retry_after_s", None)
    return error_answer(status, error.code, error.message, details=error.details, retry_after_s=retry_after_s)


def _answer_http(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:  # a redirect
        return error
    response = error_answer(error.code, _CODES.get(error.code, _snake_case(error.name)), _sentence(error))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _snake_case(name: str) -> str:
    return re.sub(r"[^a-z]+", "_", name.lower())


def _sentence(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed):
        return f"this address answers only {', '.join(sorted(error.valid_methods or ()))}"
    return _WORDS.get(error.code or 500, error.name.lower())


def _answer_postgres_away(error: psycopg.OperationalError) -> Response:
    return _away("postgres_unavailable", "Postgres is unavailable: try again in a moment", error)


def _answer_read_only(error: psycopg.errors.ReadOnlySqlTransaction) -> Response:
    return _away("postgres_read_only", "Postgres takes no changes at the moment: try again later", error)


def _answer_full(error: psycopg.errors.DiskFull) -> Response:
    current_context().trouble.note_error(error)
    return _away("postgres_full", "Postgres' disk is full: try again once its operator has made room", error)


def _answer_too_slow(error: psycopg.errors.QueryCanceled) -> Response:
    return _away("too_slow", "Postgres took too long to answer: ask for less, or try again in a moment", error)


def _answer_in_the_way(error: psycopg.errors.DeadlockDetected) -> Response:
    return _away("in_the_way", "another request changed the same data at the same moment: try again", error)


def _answer_redis_away(error: Exception) -> Response:
    return _away("redis_unavailable", "Redis is unavailable: try again in a moment", error)


def _answer_no_schema(error: Exception) -> Response:
    return _away(SchemaError.code, "the database is not set up: run `flask --app api init-db`", error)


def _away(code: str, message: str, error: Exception) -> Response:
    _log.warning("request.failed", code=code, reason=str(error))
    return error_answer(503, code, message, retry_after_s=RETRY_AFTER_S)


def _answer_broken_body(_error: Exception) -> Response:
    return error_answer(
        400, BadRequest.code, "the body does not match its headers: a chunk is broken, or it ended early"
    )


def _answer_no_job(_error: NoSuchJobError) -> Response:
    return error_answer(404, NotFound.code, "this job no longer exists")


def _answer_unexpected(_error: Exception) -> Response:
    _log.exception("request.crashed")
    return error_answer(500, BillStackError.code, f"something went wrong on our side: report request {request_id()}")
