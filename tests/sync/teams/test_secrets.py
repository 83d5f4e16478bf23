"""Keys at rest: sealed for one team, opened with any key of the rotation, and told apart from nothing else."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.errors import ConfigError
from sync.teams.secrets import ENDPOINT_SECRET, SECRET_KEY, WEBHOOK_SECRET, SecretBox

FIRST, SECOND = os.urandom(32), os.urandom(32)


def test_what_was_sealed_opens() -> None:
    box = SecretBox((FIRST,))

    assert (
        box.open(box.seal("sk_test_Zoë", team_id="team_a", use=SECRET_KEY), team_id="team_a", use=SECRET_KEY)
        == "sk_test_Zoë"
    )


def test_the_secret_does_not_stand_in_what_is_stored() -> None:
    sealed = SecretBox((FIRST,)).seal("sk_test_secret", team_id="team_a", use=SECRET_KEY)

    assert b"sk_test" not in sealed


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    box = SecretBox((FIRST,))

    assert len({box.seal("sk_test_a", team_id="team_a", use=SECRET_KEY) for _ in range(20)}) == 20


def test_a_sealed_key_moved_to_another_team_does_not_open() -> None:
    box = SecretBox((FIRST,))
    sealed = box.seal("sk_test_a", team_id="team_a", use=SECRET_KEY)

    with pytest.raises(ConfigError):
        box.open(sealed, team_id="team_b", use=SECRET_KEY)


@pytest.mark.parametrize("use", [WEBHOOK_SECRET, ENDPOINT_SECRET])
def test_a_sealed_key_moved_to_another_column_does_not_open(use) -> None:
    box = SecretBox((FIRST,))
    sealed = box.seal("sk_test_a", team_id="team_a", use=SECRET_KEY)

    with pytest.raises(ConfigError):
        box.open(sealed, team_id="team_a", use=use)


def test_what_an_older_version_sealed_opens_and_is_told_apart() -> None:
    nonce = os.urandom(12)
    sealed = nonce + AESGCM(FIRST).encrypt(nonce, b"sk_test_a", b"team_a")
    box = SecretBox((FIRST,))

    assert box.open(sealed, team_id="team_a", use=SECRET_KEY) == "sk_test_a"
    assert not box.is_current(sealed, team_id="team_a", use=SECRET_KEY)
    assert box.is_current(box.seal("x", team_id="team_a", use=SECRET_KEY), team_id="team_a", use=SECRET_KEY)
    assert not SecretBox((SECOND, FIRST)).is_current(
        box.seal("x", team_id="team_a", use=SECRET_KEY), team_id="team_a", use=SECRET_KEY
    )


def test_rotation_opens_with_the_old_key_and_seals_with_the_new_one() -> None:
    sealed_before = SecretBox((FIRST,)).seal("sk_test_a", team_id="team_a", use=SECRET_KEY)
    rotated = SecretBox((SECOND, FIRST))

    assert rotated.open(sealed_before, team_id="team_a", use=SECRET_KEY) == "sk_test_a"
    assert (
        SecretBox((SECOND,)).open(
            rotated.seal("sk_test_b", team_id="team_a", use=SECRET_KEY), team_id="team_a", use=SECRET_KEY
        )
        == "sk_test_b"
    )


def test_without_its_key_a_secret_stays_closed_and_the_error_names_the_team_only() -> None:
    sealed = SecretBox((FIRST,)).seal("sk_test_a", team_id="team_a", use=SECRET_KEY)

    with pytest.raises(ConfigError, match="team_a") as raised:
        SecretBox((SECOND,)).open(sealed, team_id="team_a", use=SECRET_KEY)

    assert "sk_test" not in str(raised.value)


@pytest.mark.parametrize("damage", [lambda sealed: sealed[:-1], lambda sealed: bytes([sealed[0] ^ 1]) + sealed[1:]])
def test_a_damaged_secret_does_not_open(damage) -> None:
    box = SecretBox((FIRST,))

    with pytest.raises(ConfigError):
        box.open(damage(box.seal("sk_test_a", team_id="team_a", use=SECRET_KEY)), team_id="team_a", use=SECRET_KEY)
