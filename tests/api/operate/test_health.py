"""/healthz and /readyz, as a load balancer sees them."""

from dataclasses import replace

NOBODY_LISTENS = "127.0.0.1:1"


def test_alive_needs_neither_postgres_nor_redis(new_app, settings):
    app = new_app(_away(settings))

    assert app.test_client().get("/healthz").status_code == 200


def test_ready_when_both_answer(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json == {"ready": True}


def test_not_ready_names_what_is_away(new_app, settings):
    answer = new_app(_away(settings)).test_client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json["code"] == "not_ready"
    assert answer.json["details"] == {"postgres": "Postgres is unavailable", "redis": "Redis is unavailable"}
    assert answer.headers["Retry-After"]
    assert NOBODY_LISTENS not in answer.text


def test_not_ready_without_redis_alone(new_app, settings):
    answer = new_app(replace(settings, redis_url=f"redis://{NOBODY_LISTENS}")).test_client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json["details"] == {"postgres": "ok", "redis": "Redis is unavailable"}


def test_not_ready_before_init_db(new_app, settings, postgres_server):
    answer = new_app(replace(settings, database_url=postgres_server.url)).test_client().get("/readyz")

    assert answer.status_code == 503
    assert "init-db" in answer.json["error"]


def _away(settings):
    return replace(settings, database_url=f"postgresql://{NOBODY_LISTENS}/none", redis_url=f"redis://{NOBODY_LISTENS}")
