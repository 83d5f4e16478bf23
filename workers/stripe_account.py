"""Opens the Stripe account behind a team for a job or a request."""

from sync.caller import PATIENT_ATTEMPTS, Caller, Limiter
from sync.connections import Connection
from sync.errors import Conflict
from sync.source import Source
from sync.transport import Transport
from sync.windows import MAX_IN_FLIGHT
from workers.context import Context
from workers.limiter import Limiter as RedisLimiter


def open_source(context: Context, connection: Connection, *, attempts: int = PATIENT_ATTEMPTS) -> Source:
    """Raises Conflict `not_connected` once the team's keys are forgotten."""
    if connection.secret_key is None:
        raise Conflict("this team is not connected to Stripe: connect it first", code="not_connected")
    return source_of_key(
        context,
        connection.secret_key,
        account_id=connection.account_id,
        livemode=connection.livemode,
        attempts=attempts,
    )


def source_of_key(
    context: Context, secret_key: str, *, account_id: str, livemode: bool, attempts: int = PATIENT_ATTEMPTS
) -> Source:
    return Source(
        Caller(
            secret_key=secret_key,
            account_id=account_id,
            livemode=livemode,
            api_base=context.settings.stripe_api_base,
            transport=Transport(max_connections=MAX_IN_FLIGHT),
            limiter=make_limiter(context),
            attempts=attempts,
        )
    )


def make_limiter(context: Context) -> Limiter:
    settings = context.settings
    return RedisLimiter(
        context.redis, account_rps=settings.stripe_account_rps, endpoint_rps=settings.stripe_endpoint_rps
    )
