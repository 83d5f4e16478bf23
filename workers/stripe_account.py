"""Opens the Stripe account behind a team, for a job or a request."""

from collections.abc import Callable

from sync.errors import Conflict
from sync.stripe import caller
from sync.stripe.caller import Caller
from sync.stripe.retries import BACKGROUND_ATTEMPTS, NobodyWatches, RetryWatch
from sync.stripe.sdk import API_VERSION
from sync.stripe.source import Source
from sync.stripe.transport import Transport
from sync.teams.connections import Connection
from workers.context import Context
from workers.key_watch import KeyWatch
from workers.redis.limiter import FallbackLimiter, Limiter, Rates
from workers.redis.meter import MeteredLimiter, MeteredRetries


def open_source(
    context: Context,
    connection: Connection,
    *,
    attempts: int = BACKGROUND_ATTEMPTS,
    retries: RetryWatch | None = None,
) -> Source:
    """Raises Conflict `not_connected` once the team's keys are forgotten."""
    return Source(open_caller(context, connection, attempts=attempts, retries=retries))


def open_caller(
    context: Context,
    connection: Connection,
    *,
    attempts: int = BACKGROUND_ATTEMPTS,
    retries: RetryWatch | None = None,
) -> Caller:
    """The caller that `open_source` reads with. Use it to write to Stripe."""
    if connection.secret_key is None:
        raise Conflict("this team is not connected to Stripe: connect it first", code="not_connected")
    return _caller_of_key(
        context,
        connection.secret_key,
        account_id=connection.account_id,
        livemode=connection.livemode,
        api_version=connection.api_version,
        attempts=attempts,
        heard=KeyWatch(context, connection).answered,
        retries=retries,
    )


def source_of_key(
    context: Context,
    secret_key: str,
    *,
    account_id: str,
    livemode: bool,
    api_version: str = API_VERSION,
    attempts: int = BACKGROUND_ATTEMPTS,
) -> Source:
    return Source(
        _caller_of_key(
            context,
            secret_key,
            account_id=account_id,
            livemode=livemode,
            api_version=api_version,
            attempts=attempts,
        )
    )


def _caller_of_key(
    context: Context,
    secret_key: str,
    *,
    account_id: str,
    livemode: bool,
    api_version: str,
    attempts: int,
    heard: Callable[[int | None], None] = lambda status: None,
    retries: RetryWatch | None = None,
) -> Caller:

    def on_answer(endpoint: str, status: int | None) -> None:
        context.meter.request(endpoint, status)
        heard(status)

    return Caller(
        secret_key=secret_key,
        account_id=account_id,
        livemode=livemode,
        api_base=context.settings.stripe_api_base,
        transport=Transport(),
        limiter=MeteredLimiter(make_limiter(context), context.meter),
        api_version=api_version,
        attempts=attempts,
        on_answer=on_answer,
        retries=MeteredRetries(retries or NobodyWatches(), context.meter),
    )


def make_limiter(context: Context) -> caller.Limiter:
    return FallbackLimiter(shared_limiter(context), rates_of(context))


def shared_limiter(context: Context) -> Limiter:
    """The limiter in Redis without its fallback, for reading its state."""
    return Limiter(context.redis, rates_of(context))


def rates_of(context: Context) -> Rates:
    return Rates(context.settings.stripe_account_rps, context.settings.stripe_endpoint_rps)
