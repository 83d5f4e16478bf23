"""`python -m workers backfills|events|scheduler`: the Procfile's processes except the web."""

import os
import sys

from sync.errors import BillStackError
from workers import scheduler
from workers.context import open_context, refuse_unfit_postgres
from workers.logging import configure_logging
from workers.queues import BACKFILLS, EVENTS
from workers.redis.address import refuse_open_redis
from workers.settings import Settings
from workers.worker import run_workers

_USAGE = f"usage: python -m workers {BACKFILLS}|{EVENTS}|scheduler"


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in (BACKFILLS, EVENTS, "scheduler"):
        sys.exit(_USAGE)
    try:
        settings = Settings.from_env(os.environ)
        refuse_open_redis(settings)
        refuse_unfit_postgres(settings.database_direct_url, "DATABASE_DIRECT_URL or DATABASE_URL")
        configure_logging(settings.log_level, settings.sentry_dsn)
    except BillStackError as exc:
        sys.exit(f"billstack: {exc.message}")
    if arguments[0] == "scheduler":
        scheduler.run(open_context(settings, pool_size=1, direct=True))
    else:
        run_workers(settings, arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
