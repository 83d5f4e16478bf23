"""Whether this process is alive, and whether the servers that it needs answer."""

import contextlib
from collections.abc import Callable

import psycopg
import redis
from flask import Response, jsonify
from psycopg import errors

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.errors import RETRY_AFTER_S, error_answer
from sync.database.schema import check_version
from sync.database.server import is_read_only
from sync.errors import SchemaError
from workers.context import Context

# Load balancers give up soon. This tells them the problem before they do.
_POSTGRES_WAIT_S = 2.0

blueprint = Blueprint("health", __name__, description="For load balancers and operators.")


@blueprint.endpoint("GET", "/healthz", Access.ANYONE, answers={200: "Alive"})
def healthz() -> dict[str, bool]:
    """Check that the process is alive"""
    return {"alive": True}


@blueprint.endpoint(
    "GET", "/readyz", Access.ANYONE, answers={200: "Ready", 503: "A server is unavailable, or init-db is needed"}
)
def readyz() -> Response:
    """Check that Postgres and Redis answer, Postgres takes changes, and the schema has this program's version"""
    context = current_context()
    problems = {"postgres": _problem(_ask_postgres, context), "redis": _problem(_ask_redis, context)}
    if any(problems.values()):
        sentence = "; ".join(problem for problem in problems.values() if problem)
        details = {name: problem or "ok" for name, problem in problems.items()}
        return error_answer(503, "not_ready", sentence, details=details, retry_after_s=RETRY_AFTER_S)
    return jsonify({"ready": True})


def _ask_postgres(context: Context) -> None:
    with context.pool.connection(timeout=_POSTGRES_WAIT_S) as connection:
        check_version(connection)
        if is_read_only(connection):
            raise errors.ReadOnlySqlTransaction
    with contextlib.suppress(redis.exceptions.RedisError):
        if context.trouble.is_full():
            raise errors.DiskFull


def _ask_redis(context: Context) -> None:
    context.redis.ping()


def _problem(ask: Callable[[Context], None], context: Context) -> str | None:
    """Leaves out addresses and driver messages: anybody may call this."""
    try:
        ask(context)
    except SchemaError as exc:
        return exc.message
    except errors.ReadOnlySqlTransaction:
        return "Postgres is read-only: a standby, or set so"
    except errors.DiskFull:
        return "Postgres' disk is full"
    except psycopg.Error:
        return "Postgres is unavailable"
    except redis.exceptions.RedisError:
        return "Redis is unavailable"
    return None
