"""The environment variables, read once at the edge, checked together and frozen (contract section 5)."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sync.errors import ConfigError
from workers.redis import sentinel

_SECRET_KEY_BYTES = 32
# Stripe allows 25 requests a second per endpoint. The rest is for the merchant.
_ENDPOINT_RPS = 20.0
_MOST_PROXIES = 10
_SHORTEST_TOKEN = 16
# A host's connections to Postgres: forty, of the hundred that Postgres takes by default. The web has two processes, and
# eight work-horses and the scheduler share the other number.
WEB_PROCESSES, HORSES = 2, 8
_WEB_CONNECTIONS, _FEWEST_OF_WEB = 14, 4 * WEB_PROCESSES
_WORKER_CONNECTIONS, _FEWEST_OF_WORKERS = 25, 2 * HORSES + 1
_MOST_CONNECTIONS = 1000
# With STARTTLS; with TLS from the start; and without any, for a relay on the same host or network.
SMTP_SCHEMES = ("smtp", "smtps", "smtp+plain")
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """A process' settings. Rates are requests a second; None means the default for the account's mode."""

    database_url: str
    database_direct_url: str  # past a pooler
    redis_url: str
    secret_keys: tuple[bytes, ...]  # the first one encrypts, all of them decrypt
    public_url: str
    stripe_api_base: str
    stripe_account_rps: float | None
    stripe_endpoint_rps: float
    log_level: str
    port: int
    trusted_proxies: int  # how many of our own proxies a request passes before the web
    metrics_token: str | None  # the bearer token for /metrics; None: no token needed
    allow_open_redis: bool  # at a public address without a password
    web_connections: int  # the most Postgres connections of a host's web processes together
    worker_connections: int  # the most of a host's workers, events workers and scheduler together
    sentry_dsn: str | None  # None: errors are only logged
    smtp_url: str | None  # None: no alert goes out by e-mail
    mail_from: str | None
    allow_private_alerts: bool  # webhooks of alerts may go to http and to addresses of private networks

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Raises ConfigError with one line that names every missing or malformed variable and what it should be."""
        reader = _Reader(env)
        settings = cls(
            database_url=reader.postgres_url("DATABASE_URL"),
            database_direct_url=reader.postgres_url("DATABASE_DIRECT_URL", env.get("DATABASE_URL", "")),
            redis_url=reader.redis_url("REDIS_URL"),
            secret_keys=reader.secret_keys("BILLSTACK_SECRET_KEY"),
            public_url=reader.url("BILLSTACK_PUBLIC_URL", ("http", "https")).rstrip("/"),
            stripe_api_base=reader.url("STRIPE_API_BASE", ("http", "https"), "https://api.stripe.com").rstrip("/"),
            stripe_account_rps=reader.rate("STRIPE_ACCOUNT_RPS"),
            stripe_endpoint_rps=reader.rate("STRIPE_ENDPOINT_RPS") or _ENDPOINT_RPS,
            log_level=reader.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
            port=reader.port("PORT", 8000),
            trusted_proxies=reader.count("BILLSTACK_TRUSTED_PROXIES", most=_MOST_PROXIES),
            metrics_token=reader.token("BILLSTACK_METRICS_TOKEN"),
            allow_open_redis=reader.flag("BILLSTACK_ALLOW_OPEN_REDIS"),
            web_connections=reader.count(
                "BILLSTACK_WEB_CONNECTIONS", _WEB_CONNECTIONS, fewest=_FEWEST_OF_WEB, most=_MOST_CONNECTIONS
            ),
            worker_connections=reader.count(
                "BILLSTACK_WORKER_CONNECTIONS", _WORKER_CONNECTIONS, fewest=_FEWEST_OF_WORKERS, most=_MOST_CONNECTIONS
            ),
            sentry_dsn=reader.optional_url("SENTRY_DSN", ("https", "http")),
            smtp_url=reader.smtp_url("BILLSTACK_SMTP_URL"),
            mail_from=reader.mail_from("BILLSTACK_MAIL_FROM", is_needed=bool(env.get("BILLSTACK_SMTP_URL"))),
            allow_private_alerts=reader.flag("BILLSTACK_ALLOW_PRIVATE_ALERTS"),
        )
        if reader.problems:
            raise ConfigError("; ".join(reader.problems))
        return settings

    @property
    def connections_of_web(self) -> int:
        """Of one gunicorn process."""
        return self.web_connections // WEB_PROCESSES

    @property
    def connections_of_horse(self) -> int:
        """Of one work-horse. The scheduler has one; what a dead horse had is its worker's while it sees to the job."""
        return (self.worker_connections - 1) // HORSES


class _Reader:
    """Reads the variables one by one and collects all problems, so that one start shows all of them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def url(self, name: str, schemes: tuple[str, ...], default: str | None = None, *, has_one_host: bool = True) -> str:
        value = self._env.get(name) or default or ""
        try:
            # urlsplit refuses several hosts with an IPv6 address among them.
            scheme = urlsplit(value).scheme if has_one_host else value.partition("://")[0]
        except ValueError:
            scheme = ""
        if scheme not in schemes:
            self._complain(name, f"a URL that starts with {' or '.join(scheme + '://' for scheme in schemes)}")
        return value

    def optional_url(self, name: str, schemes: tuple[str, ...]) -> str | None:
        return self.url(name, schemes) if self._env.get(name) else None

    def redis_url(self, name: str) -> str:
        has_one_host = not sentinel.is_sentinel(self._env.get(name) or "")
        value = self.url(name, ("redis", "rediss", "unix", *sentinel.SCHEMES), has_one_host=has_one_host)
        if sentinel.is_sentinel(value):
            try:
                sentinel.read(value)
            except ValueError:
                self._complain(name, sentinel.FORM)
        return value

    def postgres_url(self, name: str, default: str | None = None) -> str:
        if default is not None and not self._env.get(name):
            return default
        problems = len(self.problems)
        value = self.url(name, ("postgresql", "postgres"), has_one_host=False)
        try:
            conninfo_to_dict(value)
        except psycopg.ProgrammingError:
            if len(self.problems) == problems:
                self._complain(
                    name, "a URL that libpq can read: postgresql://user:password@host:port/database?option=value"
                )
        return value

    def secret_keys(self, name: str) -> tuple[bytes, ...]:
        try:
            keys = tuple(base64.b64decode(part.strip(), validate=True) for part in self._env.get(name, "").split(","))
        except (binascii.Error, ValueError):
            keys = ()
        if not keys or any(len(key) != _SECRET_KEY_BYTES for key in keys):
            self._complain(name, "32 random bytes in base64 (openssl rand -base64 32), several separated by commas")
        return keys

    def smtp_url(self, name: str) -> str | None:
        text = self._env.get(name)
        if not text:
            return None
        try:
            parts = urlsplit(text)
            is_good = parts.scheme in SMTP_SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_good = False
        if not is_good:
            self._complain(name, "smtp://user:password@host:587, smtps://… for TLS from the start, or smtp+plain://…")
        return text

    def mail_from(self, name: str, *, is_needed: bool) -> str | None:
        text = self._env.get(name)
        if (text or is_needed) and not _ADDRESS.fullmatch(text or ""):
            self._complain(name, "the e-mail address that alerts come from, like billstack@example.com")
        return text or None

    def rate(self, name: str) -> float | None:
        text = self._env.get(name)
        if not text:
            return None
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0.1 <= rate <= 100_000:
            self._complain(name, "requests a second, a number from 0.1 to 100000")
        return rate

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = (self._env.get(name) or default).upper()
        if value not in allowed:
            self._complain(name, f"one of {', '.join(allowed)}")
        return value

    def port(self, name: str, default: int) -> int:
        text = self._env.get(name) or str(default)
        if not text.isdecimal() or not 0 < int(text) < 65_536:
            self._complain(name, "a port from 1 to 65535")
            return default
        return int(text)

    def count(self, name: str, default: int = 0, *, fewest: int = 0, most: int) -> int:
        text = self._env.get(name) or str(default)
        if not (text.isascii() and text.isdecimal() and len(text) < 9 and fewest <= int(text) <= most):
            self._complain(name, f"a number from {fewest} to {most}")
            return default
        return int(text)

    def token(self, name: str) -> str | None:
        value = self._env.get(name)
        if value and not (_SHORTEST_TOKEN <= len(value) <= 200 and value.isascii() and value.isprintable()):
            self._complain(name, f"{_SHORTEST_TOKEN} to 200 letters and digits that nobody can guess")
        return value or None

    def flag(self, name: str) -> bool:
        """The default is False."""
        text = (self._env.get(name) or "false").lower()
        if text not in ("true", "false"):
            self._complain(name, "true or false")
        return text == "true"

    def _complain(self, name: str, expected: str) -> None:
        problem = "is malformed" if self._env.get(name) else "is not set"
        self.problems.append(f"{name} {problem}: it should be {expected}")
