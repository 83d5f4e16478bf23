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

# Here and not in each worker, which gunicorn would start again and again: a bad setting ends the master in one line.
_settings = read_settings()

bind = f"0.0.0.0:{_settings.port}"
# Two, so that one keeps answering while the other starts again.
workers = WEB_PROCESSES
worker_class = "api.http.buffering_worker.BufferingWorker"
# Connections of a process, most of them kept alive or still sending.
worker_connections = 2000
# A live view holds one as long as it is open, so that even with all of them open every request finds a thread. They are
# made when they are needed, and take some 40 kB each.
threads = THREADS + MOST_VIEWERS
# A request that waits for Stripe may take this long (connect asks it twice); a thread's time does not count here.
timeout = 60
# What a deploy gives to requests under way: whoever stops us kills after ten seconds, and on a busy machine it takes some
# of them to notice the signal and to end.
graceful_timeout = 5
# Python's last search for garbage takes a third of a second of a core in each process, and seconds on a busy machine.
atexit.register(gc.freeze)
# Longer than the 60 s for which common proxies keep an idle connection.
keepalive = 65
# It would be a file in the home folder that two servers on one machine fight over.
control_socket_disable = True


# Of the processes that gunicorn starts, it numbers this one first: one link is enough.
_FIRST = 1


def post_worker_init(worker: Any) -> None:
    """A process that is to end ends its live views first: a deploy does not wait for them."""
    hub: Hub = worker.wsgi.extensions[HUB]
    # gunicorn tells its hooks nothing of SIGTERM, nor of a master that was killed.
    hub.is_abandoned = lambda: bool(worker.ppid != os.getppid())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _end_views_first(hub, number)
    if worker.age == _FIRST:
        _print_set_up_link(worker)


def _print_set_up_link(worker: Any) -> None:
    """Beside the requests: Postgres may be unavailable for a while yet."""
    arguments = (worker.wsgi.extensions[EXTENSION], threading.Event())
    threading.Thread(target=print_link, args=arguments, name="set-up link", daemon=True).start()


def _end_views_first(hub: Hub, number: signal.Signals) -> None:
    goes_on = signal.getsignal(number)
    assert callable(goes_on)

    def end(number: int, frame: FrameType | None) -> None:
        # The main thread, in which this runs, accepts connections and never holds the hub's lock.
        hub.close()
        goes_on(number, frame)

    signal.signal(number, end)
    signal.siginterrupt(number, False)  # as gunicorn has it, for requests under way


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's own lines go the way of all others; api/http/request_log.py writes the access lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.propagate = True


logger_class = PlainLogger
errorlog = None
accesslog = None
configure_logging(_settings.log_level)
