"""A rotation of BILLSTACK_SECRET_KEY is completed by a command, after which the old key may go."""

import json
import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.alerts.store import AlertStore
from sync.errors import ConfigError
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox

OLD, NEW = b"k" * 32, b"n" * 32
SECRETS = ["whsec_new", "whsec_old", "whsec_made"]


@pytest.fixture
def connected(owner, database):
    """A team with all of its four secrets, sealed with the old key."""
    connections = Connections(database, SecretBox((OLD,)))
    for webhook_secret in ("whsec_old", "whsec_new"):
        connections.put(
            owner.team_id,
            account_id="acct_1",
            account_name=None,
            livemode=False,
            secret_key="sk_test_1",
            publishable_key=None,
            webhook_secret=webhook_secret,
        )
    connections.set_endpoint(connections.connected(owner.team_id), "we_1", "whsec_made")
    database.execute("UPDATE billstack.connections SET previous_secret_until = now() + interval '1 day'")
    return owner.team_id


@pytest.fixture
def reseal(new_app, settings):
    app = new_app(replace(settings, secret_keys=(NEW, OLD)))
    return lambda: app.test_cli_runner().invoke(args=["reseal-secrets"])


def secrets_of(database, team_id, *keys):
    connections = Connections(database, SecretBox(keys))
    return connections.connected(team_id).secret_key, connections.webhook_secrets(team_id)


def test_after_it_the_new_key_alone_opens_everything(connected, database, reseal):
    result = reseal()

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"teams": 1, "resealed": 4, "unopened": []}
    assert "remove the others" in result.stderr
    assert secrets_of(database, connected, NEW) == ("sk_test_1", SECRETS)


def test_the_receivers_of_alerts_are_sealed_again_too(owner, database, reseal):
    AlertStore(database, SecretBox((OLD,))).put(owner.team_id, webhook_url="https://example.com", emails=[])

    result = reseal()

    assert json.loads(result.stdout) == {"teams": 0, "resealed": 2, "unopened": []}
    receivers = AlertStore(database, SecretBox((NEW,))).receivers(owner.team_id)
    assert receivers.webhook_url == "https://example.com"


def test_before_it_the_new_key_alone_opens_nothing(connected, database):
    assert secrets_of(database, connected, NEW, OLD) == ("sk_test_1", SECRETS)
    with pytest.raises(ConfigError):
        secrets_of(database, connected, NEW)


def test_again_it_has_nothing_to_do(connected, database, reseal):
    reseal()
    before = database.execute("SELECT xmin, secret_key FROM billstack.connections").fetchone()

    assert json.loads(reseal().stdout) == {"teams": 1, "resealed": 0, "unopened": []}
    assert database.execute("SELECT xmin, secret_key FROM billstack.connections").fetchone() == before


def test_what_an_older_version_sealed_is_sealed_for_its_column(connected, database, reseal):
    nonce = os.urandom(12)
    sealed = nonce + AESGCM(NEW).encrypt(nonce, b"sk_test_1", connected.encode())
    database.execute("UPDATE billstack.connections SET secret_key = %s", (sealed,))
    assert secrets_of(database, connected, NEW, OLD)[0] == "sk_test_1"

    assert json.loads(reseal().stdout)["resealed"] == 4
    database.execute("UPDATE billstack.connections SET endpoint_secret = secret_key")
    with pytest.raises(ConfigError):
        secrets_of(database, connected, NEW)


def test_a_team_whose_key_is_lost_is_named_and_the_others_are_sealed(connected, database, reseal, new_member):
    other = new_member().team_id
    Connections(database, SecretBox((b"x" * 32,))).put(
        other,
        account_id="acct_2",
        account_name=None,
        livemode=False,
        secret_key="sk_test_2",
        publishable_key=None,
        webhook_secret=None,
    )

    result = reseal()

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"teams": 2, "resealed": 4, "unopened": [other]}
    assert "may go" not in result.stderr
    assert "sk_test" not in result.output


def test_a_team_that_is_disconnected_has_nothing_to_seal(connected, database, reseal):
    Connections(database, SecretBox((OLD,))).forget_keys(connected)

    assert json.loads(reseal().stdout) == {"teams": 1, "resealed": 0, "unopened": []}
