"""Connects a team to its Stripe account, and disconnects it."""

import re

import psycopg
import structlog

from api.account.backfills import start_backfill
from api.webhooks.setup import follow_types, take_down_webhook
from sync.backfill.records import BackfillStore
from sync.database.schema import drop_team_schema, ensure_team_schema
from sync.errors import BadRequest, Conflict, StripeRejected
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from sync.stripe.sdk import API_VERSION
from sync.stripe.source import Account
from sync.teams.connections import Connection, Connections
from sync.teams.database_access import DatabaseAccess
from workers.context import Context
from workers.stripe_account import source_of_key

log = structlog.get_logger()

_NOT_FOUND = 404
_WRONG_START = "must begin with sk_test_, sk_live_, rk_test_ or rk_live_"
_SECRET_KEY = re.compile(r"(sk|rk)_(test|live)_\w+", re.ASCII)


def connect(
    context: Context,
    team_id: str,
    *,
    secret_key: str,
    publishable_key: str | None,
    webhook_secret: str | None,
    api_version: str | None = None,
) -> Connection:
    """Checks the key with Stripe, stores it encrypted and creates the team's schema.

    Without an API version, the one of before stays. Another one begins a backfill if anything has been read, because
    the rows have the shapes of the old version.

    Raises BadRequest `invalid_stripe_key` if Stripe refuses the key or it may not read its own account, Conflict
    `account_mismatch` if the mirror holds another account or mode, and StripeUnavailable if Stripe did not answer.
    """
    livemode = _is_of_live_mode(secret_key)
    account = _account_of(context, team_id, secret_key, livemode, api_version or API_VERSION)
    with context.pool.connection() as connection, connection.transaction():
        connections = Connections(connection, context.box)
        known = _lock(connections, team_id, account, livemode)
        known_version = known.api_version if known else API_VERSION
        is_same_secret = known is not None and known.webhook_secret == webhook_secret
        connections.put(
            team_id,
            account_id=account.id,
            account_name=account.name,
            livemode=livemode,
            secret_key=secret_key,
            publishable_key=publishable_key,
            webhook_secret=None if is_same_secret else webhook_secret,  # again is no rotation: the previous one stays
            api_version=api_version or known_version,
        )
        ensure_team_schema(connection, team_id)
        connected = connections.connected(team_id)
        must_reread = connected.api_version != known_version and _forget_what_was_read(connection, connections, team_id)
    if connected.api_version != known_version:
        _follow_version(context, team_id, must_reread=must_reread)
    return connected


def _lock(connections: Connections, team_id: str, account: Account, livemode: bool) -> Connection | None:
    """The team's connection so far. Nobody else changes it until the transaction ends."""
    connections.lock(team_id)
    known = connections.get(team_id)
    _refuse_other_account(known, account, livemode)
    return known


def _follow_version(context: Context, team_id: str, *, must_reread: bool) -> None:
    follow_types(context, team_id)  # our webhook endpoint speaks the new version too
    if must_reread:
        start_backfill(context, team_id, None, None, None)


def _is_of_live_mode(secret_key: str) -> bool:
    match = _SECRET_KEY.fullmatch(secret_key)
    if not match:
        raise BadRequest(
            f"secretKey {_WRONG_START}", code="invalid_stripe_key", details={"fields": {"secretKey": [_WRONG_START]}}
        )
    return match[2] == "live"


def _forget_what_was_read(connection: psycopg.Connection, connections: Connections, team_id: str) -> bool:
    """Returns False if there was nothing. Rows stay, but nothing vouches for them until a backfill has read them again."""
    had_begun = BackfillStore(connection).cancel(team_id) is not None
    return connections.forget_proofs(team_id) or had_begun


def disconnect(context: Context, team_id: str, *, purge: bool) -> None:
    """Forgets the keys, deletes our webhook endpoint and stops a running backfill.

    The mirrored data stays. With `purge` it is dropped, together with the role that reads it.
    """
    with context.pool.connection() as connection:
        BackfillStore(connection).cancel(team_id)
        connected = Connections(connection, context.box).get(team_id)
        if purge:
            _remove_reader(connection, team_id)
    if connected:
        take_down_webhook(context, connected)
    with context.pool.connection() as connection, connection.transaction():
        connections = Connections(connection, context.box)
        connections.lock(team_id)
        last = connections.get(team_id)
        connections.forget_keys(team_id)
        BackfillStore(connection).cancel(team_id)  # in case one began meanwhile
        if purge:
            drop_team_schema(connection, team_id)
            connections.delete(team_id)
    if last and connected and last.endpoint_id != connected.endpoint_id:  # one was created meanwhile
        take_down_webhook(context, last)


def _remove_reader(connection: psycopg.Connection, team_id: str) -> None:
    """Called first: the mirror cannot be dropped while the reader is using it."""
    try:
        DatabaseAccess(connection, team_id).remove()
    except Conflict as exc:
        # An administrator created the role, so we may not drop it. Its rights end with the mirror.
        log.warning("database_access.left", team=team_id, reason=exc.message)


def _account_of(context: Context, team_id: str, secret_key: str, livemode: bool, api_version: str) -> Account:
    # Until we know the key's account, requests count against the team. Many bad keys of one team delay no other team.
    source = source_of_key(
        context,
        secret_key,
        account_id=f"unknown:{team_id}",
        livemode=livemode,
        api_version=api_version,
        attempts=FAIL_FAST_ATTEMPTS,
    )
    try:
        return source.account()
    except StripeRejected as exc:
        if exc.status == 400:
            raise BadRequest(
                f"Stripe does not accept API version {api_version}: {exc.sentence}",
                code="invalid_api_version",
                details=exc.details,
            ) from exc
        if exc.status == _NOT_FOUND:
            raise StripeRejected(
                f"{context.settings.stripe_api_base} knows no /v1/account, which says nothing about this key: is"
                " STRIPE_API_BASE the address of Stripe?",
                status=exc.status,
                request_id=exc.request_id,
            ) from exc
        hint = (
            "Give the restricted key permission to read its own account."
            if exc.status == 403
            else "Copy the secret key from Stripe's dashboard again."
        )
        raise BadRequest(
            f"Stripe does not accept this key: {exc.sentence} {hint}", code="invalid_stripe_key", details=exc.details
        ) from exc


def _refuse_other_account(known: Connection | None, account: Account, livemode: bool) -> None:
    if known and (known.account_id, known.livemode) != (account.id, livemode):
        mode = {True: "live", False: "test"}
        raise Conflict(
            f"this team mirrors {known.account_id} in {mode[known.livemode]} mode, but this key belongs to"
            f" {account.id} in {mode[livemode]} mode: use a key for that account and mode, or disconnect with purge"
            " first",
            code="account_mismatch",
        )
