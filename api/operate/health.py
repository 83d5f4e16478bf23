"""Whether this process is alive, and whether what it needs answers."""

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

# A load balancer gives up soon; it should hear what is wrong before it does.
_POSTGRES_WAIT_S = 2.0

blueprint = Blueprint("health", __name__, description="For load balancers and operators.")


@blueprint.endpoint("GET", "/healthz", Access.ANYONE, answers={200: "Alive"})
def healthz() -> dict[str, bool]:
    """The process is alive"""
    return {"alive": True}


@blueprint.endpoint("GET", "/readyz", Access.ANYONE, answers={200: "Ready", 503: "Something is away, or needs init-db"})
def readyz() -> Response:
    """Postgres and Redis answer, Postgres takes changes, and the schema is this program's"""
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
    """Addresses and driver messages stay inside: anyone may call this."""
    try:
        ask(context)
    except SchemaError as exc:
        return exc.message
    except errors.ReadOnlySqlTransaction:
        return "Postgres is read-only: a standby, or set so"
    except errors.DiskFull:
        return "Postgres' disk is full"
    except psycopg.Error:
        return "Postgres is away"
    except redis.exceptions.RedisError:
        return "Redis is away"
    return None
