"""How gunicorn serves: `gunicorn --config api/gunicorn.py "api:create_app()"`."""

from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from api.app import THREADS, read_settings
from workers.logging import configure_logging

# Here and not in each worker, which gunicorn would start again and again: a bad setting ends the master in one line.
_settings = read_settings()

bind = f"0.0.0.0:{_settings.port}"
# Two, so that one keeps answering while the other starts again.
workers = 2
worker_class = "gthread"
threads = THREADS
# A request that waits for Stripe may take this long (connect asks it twice); a thread's time does not count here.
timeout = 60
# What a deploy gives to requests under way.
graceful_timeout = 25
# Longer than the 60 s for which common proxies keep an idle connection.
keepalive = 65
# It would be a file in the home folder that two servers on one machine fight over.
control_socket_disable = True


class PlainLogger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's own lines go the way of all others; api/request_log.py writes the access lines."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.propagate = True


logger_class = PlainLogger
errorlog = None
accesslog = None
configure_logging(_settings.log_level)
