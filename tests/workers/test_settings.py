"""An address that cannot be read is named at the start by its variable, and never repeated: it may hold a password."""

import base64

import pytest

from sync.errors import ConfigError
from workers.redis.address import refuse_open_redis
from workers.settings import Settings

ENV = {
    "DATABASE_URL": "postgresql://billstack:secret@localhost/billstack",
    "REDIS_URL": "redis://localhost",
    "BILLSTACK_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
    "BILLSTACK_PUBLIC_URL": "https://billing.example.com",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://billstack:secret@one:5433,[::1]:5432/billstack"),
        ("REDIS_URL", "redis+sentinel://:secret@one,[::1]:26379/main"),
    ],
)
def test_several_hosts_may_have_ipv6_addresses(name: str, value: str) -> None:
    """Newer releases of Python no longer read them as one address."""
    settings = Settings.from_env(ENV | {name: value})

    refuse_open_redis(settings)
    assert getattr(settings, name.lower()) == value


def test_whole_settings_are_read() -> None:
    assert Settings.from_env(ENV).database_url == ENV["DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://billstack:secret@localhost/billstack"),
        ("DATABASE_URL", "postgresql://billstack:secret@[::1/billstack"),
        ("DATABASE_URL", "postgresql://billstack:secret@localhost/billstack?no_such_option=1"),
        ("DATABASE_URL", "postgresql://billstack:sec%zzret@localhost/billstack"),
        ("REDIS_URL", "redis://:secret@[::1"),
        ("BILLSTACK_PUBLIC_URL", "https://[secret"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_problem_that_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Settings.from_env(ENV | {name: value})

    assert raised.value.message.startswith(f"{name} is ")
    assert ";" not in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "url", ["smtp://user:p%40ss@mail.example.com:587", "smtps://mail.example.com", "smtp+plain://127.0.0.1:25"]
)
def test_a_mail_server_is_read(url: str) -> None:
    settings = Settings.from_env(ENV | {"BILLSTACK_SMTP_URL": url, "BILLSTACK_MAIL_FROM": "billstack@example.com"})

    assert (settings.smtp_url, settings.mail_from) == (url, "billstack@example.com")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BILLSTACK_SMTP_URL", "mail.example.com"),
        ("BILLSTACK_SMTP_URL", "smtp://:secret@"),
        ("BILLSTACK_SMTP_URL", "smtp://mail.example.com:x"),
        ("BILLSTACK_MAIL_FROM", ""),
        ("BILLSTACK_MAIL_FROM", "billstack"),
    ],
)
def test_a_mail_server_that_cannot_be_read_is_named(name: str, value: str) -> None:
    mail = {"BILLSTACK_SMTP_URL": "smtp://mail.example.com", "BILLSTACK_MAIL_FROM": "billstack@example.com"}

    with pytest.raises(ConfigError) as raised:
        Settings.from_env(ENV | mail | {name: value})

    assert raised.value.message.startswith(f"{name} is ")
    assert "secret" not in raised.value.message
