"""Looks once a minute for what is wrong, and sends the notices. A thread of the scheduler does both.

Not a worker: if the workers are down, somebody must hear of it. Not the scheduler's own loop: a slow receiver must not
delay the work that it enqueues.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import structlog

from sync.alerts.store import AlertStore, Notice
from sync.alerts.words import TEST
from workers.alerts import mail, webhook
from workers.alerts.telling import NotSent
from workers.context import Context

LOOK_EVERY_S = 60.0
_TURN_EVERY_S = 2.0
# At a time. With so many senders and the receivers' time limits, a claim is over before it ends.
_CLAIMED = 40
_SENDERS = 8
# 30 s, 1 min, 2 min … an hour: for a day.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 30.0, 3600.0
MOST_ATTEMPTS = 30
KEPT = timedelta(days=30)

log = structlog.get_logger()


def run(context: Context, stopped: threading.Event) -> None:
    """Until `stopped` is set."""
    while not stopped.wait(_TURN_EVERY_S):
        try:
            run_once(context)
        except psycopg.Error as exc:
            log.warning("alerts.wait", reason=str(exc))
        except Exception:  # the next turn may work, and nobody would notice that alerts have stopped
            log.exception("alerts.failed")


def run_once(context: Context) -> int:
    """Returns how many notices it tried to send."""
    with context.pool.connection() as connection:
        store = AlertStore(connection, context.box)
        changed = store.look(every_s=LOOK_EVERY_S)
        if changed is not None:
            store.prune(KEPT)
        notices = store.claim(limit=_CLAIMED)
    if changed:
        log.info("alerts.changed", count=changed)
    if notices:
        with ThreadPoolExecutor(min(_SENDERS, len(notices))) as pool:
            list(pool.map(lambda notice: send(context, notice), notices))
    return len(notices)


def send(context: Context, notice: Notice) -> str | None:
    """Sends a claimed notice and records how it went. Returns why it was not sent, or None.

    No connection to Postgres is held meanwhile. If the process dies in between, the notice is sent again. A person waits
    for a test, so that is tried once.
    """
    failure = _try(context, notice)
    with context.pool.connection() as connection:
        store = AlertStore(connection, context.box)
        if failure is None:
            store.sent(notice.id)
        elif failure.is_final or notice.kind == TEST or notice.attempts >= MOST_ATTEMPTS:
            store.give_up(notice.id, failure.reason)
        else:
            store.postpone(notice.id, failure.reason, wait_s=wait_s(notice.attempts))
    log.info(
        "alert.sent" if failure is None else "alert.not_sent",
        alert=notice.id,
        of_team=notice.team_id,
        kind=notice.kind,
        channel=notice.channel,
        attempts=notice.attempts,
        reason=failure.reason if failure else None,
    )
    return failure.reason if failure else None


def wait_s(attempts: int) -> float:
    """After so many failed attempts."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempts - 1, 20))


def _try(context: Context, notice: Notice) -> NotSent | None:
    settings = context.settings
    try:
        if notice.channel == "webhook":
            webhook.send(
                notice,
                public_url=settings.public_url,
                now=int(time.time()),
                allow_private=settings.allow_private_alerts,
            )
        else:
            mail.send(notice, smtp_url=settings.smtp_url, mail_from=settings.mail_from, public_url=settings.public_url)
    except NotSent as exc:
        return exc
    except Exception:  # one notice must not hold up the others
        log.exception("alert.failed", alert=notice.id)
        return NotSent("BillStack itself failed to send it")
    return None
