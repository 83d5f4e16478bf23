"""How BillStack connects to Postgres."""

import psycopg

from workers.context import connection_options


def test_connections_notice_a_postgres_that_vanished_and_speak_utf8(new_database) -> None:
    url = new_database()

    with psycopg.connect(url, **connection_options(url, "billstack test")) as connection:
        assert connection.autocommit
        assert connection.info.encoding == "utf-8"
        assert connection.info.get_parameters()["tcp_user_timeout"] == "30000"
        assert connection.execute("SHOW application_name").fetchone() == ("billstack test",)


def test_what_the_url_says_of_a_connection_holds() -> None:
    url = "postgresql://somewhere/db?connect_timeout=60&application_name=mirror"

    options = connection_options(url, "billstack")

    assert "connect_timeout" not in options
    assert "application_name" not in options
    assert options["tcp_user_timeout"] == 30_000
