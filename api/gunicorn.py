"""How gunicorn serves: `gunicorn --config api/gunicorn.py "api:create_app()"`."""

import atexit
import gc
import os
import signal
import threading
from types import FrameType
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from api.account.live_status import HUB
from api.account.status_hub import MOST_VIEWERS, Hub
from api.app import THREADS, read_settings
from api.http.context import EXTENSION
from api.people.set_up import print_link
from workers.logging import configure_logging
from workers.settings import WEB_PROCESSES

# Read here, because gunicorn would restart failing workers for ever. A bad setting ends the master with one line.
_settings = read_settings()

bind = f"0.0.0.0:{_settings.port}"
# Two, so that one still answers while the other restarts.
workers = WEB_PROCESSES
worker_class = "api.http.buffering_worker.BufferingWorker"
# For each process. Most are kept alive or still sending.
worker_connections = 2000
# A live view holds a thread while it is open. Even with all of them open, requests find a thread. gunicorn creates
# threads as needed; each takes some 40 kB.
threads = THREADS + MOST_VIEWERS
# A request that waits for Stripe may take this long (connect makes two calls). A thread's time does not count here.
timeout = 60
# How long a deploy waits for requests in progress. The process manager kills after ten seconds, and on a busy machine
# the processes need some of that to notice the signal and to end.
graceful_timeout = 5
# Python's last garbage collection takes a third of a second of CPU in each process, and seconds on a busy machine.
atexit.register(gc.freeze)
# Longer than the 60 s that common proxies keep an idle connection.
keepalive = 65
# It would be a file in the home folder, which two servers on one machine would both write.
control_socket_disable = True


# gunicorn gives this number to its first process. Only that one prints the link.
_FIRST = 1


def post_worker_init(worker: Any) -> None:
    """Makes a process that stops end its live views first, so that a deploy does not wait for them."""
    hub: Hub = worker.wsgi.extensions[HUB]
    # gunicorn's hooks do not hear of SIGTERM, nor of a master that was killed.
    hub.is_abandoned = lambda: bool(worker.ppid != os.getppid())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _end_views_first(hub, number)
    if worker.age == _FIRST:
        _print_set_up_link(worker)


def _print_set_up_link(worker: Any) -> None:
    """Runs in a thread of its own: Postgres may be unavailable for a while."""
    arguments = (worker.wsgi.extensions[EXTENSION], threading.Event())
    threading.Thread(target=print_link, args=arguments, name="set-up link", daemon=True).start()


def _end_views_first(hub: Hub, number: signal.Signals) -> None:
    goes_on = signal.getsignal(number)
    assert callable(goes_on)

    def end(number: int, frame: FrameType | None) -> None:
        # This runs in the main thread, which accepts connections and never holds the hub's lock.
        hub.close()
        goes_on(number, frame)

    signal.signal(number, end)
    signal.siginterrupt(number, False)  # as gunicorn sets it, so that requests in progress finish


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """Sends gunicorn's own lines to our log. api/http/request_log.py writes the access lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.propagate = True


logger_class = PlainLogger
errorlog = None
accesslog = None
configure_logging(_settings.log_level, _settings.sentry_dsn)
